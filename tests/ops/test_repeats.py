"""The same error over and over, as it comes out of the log."""

import io
import json
import logging

import pytest
import structlog

from headrace.core.repetition import PERIOD_S
from headrace.ops import repeats
from headrace.ops.repeats import Repeats


class Log:
    """A logger as `logs.configure` sets it up, on a clock that the test moves."""

    def __init__(self, level):
        self.now_s = 0.0
        self.out = io.StringIO()
        handler = logging.StreamHandler(self.out)
        self._logger = logging.Logger("headrace.test", level.upper())  # noqa: LOG001 - of this test alone  # noqa: LOG001 - of this test alone
        self._logger.addHandler(handler)
        self.log = structlog.wrap_logger(
            self._logger,
            processors=[structlog.stdlib.add_log_level, structlog.processors.JSONRenderer()],
            wrapper_class=repeats.bound_logger(level, Repeats(level, lambda: self.now_s)),
        )

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


def test_a_call_that_fails_for_minutes_is_told_at_once_and_then_as_a_warning_with_a_count():
    """An endpoint that never answers is seen by whoever looks for warnings."""
    told = Log("info")
    for attempt in range(1, 71):
        told.log.info("call_failed", call="describe_stream", attempt=attempt, error="cannot connect")
        told.now_s += 1.0
    assert told.lines == [
        {"level": "info", "event": "call_failed", "call": "describe_stream", "attempt": 1, "error": "cannot connect"},
        *(
            {"level": "warning", "event": "call_failed", "call": "describe_stream", "attempt": attempt,
             "error": "cannot connect", "repeated": 29}
            for attempt in (31, 61)
        ),
    ]  # fmt: skip


def test_at_level_warning_the_first_try_is_silent_and_a_lasting_failure_is_not():
    """Commands log warnings alone, and must not stand there in silence."""
    told = Log("warning")
    for second in (0.0, 1.0, PERIOD_S):
        told.now_s = second
        told.log.info("call_failed", call="describe_stream", error="cannot connect")
        told.log.info("worker_started")
    assert [(line["event"], line["level"], line["repeated"]) for line in told.lines] == [("call_failed", "warning", 1)]


def test_records_that_fail_alike_share_a_line_and_other_shards_and_errors_have_their_own():
    """A handler that fails for every record would else write a line for each of them."""
    told = Log("info")
    for number in range(50):
        told.log.info("record_failed", shard="a", error="KeyError", raised_at="x.py:1", sequence_number=str(number))
    told.log.info("record_failed", shard="b", error="KeyError", raised_at="x.py:1", sequence_number="9")
    told.log.info("record_failed", shard="a", error="ValueError", raised_at="x.py:2", sequence_number="9")
    assert [(line["shard"], line["error"]) for line in told.lines] == [
        ("a", "KeyError"), ("b", "KeyError"), ("a", "ValueError"),
    ]  # fmt: skip


@pytest.mark.parametrize("event", sorted(repeats.ONE_BY_ONE))
def test_what_became_of_a_record_is_told_for_each_of_them(event):
    """Nobody is to search for a record that was buried beside another one."""
    told = Log("info")
    for _ in range(3):
        told.log.warning(event, error="KeyError", reason="RetryAttemptsExhausted")
    assert len(told.lines) == 3


def test_lines_without_an_error_are_never_left_out():
    """A lease that comes and goes is news each time."""
    told = Log("info")
    for _ in range(3):
        told.log.info("lease_opened", shard="a", epoch=1)
    assert len(told.lines) == 3


def test_an_error_stays_an_error():
    """However long it lasts."""
    told = Log("info")
    for second in (0.0, PERIOD_S):
        told.now_s = second
        told.log.error("call_failed", error="denied")
    assert [line["level"] for line in told.lines] == ["error", "error"]
