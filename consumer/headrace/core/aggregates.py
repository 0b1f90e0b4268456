"""Records of the Kinesis Producer Library that hold several records of the user: taken apart.

The format is public (amazon-kinesis-producer, aggregation-format.md): four magic bytes, a protobuf message, and the MD5 of
that message. `AggregatedRecord` has a table of partition keys (1), a table of explicit hash keys (2) and the records (3);
a record names its keys by their place in the tables (1, 2) and has its data (3); tags (4) are read over. What is not of
this form to the last byte is an ordinary record, whose payload merely begins alike, as for the KCL.

A user record whose hash key lies outside of the shard's range is left out: the producer saw, after a split, that it had
reached the wrong shard, and sends it again. Sub-sequence numbers count every record of the message, so that they are the
same whoever takes it apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import md5
from typing import Final, NamedTuple

from headrace.model import Lease, Record

MAGIC: Final = b"\xf3\x89\x9a\xc2"
_DIGEST: Final = 16

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf; groups (3, 4) are deprecated and nobody writes them."""

_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}

MOST_VARINT: Final = 10
"""Bytes of a varint of 64 bits."""


class _Malformed(Exception):  # noqa: N818 - never leaves this module
    """Not the message that the magic bytes promise."""


@dataclass(slots=True)
class _Message:
    """An AggregatedRecord as it was read."""

    partition_keys: list[str] = field(default_factory=list)
    hash_keys: list[int] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)


def is_aggregate(record: Record) -> bool:
    """Whether it may be one: its first bytes say so."""
    return record.data.startswith(MAGIC)


class UserRecord(NamedTuple):
    """One record of an aggregate, and the hash key that decided on its shard."""

    record: Record
    hash_key: int


def expand(record: Record) -> list[UserRecord] | None:
    """What the user put into it; None where it is no aggregate."""
    message = record.data[len(MAGIC) : -_DIGEST]
    if not is_aggregate(record) or md5(message, usedforsecurity=False).digest() != record.data[-_DIGEST:]:
        return None
    try:
        inner = _records_of(_read(message))
    except (_Malformed, ValueError, IndexError):
        return None
    number, arrival_s, shard = record.sequence_number, record.arrival_s, record.shard_id
    return [
        UserRecord(Record(data, key, number, arrival_s, shard, sub), hash_key)
        for sub, (key, hash_key, data) in enumerate(inner)
    ]


def hash_of(partition_key: str) -> int:
    """The hash key of a partition key (Kinesis developer guide): its MD5 as a number of 128 bits."""
    return int.from_bytes(md5(partition_key.encode(), usedforsecurity=False).digest(), "big")


def _read(data: bytes) -> _Message:
    message = _Message()
    for number, value in _fields(data):
        match number, value:
            case 1, bytes():
                message.partition_keys.append(value.decode())
            case 2, bytes():
                message.hash_keys.append(int(value))
            case 3, bytes():
                message.records.append(value)
            case _:
                continue
    return message


def _records_of(message: _Message) -> list[tuple[str, int, bytes]]:
    return [_inner(raw, message) for raw in message.records]


def _inner(raw: bytes, message: _Message) -> tuple[str, int, bytes]:
    """Partition key, hash key and data of one record. Its key and data are required."""
    key: str | None = None
    hash_key: int | None = None
    data: bytes | None = None
    for number, value in _fields(raw):
        match number, value:
            case 1, int():
                key = message.partition_keys[value]
            case 2, int():
                hash_key = message.hash_keys[value]
            case 3, bytes():
                data = value
            case _:
                continue
    if key is None or data is None:
        raise _Malformed
    return key, hash_of(key) if hash_key is None else hash_key, data


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values, in order; values of fixed width are passed over."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise _Malformed
            yield number, data[at : at + length]
            at += length
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise _Malformed
    if at != len(data):
        raise _Malformed


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    value = 0
    for position in range(MOST_VARINT):
        if at + position >= len(data):
            raise _Malformed
        byte = data[at + position]
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, at + position + 1
    raise _Malformed


class Expansion:
    """Takes apart the aggregates of one shard that is read on from its checkpoint."""

    def __init__(self, lease: Lease) -> None:
        self.foreign = 0
        """User records that were left out because they belong to other shards."""
        self._lease = lease

    def of(self, records: list[Record]) -> list[Record]:
        """The records of a page; the same list where none of it is an aggregate."""
        if True not in [record.data.startswith(MAGIC) for record in records]:  # `is_aggregate`, at a third of the price
            return records
        return [one for record in records for one in self._of_one(record)]

    def _of_one(self, record: Record) -> list[Record]:
        found = expand(record)
        if found is None:
            return [record]
        first, last, after = self._lease.first_hash_key, self._lease.last_hash_key, self._lease.checkpoint
        ours = [user.record for user in found if first <= user.hash_key <= last]
        self.foreign += len(found) - len(ours)
        if record.sequence_number != after.sequence_number:
            return ours
        # the checkpoint stands inside of this one: it is read again, and what is settled of it is passed over
        return [one for one in ours if one.sub_sequence_number > after.sub_sequence_number]
