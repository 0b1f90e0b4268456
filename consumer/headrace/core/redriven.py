"""Which records are done with that have, or may have, a dead letter, where effects must not be repeated.

A record's letter and its effects can both come into being: an owner stores the letter and is gone before its checkpoint
passes the record, the next one handles it again and succeeds. So whoever writes the effects of such a record, a redrive
or an owner, writes a row for it in the same transaction, and whoever finds the row writes nothing.

The owner tells which records those are: their positions are in the lease's row before a letter of them is stored.

Where an operator has the shard read again (`operator_rows.seek`), effects take place once more. So a row stands for one
reading of the shard, and a letter tells of which one it is: `replay`, the first epoch of that reading, 0 for the first. A
letter of an earlier reading is not redriven where the record is read again: `fate_of`. That reading writes it, or buries it
anew.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, assert_never

from headrace.core.leases import Progress, lease_key, owned
from headrace.model import (
    SHARD_END,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    DeadLetter,
    Lease,
    Record,
    ShardId,
    ShardStart,
    TrimHorizon,
    WorkerId,
)
from headrace.rows import Absent, AtMost, Condition, Equals, Key, UpdateRow, Value

KEEP_S: Final = 60 * 86_400.0
"""How long a row outlives its writing: longer than a queue keeps a letter (14 days), and than a stream a record (365 days
are rare, and a checkpoint has long passed the record then)."""


def redriven_key(stream: str, record: Record, replay: int) -> Key:
    """Where a record's row is, of this reading of its shard."""
    reading = f"#{replay}" if replay else ""
    return Key(f"D#{stream}", f"{record.shard_id}#{Checkpoint.of(record).encode()}{reading}")


def redrive(stream: str, record: Record, replay: int, wall_s: float) -> UpdateRow:
    """The record's effects are written, once and for all."""
    told: dict[str, Value] = {"at": round(wall_s, 3), "exp": int(wall_s + KEEP_S)}
    return UpdateRow(redriven_key(stream, record, replay), (Absent("at"),), told)


class Fate(Enum):
    """What is to become of a letter that somebody redrives."""

    DUE = auto()
    """Its effects are to be written."""
    LATER = auto()
    """Its shard is being read again, and has not come to the record yet."""
    SETTLED = auto()
    """It was read again: its effects are written, or there is another letter."""


def fate_of(letter: DeadLetter, lease: Lease) -> Fate:
    """By the lease of its shard. Of an earlier reading than the last one before this one, it tells nothing."""
    if lease.replay <= letter.replay:
        return Fate.DUE
    place = Checkpoint.of(letter.record)
    if lease.first_read is None:
        is_missed = lease.checkpoint == SHARD_END or _is_before(letter.record, lease.start)
        return Fate.DUE if is_missed else Fate.LATER
    if place < lease.first_read:
        return Fate.DUE
    return Fate.SETTLED if place <= lease.checkpoint else Fate.LATER


def _is_before(record: Record, start: ShardStart) -> bool:
    """Whether a reading that begins there certainly does not meet the record."""
    match start:
        case TrimHorizon():
            return False
        case AtTimestamp(instant):
            return record.arrival < instant
        case AtSequence(number):
            return record.sequence_number < number
        case _:
            assert_never(start)


def note_first(stream: str, shard: ShardId, me: WorkerId, epoch: int, first: Checkpoint) -> UpdateRow:
    """Tell with which record the shard is read again, before the checkpoint moves.

    SHARD_END says that the stream had none up to its tip: whatever had a letter before is not met. The first record that
    comes after all takes its place.
    """
    told: dict[str, Value] = {"first": first.encode()}
    return UpdateRow(lease_key(stream, shard), (*owned(me, epoch), Absent("done")), told)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a shard is, as its owner knows the lease's row: all up to `before` is settled, and letters of `dead` may be stored."""

    stream: str
    shard: ShardId
    me: WorkerId
    epoch: int
    before: Checkpoint
    dead: frozenset[Checkpoint]

    def advance(self, progress: Progress) -> UpdateRow:
        """Move the checkpoint together with what it stands for, in one transaction.

        Refused to an earlier try that comes late: where the checkpoint is beyond `before`, or other letters were announced.
        """
        left = _texts({position for position in self.dead if position > progress.reached})
        told: dict[str, Value] = {**progress.attributes, **({"dead": left} if left else {})}
        return UpdateRow(lease_key(self.stream, self.shard), self._conditions, told, remove=() if left else ("dead",))

    def announce(self, dead: frozenset[Checkpoint]) -> UpdateRow:
        """Letters of these positions, and of no others, may be stored from now on. Repeated, it changes nothing."""
        told: dict[str, Value] = {"ck": self.before.encode(), "dead": _texts(dead)}
        conditions = (*owned(self.me, self.epoch), AtMost("ck", self.before.encode()), Absent("done"))
        return UpdateRow(lease_key(self.stream, self.shard), conditions, told)

    @property
    def _conditions(self) -> tuple[Condition, ...]:
        known = Equals("dead", _texts(self.dead)) if self.dead else Absent("dead")
        return (*owned(self.me, self.epoch), AtMost("ck", self.before.encode()), known, Absent("done"))


def _texts(positions: AbstractSet[Checkpoint]) -> frozenset[str]:
    return frozenset(position.encode() for position in positions)
