"""One shard's records in memory: its sequence numbers, its retention and the limits on reading it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from headrace.errors import Throttled
from headrace.model import Record, Shard, ShardId

CALLS_PER_S: Final = 5
"""GetRecords calls per second and shard, shared by all who read it (API reference, GetRecords)."""

BYTES_PER_S: Final = 2 * 1024 * 1024
"""GetRecords payload per second and shard. An answer of n times this blocks the shard for n seconds: 10 MiB for 5."""

PAGE_BYTES: Final = 10 * 1024 * 1024
"""Largest payload of one GetRecords answer."""

TOLERANCE_S: Final = 1e-6
"""Calls exactly a fifth of a second apart are within the limit, whatever floating point makes of the sum."""


class Placed(NamedTuple):
    """Where a record went."""

    shard_id: ShardId
    sequence_number: int


@dataclass(slots=True)
class ShardLog:
    """One shard with its records, oldest first, and the calls of its last second as (instant, bytes)."""

    shard: Shard
    index: int
    created_s: int
    records: list[Record] = field(default_factory=list)
    appended: int = 0
    closed_at_s: float | None = None
    children: tuple[Shard, ...] = ()
    calls: deque[tuple[float, int]] = field(default_factory=deque)
    blocked_until: float = 0.0

    def append(self, partition_key: str, data: bytes, arrival_s: float) -> Placed:
        """Add one record."""
        self.appended += 1
        number = self.number(self.appended, int(arrival_s))
        self.records.append(Record(data, partition_key, number, arrival_s, self.shard.shard_id))
        return Placed(self.shard.shard_id, number)

    def number(self, position: int, now_s: int) -> int:
        """186 bits: version 2, creation second of the shard, its low nibble, position, second of arrival, shard, 2.

        The creation second leads, so that a child's numbers are above its parents'.
        """
        head = 2 << 184 | self.created_s << 148 | (self.index & 0xF) << 144
        return head | position << 80 | now_s << 36 | self.index << 4 | 2

    def owns(self, number: int) -> bool:
        """Could this be a number of this shard?"""
        return number >> 148 == 2 << 36 | self.created_s and (number >> 4) & 0xFFFF_FFFF == self.index

    def trim(self, horizon_s: float) -> None:
        """Drop what arrived before `horizon_s`."""
        if self.records and self.records[0].arrival_s < horizon_s:
            del self.records[: bisect_left(self.records, horizon_s, key=_arrival)]

    def admit(self, now: float) -> None:
        """Raise Throttled when the shard's limits are used up."""
        while self.calls and self.calls[0][0] <= now - 1.0 + TOLERANCE_S:
            self.calls.popleft()
        if len(self.calls) >= CALLS_PER_S:
            raise Throttled(f"kinesis GetRecords, {self.shard.shard_id}: more than {CALLS_PER_S} calls a second")
        if now + TOLERANCE_S < self.blocked_until or sum(size for _, size in self.calls) >= BYTES_PER_S:
            raise Throttled(f"kinesis GetRecords, {self.shard.shard_id}: more than 2 MiB a second")

    def served(self, now: float, size: int) -> None:
        """Count an answer against the limits."""
        self.calls.append((now, size))
        if size > BYTES_PER_S:
            self.blocked_until = now + size / BYTES_PER_S

    def cut(self, after: int, limit: int) -> tuple[list[Record], int, Record | None]:
        """Copies of a page behind number `after`, its bytes, and the record that comes next."""
        start = end = bisect_right(self.records, after, key=_number)
        size = 0
        for record in self.records[start : start + limit]:
            if size + len(record.data) > PAGE_BYTES and end > start:
                break
            size += len(record.data)
            end += 1
        following = self.records[end] if end < len(self.records) else None
        return [_copy(record) for record in self.records[start:end]], size, following

    def number_before(self, instant_s: float) -> int:
        """The number of the last record that arrived before the instant; 0 if there is none."""
        older = bisect_left(self.records, instant_s, key=_arrival)
        return self.records[older - 1].sequence_number if older else 0


def _number(record: Record) -> int:
    return record.sequence_number


def _arrival(record: Record) -> float:
    return record.arrival_s


def _copy(record: Record) -> Record:
    return Record(record.data, record.partition_key, record.sequence_number, record.arrival_s, record.shard_id)
