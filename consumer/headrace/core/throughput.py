"""Throughput of one shard, averaged over about a minute: what the planner weighs leases by."""

from __future__ import annotations

from typing import Final

from headrace.model import Instant

MEMORY_S: Final = 60.0
"""Over how long it is averaged."""


class Rate:
    """In bytes/s, from a rate known at an instant on."""

    def __init__(self, rate: float, since: Instant) -> None:
        self._rate = rate
        self._since = since
        self._bytes = 0

    def count(self, size: int) -> None:
        """Bytes were settled."""
        self._bytes += size

    def now(self, now: Instant) -> float:
        """The average until now."""
        elapsed = max(now - self._since, 1e-3)
        self._rate += min(elapsed / MEMORY_S, 1.0) * (self._bytes / elapsed - self._rate)
        self._bytes, self._since = 0, now
        return self._rate
