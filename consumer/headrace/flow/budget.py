"""Bounded memory: how many bytes of records all shards of a worker may hold together.

Every shard may hold a minimum whatever the others do, so that none starves behind a neighbour that waits for retries.
"""

from __future__ import annotations

import asyncio
from typing import Final

MINIMUM_SHARE: Final = 1024 * 1024
"""Bytes any shard may hold: one record of Kinesis' default maximum size."""

RECORD_OVERHEAD: Final = 300
"""Bytes of Python objects around one payload (measured: struct, bytes, key, sequence number)."""


WORTH_A_CALL: Final = 16
"""A fetch waits for this part of the total rather than spend a call on less."""

PATIENCE_S: Final = 0.5
"""How long a shard that holds next to nothing waits for that part before it takes its minimum."""


class Budget:
    """Shared by the shards of one worker; `total` in bytes."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._worth_a_call = max(MINIMUM_SHARE, total // WORTH_A_CALL)
        self._freed = asyncio.Event()

    async def reserve(self, held: int, wanted: int) -> int:
        """Wait for room; returns how many bytes were granted (at most `wanted`, at least the shard's minimum).

        `held` is what the calling shard holds already.
        """
        least = min(wanted, self._worth_a_call)
        may_starve = held < MINIMUM_SHARE
        while self._free < least:
            self._freed.clear()
            try:
                async with asyncio.timeout(PATIENCE_S if may_starve else None):
                    await self._freed.wait()
            except TimeoutError:
                least = min(wanted, MINIMUM_SHARE)
                break
        granted = max(least, min(wanted, self._free))
        self._free -= granted
        return granted

    def release(self, amount: int) -> None:
        """Give bytes back (or take more, when negative: a page may be larger than was thought)."""
        self._free += amount
        if amount > 0:
            self._freed.set()
