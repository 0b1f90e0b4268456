"""Partition keys that wait: a failed record's next attempt, and behind it, in order, the later records of its key.

Other keys go on. A key is parked from its first failure until its last waiting record has been handled.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from headrace.model import Instant

T = TypeVar("T")


class Parking(Generic[T]):
    """Queues by key; the head of each is the one that failed and waits for its time."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[T]] = {}
        self._due: list[tuple[Instant, int, str]] = []
        self._order = 0
        self.waiting = 0
        """Records parked, heads included."""

    def __contains__(self, key: str) -> bool:
        return key in self._queues

    def __len__(self) -> int:
        """How many keys are parked."""
        return len(self._queues)

    def park(self, key: str, item: T, due: Instant) -> None:
        """A record failed and may be tried again at `due`; its key was not parked before."""
        self._queues[key] = deque([item])
        self.waiting += 1
        self._schedule(key, due)

    def follow(self, key: str, item: T) -> None:
        """A later record of a parked key."""
        self._queues[key].append(item)
        self.waiting += 1

    def queues(self) -> Iterator[tuple[Sequence[T], Instant | None]]:
        """Every parked key's records, and when the first of them may be tried; None while it is."""
        due = {key: instant for instant, _, key in self._due}
        return ((queue, due.get(key)) for key, queue in self._queues.items())

    def next_due(self) -> Instant | None:
        """When the first head may be tried; None when nothing is parked."""
        return self._due[0][0] if self._due else None

    def take_due(self, now: Instant) -> str | None:
        """A key whose head may be tried now. Follow with `head`, and `postpone` or `advance` until it is empty."""
        if not self._due or self._due[0][0] > now:
            return None
        return heapq.heappop(self._due)[2]

    def head(self, key: str) -> T:
        """The record of a parked key that is next."""
        return self._queues[key][0]

    def postpone(self, key: str, item: T, due: Instant) -> None:
        """The head failed again: `item` takes its place until `due`."""
        self._queues[key][0] = item
        self._schedule(key, due)

    def advance(self, key: str) -> bool:
        """The head is done with; True while another record of the key waits."""
        queue = self._queues[key]
        queue.popleft()
        self.waiting -= 1
        if not queue:
            del self._queues[key]
        return bool(queue)

    def _schedule(self, key: str, due: Instant) -> None:
        self._order += 1
        heapq.heappush(self._due, (due, self._order, key))
