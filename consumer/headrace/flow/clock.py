"""The real clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from headrace.model import Instant


class SystemClock:
    """CLOCK_BOOTTIME: unlike CLOCK_MONOTONIC it goes on while the machine is suspended, and so ends a trust window."""

    def now(self) -> Instant:
        """Seconds since boot, suspension included."""
        return Instant(time.clock_gettime(time.CLOCK_BOOTTIME))

    def wall(self) -> datetime:
        """The time of day."""
        return datetime.now(UTC)  # noqa: TID251 - this is the injected clock
