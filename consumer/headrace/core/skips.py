"""Records that an operator told the fleet to go on without: named in their shard's lease row until they are behind it."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.model import Checkpoint, Record


def is_skipped(record: Record, skips: frozenset[str]) -> bool:
    """Whether a record is named, or the whole aggregate that it came in."""
    whole = Checkpoint.at(record.sequence_number)
    return (
        whole.encode() in skips or Checkpoint.at(record.sequence_number, record.sub_sequence_number).encode() in skips
    )


def still_ahead(skips: Iterable[str], checkpoint: Checkpoint) -> frozenset[str]:
    """Those that the checkpoint has not passed: the others are buried, and need not be named any more."""
    return frozenset(text for text in skips if Checkpoint.decode(text) > checkpoint or _is_open(text, checkpoint))


def _is_open(text: str, checkpoint: Checkpoint) -> bool:
    """A whole aggregate inside of which the checkpoint stands."""
    named = Checkpoint.decode(text)
    same = named.sequence_number == checkpoint.sequence_number
    return same and named.sub_sequence_number < 0 <= checkpoint.sub_sequence_number
