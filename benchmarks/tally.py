"""What arrived in the serving table: every record is counted by its key, a sample is kept whole."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

TABLE: Final = "bench-items"
MOST_WRITES: Final = 25
SAMPLE_EVERY: Final = 1009
"""Records whose item is kept whole, to be compared with what it should be."""

_KEY: Final = re.compile(rb'"sk": ?\{"S": ?"r(\d{9})"\}')
"""The sort key of an item; no string value can hold this text, for its quotes would be escaped there."""


@dataclass(slots=True)
class Tally:
    """Counts since the last reset. Instants are seconds on the server's own clock."""

    total: int
    seen: bytearray = field(init=False)
    distinct: int = 0
    repeated: int = 0
    strangers: int = 0
    """Items with a key that no record has."""
    largest_request: int = 0
    sent_bytes: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    first_read: float = 0.0
    last_write: float = 0.0
    sample: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen = bytearray(self.total)

    def count_write(self, body: bytes) -> int:
        """Take in one BatchWriteItem or TransactWriteItems body; how many items it has."""
        numbers = list(map(int, _KEY.findall(body)))
        for number in numbers:
            if number >= self.total:
                self.strangers += 1
            elif self.seen[number]:
                self.repeated += 1
            else:
                self.seen[number] = 1
                self.distinct += 1
                if not number % SAMPLE_EVERY:
                    self._keep(number, body)
        self.largest_request = max(self.largest_request, len(numbers))
        self.sent_bytes += len(body)
        self.last_write = perf_counter()
        return len(numbers)

    def count_request(self, operation: str) -> None:
        """Any request, by the name of its operation."""
        self.requests[operation] += 1
        if operation == "GetRecords" and not self.first_read:
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
        }

    def _keep(self, number: int, body: bytes) -> None:
        sort_key = {"S": f"r{number:09d}"}
        request = json.loads(body)
        batches = [write["PutRequest"]["Item"] for table in request.get("RequestItems", {}).values() for write in table]
        transaction = [write["Put"]["Item"] for write in request.get("TransactItems", []) if "Put" in write]
        for item in (*batches, *transaction):
            if item["sk"] == sort_key:
                self.sample[str(number)] = item
