"""Options of the commands for operators: one line for each mistake, and nothing done."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from headrace.cli import main
from headrace.cli.desk import Manner, confirm, operator, shard_of
from headrace.cli.explain import _number, _words
from headrace.cli.seek import in_words, place
from headrace.core.seeking import Rereads, Seen, Skips, Stays, Unknown
from headrace.core.story import Story, Verdict
from headrace.errors import SettingsError
from headrace.flow.operate.desk import ActRefused
from headrace.model import AtSequence, AtTimestamp, Checkpoint, Latest, TrimHorizon

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NUMBER = "49590338271490256608559692538361571095921575989136588898"


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """The least settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"APPLICATION": "orders", "STREAM_NAME": "orders-stream", "SINK_TABLE": "orders-items"}.items():
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trim", TrimHorizon()),
        ("LATEST", Latest()),
        ("90m", AtTimestamp(NOW - timedelta(minutes=90))),
        ("1h30m ago", AtTimestamp(NOW - timedelta(minutes=90))),
        ("2026-01-01T00:00:00Z", AtTimestamp(datetime(2026, 1, 1, tzinfo=UTC))),
        ("2026-01-01T01:00:00+01:00", AtTimestamp(datetime(2026, 1, 1, tzinfo=UTC))),
        (NUMBER, AtSequence(int(NUMBER))),
    ],
)
def test_a_place_is_written_as_people_think_of_it(text, expected):
    """Words, a time, how long ago, or a record."""
    assert place(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [("yesterday", "is no place in a stream"), ("2026-01-01T00:00:00", "has no offset"), ("-5m", "is no place")],
)
def test_what_is_no_place_is_answered_with_the_forms_there_are(text, problem):
    """A local time would be read as another one elsewhere."""
    with pytest.raises(SettingsError, match=problem):
        place(text, NOW)


def test_a_seek_names_one_shard_or_says_all(capsys):
    """Neither and both are mistakes, found before anything is asked; so is a record for all."""
    assert main(["seek", "--to", NUMBER, "--all", "--yes"]) == 2
    assert "is a record of one shard" in capsys.readouterr().err


def test_what_is_lost_is_said_in_capitals():
    """Skipping is the one thing that cannot be taken back."""
    first, later = Seen(7, 1000.0), Seen(9, 1060.0)

    assert in_words(Skips(first, later)).startswith("SKIPS records that nobody has read: from 1970-01-01T00:16:40.000Z")
    assert "to the tip" in in_words(Skips(first, None))
    assert in_words(Rereads(first, None)).startswith("READS AGAIN")
    assert in_words(Stays()).startswith("nothing changes")
    assert "denied" in in_words(Unknown("denied"))


def test_nothing_is_changed_without_a_confirmation(monkeypatch):
    """Off a terminal it takes --yes; on one, the word itself."""
    with pytest.raises(SettingsError, match="--yes: is missing"):
        confirm(Manner(), "shard", "Really?")
    confirm(Manner(yes=True), "shard", "Really?")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "shard ")
    confirm(Manner(), "shard", "Really?")
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "yes")
    with pytest.raises(ActRefused, match="nothing was done"):
        confirm(Manner(), "shard", "Really?")


def test_the_policy_is_printed_as_json_and_what_is_not_known_beside_it(capsys):
    """So that it can be redirected into a file."""
    assert main(["iam"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["Statement"][0]["Resource"] == ["arn:aws:kinesis:eu-central-1:*:stream/orders-stream"]
    assert "--account" in told.err

    assert main(["iam", "--account", "123456789012", "--role", "operator", "--json"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "arn:aws:kinesis:eu-central-1:123456789012:stream/orders-stream" in told.out
    assert main(["iam", "--role", "king"]) == 2
    assert "--role = 'king': is not known" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["skip"], ["drain"], ["explain"]])
def test_a_command_without_its_word_says_which(command, capsys):
    """Exit code 2 and one line."""
    assert main([*command]) == 2
    assert "is missing" in capsys.readouterr().err


def test_a_bare_number_names_a_shard_and_a_long_one_a_record():
    """A short number may be a key; --key makes any word one."""
    assert shard_of("7") == "shardId-000000000007"
    assert shard_of("shardId-000000000007") == "shardId-000000000007"
    assert _number(NUMBER) == Checkpoint.at(int(NUMBER))
    assert _number(f"{NUMBER}.3") == Checkpoint.at(int(NUMBER), 3)
    assert _number(f"…{NUMBER[-16:]}") == Checkpoint.at(int(NUMBER[-16:]))
    assert [_number(text) for text in ("17", "customer-17", f"{NUMBER}.x")] == [None, None, None]
    assert "@" in operator()


@pytest.mark.parametrize("words", [[""], ["--key", ""]])
def test_what_is_empty_is_no_partition_key(words, capsys):
    """A script whose variable is empty must not be told that all is well."""
    assert main(["explain", *words]) == 2
    assert capsys.readouterr().err == "SEQUENCE = '': is empty. Write a sequence number or a partition key\n"


def test_a_key_that_nobody_knows_is_said_to_be_taken_for_one():
    """What is meant as the end of a sequence number is answered with more than IDLE."""
    idle = [Story(None, partition_key=key, verdict=Verdict.IDLE) for key in ("customer-17", "99999")]
    plain, digits = ("\n".join(_words(story)) for story in idle)
    assert "taken as       a partition key, of which nothing is open or buried, be it settled or unknown" in plain
    assert "all of its digits" in digits
    assert "digits" not in plain


def test_an_option_that_nobody_knows_is_answered_with_the_help_of_the_command_that_was_typed(capsys):
    """Its own options are listed nowhere else."""
    assert main(["dead-letters", "list", "--zzz", "1"]) == 2
    assert capsys.readouterr().err == (
        "--zzz = '1': is not an option. `headrace dead-letters list --help` lists every setting\n"
    )
