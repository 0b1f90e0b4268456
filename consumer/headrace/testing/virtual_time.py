"""An event loop whose time jumps to the next thing that is due: backoffs of minutes pass at once."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, Final

BEGAN_S: Final = 1000.0
"""Time of the loop at its start, so that instants before it exist."""


class Stuck(RuntimeError):  # noqa: N818 - what it says
    """Nothing is due and nothing will ever happen."""


class _Jump(selectors.DefaultSelector):
    """Never waits; tells the loop how long it would have."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck("every task waits for another")
        self.loop.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Made for one run. What waits for the outside world does not stop its time: a handler that does needs a real loop."""

    def __init__(self) -> None:
        self.now = BEGAN_S
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds, virtual."""
        return self.now
