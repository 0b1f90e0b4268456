"""Which records are done with that have, or may have, a dead letter, where effects must not be repeated.

A record's letter and its effects can both come into being: an owner stores the letter and is gone before its checkpoint
passes the record, the next one handles it again and succeeds. So whoever writes the effects of such a record, a redrive
or an owner, writes a row for it in the same transaction, and whoever finds the row writes nothing.

The owner tells which records those are: their positions are in the lease's row before a letter of them is stored.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from headrace.core.leases import Progress, lease_key, owned
from headrace.model import Checkpoint, Record, ShardId, WorkerId
from headrace.rows import Absent, AtMost, Condition, Equals, Key, UpdateRow, Value

KEEP_S: Final = 60 * 86_400.0
"""How long a row outlives its writing: longer than a queue keeps a letter (14 days), and than a stream a record (365 days
are rare, and a checkpoint has long passed the record then)."""


def redriven_key(stream: str, record: Record) -> Key:
    """Where a record's row is."""
    return Key(f"D#{stream}", f"{record.shard_id}#{Checkpoint.of(record).encode()}")


def redrive(stream: str, record: Record, wall_s: float) -> UpdateRow:
    """The record's effects are written, once and for all."""
    told: dict[str, Value] = {"at": round(wall_s, 3), "exp": int(wall_s + KEEP_S)}
    return UpdateRow(redriven_key(stream, record), (Absent("at"),), told)


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
