"""Time that follows the event loop: virtual where the loop's time is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from headrace.model import Instant

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


class LoopClock:
    """Implements `ports.Clock` on the running loop's time; `wall` was `epoch` when that was 0."""

    def __init__(self, epoch: datetime = EPOCH) -> None:
        self._epoch = epoch

    def now(self) -> Instant:
        """The loop's own monotonic seconds."""
        return Instant(asyncio.get_running_loop().time())

    def wall(self) -> datetime:
        """The epoch and as many seconds."""
        return self._epoch + timedelta(seconds=self.now())
