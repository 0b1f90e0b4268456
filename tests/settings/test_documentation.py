"""The documentation of the settings is the model itself."""

from pathlib import Path

import pytest

from headrace.cli.dead_letters import REASONS
from headrace.settings.table import markdown, settings_table

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_has_a_meaning_and_a_default():
    """A docstring stands under each field."""
    for row in settings_table():
        assert row.meaning.endswith("."), row.name.env
        assert row.default, row.name.env


def test_the_page_in_docs_is_the_one_made_from_the_model():
    """Make it with `python -m headrace.settings.table > docs/settings.md`."""
    assert PAGE.read_text() == markdown()


def test_the_names_users_rely_on_are_there_with_their_defaults():
    """Renaming one of these breaks deployments."""
    stable = {
        "HEADRACE_APPLICATION": "required",
        "HEADRACE_STREAM_NAME": "required",
        "HEADRACE_STREAM_STARTING_POSITION": "TRIM_HORIZON",
        "HEADRACE_STREAM_CONSUMER": "polling",
        "HEADRACE_HANDLER": "none",
        "HEADRACE_SINK_TABLE": "required",
        "HEADRACE_SINK_MODE": "put",
        "HEADRACE_ITEM_KEY": "none",
        "HEADRACE_BATCH_SIZE": "100",
        "HEADRACE_BATCH_WINDOW": "0s",
        "HEADRACE_BATCH_PARALLELIZATION_FACTOR": "1",
        "HEADRACE_RETRY_MAXIMUM_ATTEMPTS": "5",
        "HEADRACE_RETRY_MAXIMUM_RECORD_AGE": "-1",
        "HEADRACE_RETRY_BISECT": "true",
        "HEADRACE_DEAD_LETTERS_DESTINATION": "dynamodb:<application>-dead-letters",
        "HEADRACE_CREATE_TABLES": "true",
        "HEADRACE_LEASE_DURATION": "10s",
        "HEADRACE_LEASE_TABLE": "<application>",
        "HEADRACE_LEASE_WORKER_ID": "<host name>-<random>",
        "HEADRACE_CHECKPOINT_INTERVAL": "1s",
        "HEADRACE_OPS_PORT": "8080",
        "HEADRACE_SHUTDOWN_TIMEOUT": "25s",
    }
    assert stable.items() <= {row.name.env: row.default for row in settings_table()}.items()


@pytest.mark.parametrize("page", ["dead-letters.md", "delivery.md", "runbooks.md"])
def test_every_reason_of_ours_for_a_dead_letter_is_told_where_reasons_are_told(page):
    """Whoever finds one at night looks it up."""
    text = (PAGE.parent / page).read_text()
    ours = {"Rejected", "WriteRefused", "RecordTooLarge", "NotJson", "KeyParked", "SkippedByOperator"}
    assert ours == set(REASONS) - {"RetryAttemptsExhausted", "RecordAgeExceeded"}
    assert [reason for reason in sorted(ours) if reason not in text] == []
