"""How a shard's run is asked to end, and how long what is in flight may take from then on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headrace.model import WorkerId


class Farewell:
    """Asked for once, or several times: the first one starts the clock. `drain_s` is what it allows, in seconds."""

    def __init__(self, drain_s: float) -> None:
        self.is_asked = False
        self.is_overdue = False
        """It had its time and work is still under way."""
        self.heir: WorkerId | None = None
        """Whom the lease is passed on to; released where there is none."""
        self.shun = False
        """Whether other workers go first with the lease: this one gets nowhere."""
        self._drain_s = drain_s
        self._patience: asyncio.Timeout | None = None

    def ask(self, heir: WorkerId | None = None, *, shun: bool = False) -> None:
        """From now on nothing new begins."""
        if not self.is_asked and self._patience is not None:
            self._patience.reschedule(self._deadline())
        self.is_asked = True
        self.heir = self.heir or heir
        self.shun = self.shun or shun

    @asynccontextmanager
    async def bounds(self) -> AsyncIterator[None]:
        """What happens in the block may go on for ever until the end is asked for, and `drain_s` from then on."""
        try:
            async with asyncio.timeout_at(self._deadline() if self.is_asked else None) as patience:
                self._patience = patience
                try:
                    yield
                finally:
                    self._patience = None
        except TimeoutError:
            self.is_overdue = True

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._drain_s
