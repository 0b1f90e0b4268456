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


class Budget:
    """Shared by the shards of one worker; `total` in bytes."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._freed = asyncio.Event()

    async def reserve(self, held: int, wanted: int) -> int:
        """Wait for room; returns how many bytes were granted (at most `wanted`, at least the shard's minimum).

        `held` is what the calling shard holds already.
        """
        while True:
            least = min(wanted, MINIMUM_SHARE)
            granted = max(min(wanted, self._free), least if held < MINIMUM_SHARE else 0)
            if granted >= least:
                self._free -= granted
                return granted
            self._freed.clear()
            await self._freed.wait()

    def release(self, amount: int) -> None:
        """Give bytes back (or take more, when negative: a page may be larger than was thought)."""
        self._free += amount
        if amount > 0:
            self._freed.set()
