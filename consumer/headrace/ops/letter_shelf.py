"""The newest dead letters, for the page: looked at only when somebody asks, and never further than is good for a table."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from headrace.model import Checkpoint, DeadLetter, Instant, ShardId
from headrace.ports import Clock, DeadLetterStore

NEWEST: Final = 20
LOOKED_AT: Final = 2000
BYTES_LOOKED_AT: Final = 8 * 2**20
"""A store is read from its beginning: a page must not read a million letters to show the last of them."""

FRESH_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Shelf:
    """What was found; `is_whole` tells whether all letters were looked at, `seen` how many were."""

    letters: tuple[DeadLetter, ...]
    seen: int
    is_whole: bool


class LetterShelf:
    """Reads a store for people. Without a store, `instead` says where else to look."""

    def __init__(self, store: DeadLetterStore | None, stream: str, clock: Clock, instead: str = "") -> None:
        self.instead = instead
        self._store = store
        self._stream = stream
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kept: tuple[Instant, Shelf] | None = None

    async def newest(self) -> Shelf:
        """The newest of the letters that were looked at, newest first. Raises what the store's `read` raises."""
        async with self._lock:
            now = self._clock.now()
            if self._kept is None or now - self._kept[0] >= FRESH_S:
                self._kept = self._clock.now(), await self._look()
            return self._kept[1]

    async def find(self, shard: ShardId, position: Checkpoint) -> DeadLetter | None:
        """One letter. Raises what the store's `read` raises."""
        async for letter in self._read(shard):
            record = letter.record
            if Checkpoint.of(record) == position:
                return letter
        return None

    async def discard(self, letter: DeadLetter) -> None:
        """Delete it for good. Raises what the store's `remove` raises."""
        if self._store is not None:
            await self._store.remove([letter])
            self._kept = None

    async def _look(self) -> Shelf:
        heap: list[tuple[float, int, DeadLetter]] = []
        ties, seen, size = count(), 0, 0
        async for letter in self._read():
            seen, size = seen + 1, size + len(letter.record.data)
            push = heapq.heappush if len(heap) < NEWEST else heapq.heappushpop
            push(heap, (letter.buried_at.timestamp(), next(ties), letter))
            if seen >= LOOKED_AT or size >= BYTES_LOOKED_AT:
                return Shelf(_newest_first(heap), seen, is_whole=False)
        return Shelf(_newest_first(heap), seen, is_whole=True)

    async def _read(self, shard: ShardId | None = None) -> AsyncIterator[DeadLetter]:
        if self._store is not None:
            async for letter in self._store.read(self._stream, shard):
                yield letter


def _newest_first(heap: list[tuple[float, int, DeadLetter]]) -> tuple[DeadLetter, ...]:
    return tuple(letter for _, _, letter in sorted(heap, key=lambda entry: entry[:2], reverse=True))
