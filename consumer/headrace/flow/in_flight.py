"""Bounded work: how many writes all shards of a worker may have handled and not seen settled.

More than the sink can have under way only waits, as decoded items, in memory that is cold when its turn comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class InFlight:
    """Shared by the shards of one worker; `most` is a number of writes."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._freed = asyncio.Event()

    async def reserve(self, amount: int, has_some: Callable[[], bool]) -> None:
        """Wait for room. A shard that has nothing under way never waits: no neighbour holds it up.

        Before the handler is called a record counts for one write; afterwards its writes are counted.
        """
        while self._free <= 0 and has_some():
            self._freed.clear()
            await self._freed.wait()
        self._free -= amount

    def release(self, amount: int) -> None:
        """So many are settled, or were fewer than reserved (more, when negative)."""
        self._free += amount
        if amount > 0:
            self._freed.set()
