"""Partition keys that are parked: a record of theirs was buried, and later ones follow it into the dead letters.

So order survives the failure, until the key is redriven. One row a key, beside the leases; `last` names the newest letter
of the key, and is written before that letter is stored:

- a worker parks a key when it buries its first record (`park`), and for each later record asks whether the key still is
  parked (`follow`); where it is not any more, the record is handled like any other;
- a redrive delivers the letters of the key in order and releases the key (`release`) on condition that `last` still is
  the letter it delivered last. If it moved, another letter is there or on its way, and the key stays parked.

Whoever dies between two of these steps leaves a key that is parked, never one that is released too soon.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.model import Checkpoint, Record
from headrace.rows import DeleteRow, Equals, Key, Present, PutRow, Row, UpdateRow, Value


def parked_partition(stream: str) -> str:
    """The partition that holds the parked keys of a stream."""
    return f"P#{stream}"


def key_of(stream: str, partition_key: str) -> Key:
    """Where a parked key is. A partition key has at most 1,024 bytes, as a sort key may (Kinesis, DynamoDB quotas)."""
    return Key(parked_partition(stream), partition_key)


def position_of(record: Record) -> str:
    """A letter's name in `last`."""
    return Checkpoint.at(record.sequence_number, record.sub_sequence_number).encode()


def park(stream: str, record: Record, wall_s: float) -> PutRow:
    """A record of the key is about to be buried."""
    row: dict[str, Value] = {"last": position_of(record), "shard": record.shard_id, "since": round(wall_s, 3)}
    return PutRow(key_of(stream, record.partition_key), row)


def follow(stream: str, record: Record) -> UpdateRow:
    """A later record of the key is about to be buried; refused where the key is parked no more."""
    key = key_of(stream, record.partition_key)
    return UpdateRow(key, (Present("pk"),), {"last": position_of(record), "shard": record.shard_id})


def release(stream: str, last: Record) -> DeleteRow:
    """The key's letters were delivered, up to this one; refused where another one followed."""
    return DeleteRow(key_of(stream, last.partition_key), (Equals("last", position_of(last)),))


def parked(rows: Iterable[Row]) -> dict[str, str]:
    """`last` of every parked key."""
    return {str(row["sk"]): str(row["last"]) for row in rows}
