"""A timer that is moved with every request and costs nothing but a comparison most of the time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

EARLY_S: Final = 0.001
"""uvloop's timers count whole milliseconds: one that rings so much too early has rung."""


class Alarm:
    """Rings once the loop's time passes what was `set` last.

    The loop's own timer is touched only when it would ring too late; one that rings too early is set again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def set(self, due: float) -> None:
        """Ring at this time of the loop."""
        self._due = due
        if due < self._timer_at:
            self._arm(due)

    def stop(self) -> None:
        """Never ring."""
        self._due = self._timer_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._due - self._loop.time() > EARLY_S:
            self._arm(self._due)
        else:
            self._ring()
