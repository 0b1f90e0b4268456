"""The command line: exit codes, and one line for each of the user's mistakes."""

import json
import os
import subprocess
import sys
import types
from datetime import timedelta
from pathlib import Path

import pytest

import headrace
from headrace.cli import main
from headrace.errors import Denied, LeaseLost, SettingsError
from headrace.settings.names import known_names

LEAST = {
    "HEADRACE_APPLICATION": "orders",
    "HEADRACE_STREAM_NAME": "orders-stream",
    "HEADRACE_SINK_TABLE": "orders-items",
}


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """The least settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def calls(monkeypatch):
    """Stands in for the bodies of the commands; gives what they were called with."""
    made = []
    body = types.SimpleNamespace(result=0)

    def stand_in(name):
        def command(*arguments, **named):
            made.append((arguments, named))
            if isinstance(body.result, BaseException):
                raise body.result
            return body.result

        monkeypatch.setitem(sys.modules, f"headrace.cli.{name}", types.SimpleNamespace(**{name: command}))

    for name in ("run", "verify", "demo"):
        stand_in(name)
    monkeypatch.setattr("headrace.ops.logs.configure", lambda *_: None)
    return types.SimpleNamespace(made=made, body=body)


def test_run_gets_the_settings_and_gives_its_exit_code(calls):
    """Options with a dot pass through to the settings, negative numbers included."""
    calls.body.result = 7
    assert main(["run", "--batch.size", "5", "--retry.maximum_attempts", "-1", "--stream.poll-interval=1s"]) == 7
    (settings, report_to), _ = calls.made[0]
    assert report_to is None
    assert (settings.batch.size, settings.retry.maximum_attempts) == (5, -1)
    assert settings.stream.poll_interval == timedelta(seconds=1)


def test_config_names_the_file(calls, tmp_path):
    """Before or after the settings on the line."""
    (tmp_path / "my.toml").write_text("[batch]\nsize = 9\n")
    assert main(["run", "--sink.depth", "2", "--config", "my.toml"]) == 0
    assert calls.made[0][0][0].batch.size == 9


def test_verify_and_demo_get_their_options(calls):
    """With the defaults of the documentation."""
    assert main(["verify", "--ledger", "l.jsonl", "--json", "--ops.port", "0"]) == 0
    assert main(["demo", "--duration", "2s", "--keep"]) == 0
    (settings,), named = calls.made[0]
    assert (settings.ops.port, named) == (0, {"ledger": Path("l.jsonl"), "as_json": True})
    assert calls.made[1][1] == {
        "rate": 2000, "duration": timedelta(seconds=2), "shards": 4, "workers": 2, "poison_rate": 0.001, "seed": 1, "keep": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--batch.size", "0"], "--batch.size = '0': is out of range"),
        (["run", "--btach.size", "1"], "--btach.size = '1': is not an option. Did you mean --batch.size?"),
        (["run", "--config", "missing.toml"], "--config = 'missing.toml': cannot be read"),
        (["settings", "stray"], "stray: is not an option"),
        (["demo", "--duration", "20"], "--duration = '20': has no unit"),
        (["verify"], "Missing option '--ledger'"),
        (["walk"], "No such command 'walk'"),
    ],
)
def test_a_mistake_of_the_users_is_told_and_exits_with_2(calls, capsys, arguments, words):
    """On standard error, without a traceback; nothing is started."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert "Traceback" not in err
    assert not out
    assert not calls.made


@pytest.mark.parametrize(
    ("error", "code", "err"),
    [
        (
            SettingsError("HEADRACE_HANDLER", "a:b", "is wrong", "Mend it"),
            2,
            "HEADRACE_HANDLER = 'a:b': is wrong. Mend it\n",
        ),
        (Denied("kinesis ListShards: no"), 1, "kinesis ListShards: no\n"),
        (
            ExceptionGroup("tasks", [Denied("no"), ExceptionGroup("inner", [Denied("no"), LeaseLost("gone")])]),
            1,
            "no\ngone\n",
        ),
        (
            ExceptionGroup("tasks", [Denied("no"), SettingsError("X", 1, "is wrong", "Mend it")]),
            2,
            "no\nX = 1: is wrong. Mend it\n",
        ),
    ],
)
def test_errors_of_a_command_become_lines_and_an_exit_code(calls, capsys, error, code, err):
    """Also out of the groups that TaskGroups wrap them in; settings count for 2, the rest for 1."""
    calls.body.result = error
    assert main(["run"]) == code
    assert capsys.readouterr().err == err


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("bug"), ExceptionGroup("tasks", [Denied("no"), ZeroDivisionError("bug")])]
)
def test_a_bug_of_ours_keeps_its_traceback(calls, error):
    """It is not the user's to mend."""
    calls.body.result = error
    with pytest.raises(type(error)):
        main(["run"])


def test_settings_shows_what_is_in_effect_and_where_from(capsys):
    """As a table, or as JSON."""
    assert main(["settings", "--json", "--batch.size", "5"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["HEADRACE_BATCH_SIZE"] == {"value": "5", "origin": "command line"}
    assert shown["HEADRACE_STREAM_NAME"] == {"value": "orders-stream", "origin": "environment"}
    assert shown["HEADRACE_FETCH_BUFFER"] == {"value": "64MiB", "origin": "default"}
    assert list(shown) == [name.env for name in known_names().values()]
    assert main(["settings"]) == 0
    assert any(
        line.split() == ["HEADRACE_LEASE_DURATION", "10s", "default"] for line in capsys.readouterr().out.splitlines()
    )


def test_what_settings_shows_can_be_set_again(capsys, monkeypatch):
    """Every value is written as the environment takes it."""
    assert main(["settings", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    for name, shown in first.items():
        monkeypatch.setenv(name, shown["value"])
    assert main(["settings", "--json"]) == 0
    assert {name: shown["value"] for name, shown in json.loads(capsys.readouterr().out).items()} == {
        name: shown["value"] for name, shown in first.items()
    }


def test_a_secret_is_shown_nowhere(capsys, monkeypatch):
    """Neither what is in effect, nor one that is refused."""
    monkeypatch.setenv("HEADRACE_ADMIN_TOKEN", "correct-horse-battery-staple")
    assert main(["settings", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["HEADRACE_ADMIN_TOKEN"] == {"value": "**********", "origin": "environment"}
    assert "staple" not in out
    monkeypatch.setenv("HEADRACE_ADMIN_TOKEN", "sesame")
    assert main(["settings"]) == 2
    said = capsys.readouterr()
    assert said.err == "HEADRACE_ADMIN_TOKEN: is shorter than 16 characters. Take what `openssl rand -hex 24` prints\n"


def test_help_of_run_lists_every_setting(capsys):
    """With its meaning."""
    assert main(["run", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(name.option in out for name in known_names().values())


def test_version_is_told(capsys):
    """The package's own."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"headrace {headrace.__version__}\n"


def headrace_process(*arguments, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return subprocess.run(
        [sys.executable, "-m", "headrace", *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.process
def test_a_process_without_settings_exits_with_2_and_a_line_for_each():
    """As a user's first try will."""
    done = headrace_process("run")
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == list(LEAST)


@pytest.mark.process
def test_a_process_with_one_bad_setting_exits_with_2_and_one_line():
    """Never a traceback."""
    done = headrace_process("run", **LEAST, HEADRACE_BATCH_SIZE="many")
    assert done.returncode == 2
    assert done.stderr == "HEADRACE_BATCH_SIZE = 'many': is not a whole number. Write a whole number\n"


@pytest.mark.process
def test_checking_the_settings_imports_neither_rich_nor_the_aws_client():
    """A worker's start pays for what it uses, and a mistake is told at once."""
    code = (
        "import sys; from headrace.cli import main; code = main(['run', '--batch.size', '0'])\n"
        "assert code == 2, code\n"
        "loaded = {'rich', 'botocore', 'aiohttp', 'headrace.cli.demo', 'headrace.cli.verify'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **LEAST}, check=True, timeout=60, stderr=subprocess.DEVNULL
    )
