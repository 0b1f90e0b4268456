"""How the sink waits out trouble: backoff between tries, and one log line a minute about each kind of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from headrace.core.backoff import Backoff, delay_s
from headrace.errors import AwsError, Retryable
from headrace.model import Instant
from headrace.ports import Clock

COMPLAINT_PERIOD_S: Final = 60.0

BACKOFF: Final = Backoff(first_s=0.05, cap_s=5.0)
"""Short: a table that throttles, or is back from an outage, takes part of the load at once."""

_log = structlog.get_logger(__name__)


class Patience:
    """Shared by everything that tries again; `unit` draws from [0, 1) for the jitter."""

    def __init__(self, clock: Clock, unit: Callable[[], float], backoff: Backoff = BACKOFF) -> None:
        self._clock = clock
        self._unit = unit
        self._backoff = backoff
        self._complained: dict[type[AwsError], Instant] = {}

    async def wait(self, failures: int) -> None:
        """Wait after the failure with this number (from 1) in a row."""
        await asyncio.sleep(delay_s(failures, self._unit(), self._backoff))

    def complain(self, error: AwsError) -> None:
        """Log the trouble unless its kind was logged within the last minute: a warning if it may pass by itself."""
        now, kind = self._clock.now(), type(error)
        last = self._complained.get(kind)
        if last is not None and now - last < COMPLAINT_PERIOD_S:
            return
        self._complained[kind] = now
        tell = _log.warning if isinstance(error, Retryable) else _log.error
        tell("sink_write_failed", kind=kind.__name__, error=str(error))
