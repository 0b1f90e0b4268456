"""What arrived in the serving table: every record is counted, a sample is kept whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from benchmarks.arrivals import Arrived, sample_of

SAMPLE_EVERY: Final = 1009
"""Records whose item is kept whole, to be compared with what it should be."""

FIRST_READS: Final = {"GetRecords", "SubscribeToShard"}
"""What ends the start of a consumer."""


@dataclass(slots=True)
class Tally:
    """Counts since the last reset. Instants are seconds on the server's own clock."""

    total: int
    seen: bytearray = field(init=False)
    distinct: int = 0
    repeated: int = 0
    strangers: int = 0
    """Items that no record has."""
    largest_request: int = 0
    sent_bytes: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    first_read: float = 0.0
    first_write: float = 0.0
    last_write: float = 0.0
    throttled: int = 0
    """Writes that were refused for a while."""
    by_second: Counter[int] = field(default_factory=Counter)
    """Records that were new, by whole seconds since the first write."""
    sample: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen = bytearray(self.total)

    def count_writes(self, operation: str, body: bytes, arrived: Arrived) -> None:
        """Take in what one call wrote."""
        for number in self.count(arrived.numbers):
            found = None if number % SAMPLE_EVERY else sample_of(operation, body, number)
            if found is not None:
                self.sample[str(number)] = found
        self.largest_request = max(self.largest_request, arrived.writes)
        self.sent_bytes += len(body)

    def count(self, numbers: Iterable[int]) -> list[int]:
        """Count records; those that were not seen before."""
        new = []
        for number in numbers:
            if number >= self.total:
                self.strangers += 1
            elif self.seen[number]:
                self.repeated += 1
            else:
                self.seen[number] = 1
                self.distinct += 1
                new.append(number)
        self.last_write = perf_counter()
        self.by_second[int(self.since_first_write_s)] += len(new)
        return new

    @property
    def since_first_write_s(self) -> float:
        """0 at the first write, which is the first that is asked for it."""
        now = perf_counter()
        if not self.first_write:
            self.first_write = now
        return now - self.first_write

    def count_request(self, operation: str) -> None:
        """Any request, by the name of its operation."""
        self.requests[operation] += 1
        if operation in FIRST_READS and not self.first_read:
            self.first_read = perf_counter()

    def stats(self) -> dict[str, Any]:
        """All but the sample."""
        return {
            "distinct": self.distinct,
            "repeated": self.repeated,
            "strangers": self.strangers,
            "largest_request": self.largest_request,
            "sent_bytes": self.sent_bytes,
            "requests": dict(self.requests),
            "seconds": max(0.0, self.last_write - self.first_read),
            "throttled": self.throttled,
            "by_second": dict(self.by_second),
        }
