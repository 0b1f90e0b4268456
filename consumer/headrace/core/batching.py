"""Folds pages into batches by count and age, in shard order.

A batch is closed by the first of: `size` records, or `window_s` since its first record was taken in. Without a window a
batch is whatever is there, up to `size`. (The event source mapping counts its window from the previous invocation's end;
from the first record on, a record's wait is bounded by the window itself.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.model import Instant, Record


@dataclass(frozen=True, slots=True)
class BatchRules:
    """The ESM's batch size (records) and maximum batching window (seconds)."""

    size: int = 100
    window_s: float = 0.0


class Batcher:
    """Holds what was read and not yet delivered."""

    def __init__(self, rules: BatchRules) -> None:
        self._rules = rules
        self._pages: deque[tuple[list[Record], Instant]] = deque()
        """Pages in shard order, each reversed: taking from its end lets go of the records one batch at a time."""
        self.waiting = 0
        """Records held."""

    def add(self, records: Sequence[Record], now: Instant) -> None:
        """Take in the records of a page."""
        if records:
            self._pages.append((list(reversed(records)), now))
            self.waiting += len(records)

    @property
    def oldest_arrival_s(self) -> float | None:
        """Arrival of the oldest record held, in epoch seconds; None while there is nothing."""
        return self._pages[0][0][-1].arrival_s if self._pages else None

    def __iter__(self) -> Iterator[Record]:
        """What is held, in order."""
        return (record for page, _ in self._pages for record in reversed(page))

    def due_at(self) -> Instant | None:
        """When the next batch may go out: -inf for at once, None while there is nothing."""
        if not self.waiting:
            return None
        if self.waiting >= self._rules.size or self._rules.window_s <= 0:
            return Instant(float("-inf"))
        return Instant(self._pages[0][1] + self._rules.window_s)

    def take(self) -> list[Record]:
        """The next batch: at most `size` records, in order; empty when there is nothing."""
        batch: list[Record] = []
        while self._pages and len(batch) < self._rules.size:
            page, _ = self._pages[0]
            part = page[len(batch) - self._rules.size :]
            del page[len(batch) - self._rules.size :]
            batch.extend(reversed(part))
            if not page:
                self._pages.popleft()
        self.waiting -= len(batch)
        return batch
