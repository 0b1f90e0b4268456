"""One ordered lane of a shard: the records of its partition keys, closed into batches by count, bytes and age.

A lane is chosen by a checksum of the partition key, so that a key is always in the same lane of a run, and its records
keep their order: a lane works on one batch at a time. A batch is closed by the first of `size` records, `window_s` since
its first record was taken in, or the record that would make an encoded event larger than `bytes`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from zlib import crc32

from headrace.core.batching import BatchRules
from headrace.model import Instant

T = TypeVar("T")


def lane_of(partition_key: str, lanes: int) -> int:
    """Which of so many lanes a partition key belongs to."""
    return crc32(partition_key.encode(errors="surrogatepass")) % lanes if lanes > 1 else 0


@dataclass(frozen=True, slots=True)
class EventLimit:
    """The most bytes of one encoded event, and what it takes beside its records; `None` counts nothing."""

    bytes: int | None = None
    overhead: int = 0

    def is_too_large(self, size: int) -> bool:
        """Whether a record of this size fits no event, whatever else is in it."""
        return self.bytes is not None and self.overhead + size > self.bytes


class Lane(Generic[T]):
    """Holds what was taken in and is in no batch yet."""

    def __init__(self, rules: BatchRules, limit: EventLimit) -> None:
        self._rules = rules
        self._room = None if limit.bytes is None else limit.bytes - limit.overhead
        self._items: deque[tuple[T, int, Instant]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Items held."""
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        """What is held, in order."""
        return (item for item, _, _ in self._items)

    def add(self, item: T, size: int, now: Instant) -> None:
        """Take in the next item; `size` is what it takes of an event, the comma between two items included."""
        self._items.append((item, size, now))
        self._bytes += size

    def due_at(self) -> Instant | None:
        """When the next batch may go out: -inf for at once, None while there is nothing."""
        if not self._items:
            return None
        is_full = len(self._items) >= self._rules.size or (self._room is not None and self._bytes > self._room)
        if is_full or self._rules.window_s <= 0:
            return Instant(float("-inf"))
        return Instant(self._items[0][2] + self._rules.window_s)

    def first(self) -> T | None:
        """The item that waits longest."""
        return self._items[0][0] if self._items else None

    def take(self, belongs: Callable[[T], bool] = lambda _: True) -> list[T]:
        """The next batch, in order; empty when there is nothing. An item larger than an event goes alone.

        It ends before the first item that does not belong to it.
        """
        batch: list[T] = []
        taken = 0
        while self._items and len(batch) < self._rules.size:
            item, size, _ = self._items[0]
            if (batch and self._room is not None and taken + size > self._room) or not belongs(item):
                break
            self._items.popleft()
            batch.append(item)
            taken += size
        self._bytes -= taken
        return batch
