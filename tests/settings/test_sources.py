"""Where settings come from, which source wins, and which names are refused."""

import pytest

from headrace.errors import SettingsError
from headrace.model import AtTimestamp, Latest
from headrace.settings import load, load_with_origins
from headrace.settings.names import known_names

LEAST = {
    "HEADRACE_APPLICATION": "orders",
    "HEADRACE_STREAM_NAME": "orders-stream",
    "HEADRACE_SINK_TABLE": "orders-items",
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """No headrace.toml lies around."""
    monkeypatch.chdir(tmp_path)


def refusal(arguments=(), environment=(), config=None):
    with pytest.raises(SettingsError) as caught:
        load(arguments, {**LEAST, **dict(environment)}, config)
    return str(caught.value)


def test_three_names_are_enough_and_the_rest_follows_from_the_application():
    """Lease table and dead letters are named after the application; the worker's name is unique."""
    settings, other = load([], LEAST), load([], LEAST)
    assert settings.lease.table == "orders"
    assert settings.dead_letters.table == "orders-dead-letters"
    assert settings.batch.size == 100
    assert settings.lease.worker_id != other.lease.worker_id


def test_the_command_line_beats_the_environment_and_the_environment_beats_the_file(tmp_path):
    """Each source wins over the ones below it, setting by setting."""
    file = tmp_path / "other.toml"
    file.write_text("[batch]\nsize = 1\nwindow = '1s'\n[ops]\nport = 1\n")
    loaded = load_with_origins(
        ["--batch.size", "3"], {**LEAST, "HEADRACE_BATCH_SIZE": "2", "HEADRACE_OPS_PORT": "2"}, file
    )
    assert (loaded.settings.batch.size, loaded.settings.ops.port) == (3, 2)
    assert loaded.settings.batch.window.total_seconds() == 1
    origins = {
        loaded.origin(known_names()[path])
        for path in [("batch", "size"), ("ops", "port"), ("batch", "window"), ("log", "level")]
    }
    assert origins == {"command line", "environment", "other.toml", "default"}


def test_headrace_toml_in_the_working_directory_is_read(tmp_path):
    """Without --config the file is found where the command is run."""
    (tmp_path / "headrace.toml").write_text("create_tables = false\n[retry]\nmaximum_attempts = -1\nbisect = false\n")
    settings = load([], LEAST)
    assert (settings.create_tables, settings.retry.maximum_attempts, settings.retry.bisect) == (False, -1, False)


def test_the_environment_may_name_the_file(tmp_path):
    """HEADRACE_CONFIG does what --config does."""
    (tmp_path / "elsewhere.toml").write_text("[sink]\ndepth = 4\n")
    assert load([], {**LEAST, "HEADRACE_CONFIG": "elsewhere.toml"}).sink.depth == 4
    assert refusal(environment={"HEADRACE_CONFIG": "missing.toml"}).startswith(
        "HEADRACE_CONFIG = 'missing.toml': cannot be read"
    )


def test_a_name_with_underscores_in_group_and_field_is_not_split_wrongly():
    """dead_letters.destination, retry.maximum_record_age: no delimiter is guessed at."""
    given = {"HEADRACE_DEAD_LETTERS_DESTINATION": "dynamodb:graves", "HEADRACE_RETRY_MAXIMUM_RECORD_AGE": "PT2H"}
    settings = load(["--stream.poll-interval=1s"], {**LEAST, **given})
    assert settings.dead_letters.table == "graves"
    assert settings.retry.maximum_record_age.total_seconds() == 7200
    assert settings.stream.poll_interval.total_seconds() == 1


def test_no_two_settings_share_a_name():
    """The flat names are unambiguous, whatever groups are called."""
    names = known_names().values()
    assert len({name.env for name in names}) == len({name.option for name in names}) == len(names)


def test_an_empty_variable_counts_as_not_set():
    """Compose files write `HEADRACE_HANDLER=${HANDLER:-}`."""
    assert load([], {**LEAST, "HEADRACE_HANDLER": "", "HEADRACE_BATCH_SIZE": " "}).batch.size == 100


def test_foreign_variables_and_kubernetes_service_links_are_left_alone():
    """A Service called headrace-ops puts HEADRACE_OPS_PORT=tcp://... into every pod of its namespace."""
    links = {
        "HEADRACE_SERVICE_HOST": "10.0.0.1",
        "HEADRACE_PORT": "tcp://10.0.0.1:80",
        "HEADRACE_OPS_PORT": "tcp://10.0.0.1:80",
        "HEADRACE_OPS_PORT_8080_TCP_ADDR": "10.0.0.1",
        "HEADRACE_OPS_SERVICE_PORT_HTTP": "8080",
        "HEADRACES": "1",
        "PATH": "/bin",
    }
    assert load([], {**LEAST, **links}).ops.port == 8080


@pytest.mark.parametrize(
    ("arguments", "environment", "file", "line"),
    [
        (
            [],
            {"HEADRACE_BATCH_SIZ": "3"},
            "",
            "HEADRACE_BATCH_SIZ = '3': is not a setting. Did you mean HEADRACE_BATCH_SIZE?",
        ),
        (["--batch.sise", "3"], {}, "", "--batch.sise = '3': is not an option. Did you mean --batch.size?"),
        ([], {}, "[batch]\nsise = 3", "headrace.toml: [batch] sise = 3: is not a setting. Did you mean [batch] size?"),
        ([], {}, "[bach]\nsize = 3", "headrace.toml: bach: is not a group of settings. Did you mean batch?"),
        ([], {}, "aplication = 'x'", "headrace.toml: aplication = 'x': is not a setting. Did you mean application?"),
        ([], {}, "batch = 3", "headrace.toml: batch: is a group. Write [batch] above its settings"),
        ([], {}, "[batch", "headrace.toml = 'headrace.toml': is not TOML"),
        (["--batch.size"], {}, "", "--batch.size: has no value. Write --batch.size VALUE"),
        (["stray"], {}, "", "stray: is not an option. `headrace run --help` lists every setting"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(tmp_path, arguments, environment, file, line):
    """A typing error never silently leaves a default in effect."""
    (tmp_path / "headrace.toml").write_text(file)
    assert refusal(arguments, environment).startswith(line)


def test_a_wrong_value_is_named_as_the_source_that_won_spells_it(tmp_path):
    """The user finds the place to mend."""
    (tmp_path / "headrace.toml").write_text("[batch]\nsize = 0\n")
    assert refusal().startswith("headrace.toml: [batch] size = 0: is out of range")
    assert refusal(environment={"HEADRACE_BATCH_SIZE": "none"}).startswith(
        "HEADRACE_BATCH_SIZE = 'none': is not a whole number"
    )
    assert refusal(["--batch.size=0"]).startswith("--batch.size = '0': is out of range")


def test_every_mistake_is_told_at_once_one_line_each():
    """Nobody mends settings one run at a time."""
    lines = refusal(
        ["--nonsense", "1"], {"HEADRACE_APPLICATION": "a b", "HEADRACE_SINK_MODE": "upsert", "HEADRACE_LOG": "x"}
    ).splitlines()
    assert len(lines) == 4
    assert {line.split(" ")[0].rstrip(":") for line in lines} == {
        "--nonsense",
        "HEADRACE_APPLICATION",
        "HEADRACE_SINK_MODE",
        "HEADRACE_LOG",
    }


def test_what_is_required_is_asked_for_by_its_three_names():
    """Without any setting the three required ones are listed, and nothing that follows from them."""
    with pytest.raises(SettingsError) as caught:
        load([], {})
    lines = str(caught.value).splitlines()
    assert (
        lines[0]
        == "HEADRACE_APPLICATION: is required. Set HEADRACE_APPLICATION, application in headrace.toml, or --application"
    )
    assert [line.partition(":")[0] for line in lines] == [
        "HEADRACE_APPLICATION",
        "HEADRACE_STREAM_NAME",
        "HEADRACE_SINK_TABLE",
    ]


def test_starting_positions_are_the_three_of_the_stream():
    """LATEST, TRIM_HORIZON and an instant, also as TOML writes one."""
    assert load([], {**LEAST, "HEADRACE_STREAM_STARTING_POSITION": "latest"}).stream.starting_position == Latest()
    at = load(["--stream.starting_position", "2026-01-31T08:00:00+01:00"], LEAST).stream.starting_position
    assert isinstance(at, AtTimestamp)
    assert at.instant.isoformat() == "2026-01-31T07:00:00+00:00"
    assert "has no offset from UTC" in refusal(["--stream.starting_position", "2026-01-31T08:00:00"])
    assert "is not a starting position" in refusal(["--stream.starting_position", "yesterday"])
