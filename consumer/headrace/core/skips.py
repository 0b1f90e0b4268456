"""Records that an operator told the fleet to go on without: named in their shard's lease row until they are behind it."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.model import Checkpoint, Record


def is_skipped(record: Record, skips: frozenset[str]) -> bool:
    """Whether a record is named, or the whole aggregate that it came in."""
    whole = Checkpoint.at(record.sequence_number)
    return whole.encode() in skips or Checkpoint.of(record).encode() in skips


def still_ahead(skips: Iterable[str], checkpoint: Checkpoint) -> frozenset[str]:
    """Those that the checkpoint has not passed: the others are buried, and need not be named any more."""
    return frozenset(text for text in skips if is_ahead(Checkpoint.decode(text), checkpoint))


def is_ahead(named: Checkpoint, checkpoint: Checkpoint) -> bool:
    """Whether something of what is named is not behind the checkpoint, which may stand inside of a whole aggregate."""
    same = named.sequence_number == checkpoint.sequence_number
    return named > checkpoint or (same and named.sub_sequence_number < 0 <= checkpoint.sub_sequence_number)
