"""What is remembered of many attempts."""

from datetime import UTC, datetime, timedelta

from headrace.core.attempt_log import LONGEST, extended
from headrace.model import FailedAttempt

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_first_and_the_last_attempts_are_remembered_in_order():
    """A record may be tried ten thousand times."""
    log: tuple[FailedAttempt, ...] = ()
    for number in range(100):
        log = extended(log, FailedAttempt(BEGAN + timedelta(seconds=number), 1, str(number)))
        assert len(log) == min(number + 1, LONGEST)

    assert [attempt.error for attempt in log] == ["0", "1", "2", "3", "4", "95", "96", "97", "98", "99"]
