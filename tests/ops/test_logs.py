"""Log lines for machines and for people."""

import io
import json
import logging
import subprocess
import sys
import warnings

import pytest
import structlog

from headrace.ops import logs


@pytest.fixture(autouse=True)
def _restored():
    """Leaves the process's logging as it was."""
    root, level = logging.getLogger(), logging.getLogger().level
    handlers = root.handlers[:]
    with warnings.catch_warnings():
        yield
        logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("aiobotocore", "aiohttp", "asyncio", "botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.NOTSET)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_without_a_terminal_each_event_is_one_json_object_a_line():
    """With time, level, event, logger, context and facts."""
    out = io.StringIO()
    logs.configure("info", "auto", out)
    structlog.contextvars.bind_contextvars(shard="shardId-1", epoch=3)
    structlog.get_logger("headrace.flow.shard.run").info("lease_taken", previous="w\n2", size=2**70)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info", "event": "lease_taken", "logger": "headrace.flow.shard.run", "shard": "shardId-1", "epoch": 3,
        "previous": "w\n2", "size": 2**70,
    }  # fmt: skip


def test_libraries_that_log_by_the_standard_library_come_out_the_same_way():
    """One format for the whole process."""
    out = io.StringIO()
    logs.configure("info", "json", out)
    logging.getLogger("somebody").warning("lost %s", "things", extra={"count": 2})
    (line,) = lines(out)
    assert (line["event"], line["logger"], line["level"], line["count"]) == ("lost things", "somebody", "warning", 2)


def test_an_exception_is_a_field_of_its_line():
    """A traceback does not tear the line apart."""
    out = io.StringIO()
    logs.configure("info", "json", out)
    structlog.get_logger("x").error("batch_failed", exc_info=ValueError("broken"))
    (line,) = lines(out)
    assert "ValueError: broken" in line["exception"]


def test_what_json_has_no_word_for_is_shown_all_the_same():
    """A log call never fails for its facts."""
    out = io.StringIO()
    logs.configure("info", "json", out)
    structlog.get_logger("x").info("seen", thing=object, weird=complex(1, 2))
    assert "1+2j" in lines(out)[0]["weird"]


def test_less_severe_events_are_left_out():
    """Of structlog and of the standard library."""
    out = io.StringIO()
    logs.configure("warning", "json", out)
    structlog.get_logger("x").info("quiet")
    logging.getLogger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [line["event"] for line in lines(out)] == ["loud"]


def test_request_bodies_of_the_aws_client_are_never_logged():
    """Botocore writes them at level debug, payloads included."""
    out = io.StringIO()
    logs.configure("debug", "json", out)
    logging.getLogger("botocore.endpoint").debug("Making request with body secret")
    logging.getLogger("aiobotocore.hooks").debug("secret")
    structlog.get_logger("x").debug("ours")
    assert [line["event"] for line in lines(out)] == ["ours"]


def test_on_a_terminal_lines_are_for_people():
    """Unless JSON is asked for."""
    out = Terminal()
    logs.configure("info", "auto", out)
    structlog.get_logger("x").info("lease_taken", shard="s")
    assert "lease_taken" in out.getvalue()
    with pytest.raises(ValueError, match="Expecting value"):
        lines(out)
    out = Terminal()
    logs.configure("info", "json", out)
    structlog.get_logger("x").info("lease_taken")
    assert lines(out)


@pytest.mark.process
def test_logging_does_not_import_rich():
    """It would cost every worker's start, and structlog does so by itself."""
    code = "import headrace.ops.logs, structlog, sys; assert 'rich' not in sys.modules; import rich.console"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
