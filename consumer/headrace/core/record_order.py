"""The place of a record among all records of its partition key, as a text that sorts as the records do.

Within a shard sequence numbers grow. From a shard to its children they have always grown too, which AWS does not promise;
so the shard's generation (one more than its parents') stands before them.
"""

from __future__ import annotations

from typing import Final

from headrace.model import Checkpoint, Record, position_text

GENERATION_DIGITS: Final = 6
"""Digits of a generation: a stream can be resharded twice a day for a thousand years."""


def order_of(generation: int, record: Record) -> str:
    """`<6 digits>:<checkpoint form of the record>`; compared byte by byte, greater is newer."""
    position = position_text(record.sequence_number, record.sub_sequence_number)
    return f"{generation:0{GENERATION_DIGITS}d}:{position}"


def order_at(generation: int, position: Checkpoint) -> str:
    """The same for a position."""
    return f"{generation:0{GENERATION_DIGITS}d}:{position.encode()}"


def nth(order: str, number: int) -> str:
    """The order of the write with this number (from 0) among the writes of one record."""
    return f"{order}~{number:04d}" if number else order
