"""The writing side of the benchmark's server: takes PutRecords in and judges what came, record by record.

Records go to shards by the MD5 of their partition key, as in Kinesis. Aggregates of the Kinesis Producer Library are taken
apart, and every user record has to belong to the shard that its aggregate went to. A producer's payload begins with its
key and its place among the records of the key, so that a record that overtook another is seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter
from typing import Any, Final

import msgspec

from benchmarks.records import FIRST_SEQUENCE
from headrace.core.aggregates import expand, hash_of
from headrace.model import Record

HASHES: Final = 2**128
MOST_ENTRIES: Final = 500
MOST_BYTES: Final = 10 * 2**20
MOST_RECORD_BYTES: Final = 2**20
"""Limits of a call, and of a record of a stream as it is created (API reference, PutRecords and UpdateMaxRecordSize)."""

_PLACE: Final = re.compile(rb'\{"key":"([^"]+)","n":(\d+)')


class Entry(msgspec.Struct, gc=False):
    """PutRecordsRequestEntry."""

    data: bytes = msgspec.field(name="Data")
    key: str = msgspec.field(name="PartitionKey")
    hash_key: str | None = msgspec.field(name="ExplicitHashKey", default=None)


class Call(msgspec.Struct, gc=False):
    """A PutRecords request."""

    entries: list[Entry] = msgspec.field(name="Records")


class IntakeError(Exception):
    """A call that Kinesis would refuse."""


_decode = msgspec.json.Decoder(Call).decode


@dataclass(slots=True)
class Intake:
    """What arrived since the last reset. Instants are seconds on the server's own clock."""

    shards: int
    entries: int = 0
    records: int = 0
    size: int = 0
    misordered: int = 0
    """Records that came before one of their key that was made earlier, or came twice."""
    strayed: int = 0
    """Records of aggregates that do not belong to the shard: a consumer would drop them."""
    first_call: float = 0.0
    last_call: float = 0.0
    _last_of_key: dict[bytes, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(FIRST_SEQUENCE))

    def take(self, body: bytes) -> bytes:
        """Take in one call; its answer. Raises IntakeError."""
        self.first_call = self.first_call or perf_counter()
        entries = _decode(body).entries
        _check(entries)
        answer = b'{"FailedRecordCount":0,"Records":[%b]}' % b",".join(map(self._place, entries))
        self.last_call = perf_counter()
        return answer

    def stats(self) -> dict[str, Any]:
        """The figures."""
        return {
            "entries": self.entries,
            "records": self.records,
            "size": self.size,
            "misordered": self.misordered,
            "strayed": self.strayed,
            "seconds": self.last_call - self.first_call,
        }

    def _place(self, entry: Entry) -> bytes:
        number = next(self._numbers)
        hash_key = int(entry.hash_key) if entry.hash_key else hash_of(entry.key)
        shard = hash_key * self.shards // HASHES
        self.entries += 1
        self.size += len(entry.data) + len(entry.key)
        self._judge(self._users(entry, shard))
        return b'{"SequenceNumber":"%d","ShardId":"shardId-%012d"}' % (number, shard)

    def _users(self, entry: Entry, shard: int) -> Iterable[bytes]:
        users = expand(Record(entry.data, entry.key, 0, 0.0))
        if users is None:
            return (entry.data,)
        self.strayed += sum(user.hash_key * self.shards // HASHES != shard for user in users)
        return [user.record.data for user in users]

    def _judge(self, payloads: Iterable[bytes]) -> None:
        for payload in payloads:
            self.records += 1
            place = _PLACE.match(payload)
            if place is not None:
                key, n = place[1], int(place[2])
                self.misordered += n != self._last_of_key.get(key, 0) + 1
                self._last_of_key[key] = n


def _check(entries: list[Entry]) -> None:
    if not 1 <= len(entries) <= MOST_ENTRIES:
        raise IntakeError(f"{len(entries)} records in a call")
    sizes = [len(entry.data) + len(entry.key.encode()) for entry in entries]
    if sum(sizes) > MOST_BYTES or max(sizes) > MOST_RECORD_BYTES:
        raise IntakeError(f"{sum(sizes)} bytes in a call, {max(sizes)} in a record")
