"""The lease protocol as values: every operation with its exact condition.

One table per application. A worker keeps one heartbeat row; a lease row names its owner's incarnation and an epoch, and
is live while that worker's heartbeat moves. What makes it safe is in the conditions here:

- an epoch grows by exactly one at each change of owner, so a write under an old epoch is refused for ever;
- what belongs to a silent worker is taken only after its row was fenced (`membership`);
- a checkpoint moves only forward and only under the current owner and epoch;
- a live lease is passed on by its owner alone, in one write with the final checkpoint and the next epoch;
- the end of a shard and its children's rows are one transaction.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from headrace.core.lease_rows import REQUEST, fresh_row, start_attributes
from headrace.core.lineage import NewLease
from headrace.core.membership import LIVE, worker_key
from headrace.model import (
    SHARD_END,
    AtTimestamp,
    Checkpoint,
    Lease,
    Shard,
    ShardId,
    TrimHorizon,
    WorkerId,
)
from headrace.rows import (
    Absent,
    AtMost,
    Condition,
    DeleteRow,
    Equals,
    Key,
    Present,
    PutRow,
    Request,
    UpdateRow,
    Value,
)

META: Final = "M"
BUCKETS: Final = 16
"""Partitions of a stream's lease rows: 1,000 write units each."""

RATE_MATTERS: Final = 4.0
"""A throughput that fell this many times below the one in the row is worth a write: the planner goes by it."""

UP_TO_MATTERS_S: Final = 3600.0
"""So is a time of day up to which everything was read that is this old: retention is a day at least."""

# --- keys -------------------------------------------------------------------------------------------------------------


def meta_key(stream: str) -> Key:
    """Where the application remembers which stream its leases were made for."""
    return Key(META, stream)


def lease_key(stream: str, shard: ShardId) -> Key:
    """Where a shard's lease row is."""
    return Key(f"L#{stream}#{zlib.crc32(shard.encode()) % BUCKETS}", shard)


def lease_partitions(stream: str) -> list[str]:
    """Every partition that may hold lease rows of a stream."""
    return [f"L#{stream}#{bucket}" for bucket in range(BUCKETS)]


# --- leases -----------------------------------------------------------------------------------------------------------


def claim(stream: str, lease: Lease, me: WorkerId) -> UpdateRow:
    """Own an unowned lease whose parents are finished."""
    conditions: tuple[Condition, ...] = (
        Absent("own"),
        Equals("ep", lease.epoch),
        Absent("pend"),
        Absent("done"),
    )
    return _own(stream, lease, me, conditions)


def take(stream: str, lease: Lease, me: WorkerId) -> UpdateRow:
    """Own a lease of a worker that was seen fenced or gone. Start from the checkpoint in the answer, never from a scan."""
    return _own(stream, lease, me, (*owned(_owner_of(lease), lease.epoch), Absent("done")))


def adopt(stream: str, lease: Lease, me: WorkerId) -> UpdateRow:
    """Own under a new epoch a row that names me: whatever I may still have in flight under the old one is refused."""
    return _own(stream, lease, me, (*owned(me, lease.epoch), Absent("done")))


@dataclass(frozen=True, slots=True)
class Progress:
    """What an owner tells of its shard.

    Everything up to `reached` is settled, and all that arrived before `up_to_s` (epoch seconds); `rate` is the
    throughput in bytes/s. `windows` is what is kept of tumbling windows (`core.windows`), None without them.
    """

    reached: Checkpoint
    up_to_s: float
    rate: float = 0.0
    windows: str | None = None

    @property
    def attributes(self) -> dict[str, Value]:
        """As they stand in the lease's row."""
        return {"ck": self.reached.encode(), "upTo": round(self.up_to_s, 3), "tput": round(self.rate)}

    def is_news_after(self, written: Progress) -> bool:
        """Whether a row that shows `written` is worth bringing up to date."""
        moved = self.reached != written.reached or self.windows != written.windows
        fell = written.rate > RATE_MATTERS * self.rate + 1
        return moved or fell or self.up_to_s - written.up_to_s >= UP_TO_MATTERS_S


def checkpoint(stream: str, shard: ShardId, me: WorkerId, epoch: int, progress: Progress) -> UpdateRow:
    """Move the checkpoint forward, or tell that it still stands."""
    conditions = (*owned(me, epoch), AtMost("ck", progress.reached.encode()), Absent("done"))
    return UpdateRow(lease_key(stream, shard), conditions, progress.attributes)


def release(
    stream: str, shard: ShardId, me: WorkerId, epoch: int, progress: Progress, *, shun: bool = False
) -> UpdateRow:
    """Give the lease up with its final checkpoint. The epoch stays; the next claim adds one.

    With `shun`, others go first: this worker gets nowhere with the shard.
    """
    left = progress.attributes | ({"shun": me} if shun else {})
    conditions = (*owned(me, epoch), AtMost("ck", progress.reached.encode()))
    return UpdateRow(lease_key(stream, shard), conditions, left, remove=("own", "want"))


def ask(stream: str, lease: Lease, me: WorkerId) -> UpdateRow:
    """Say in the lease's row that I want it, in place of the wish that was seen there, if any.

    Void once owner or epoch change; one worker at a time.
    """
    free = Absent("want") if lease.wanted_by is None else Equals("want", lease.wanted_by)
    conditions: tuple[Condition, ...] = (*owned(_owner_of(lease), lease.epoch), Absent("done"), free)
    return UpdateRow(lease_key(stream, lease.shard_id), conditions, {"want": me})


def knock(lease: Lease, me: WorkerId) -> UpdateRow:
    """Leave word in the owner's worker row: its next heartbeat brings it back."""
    return UpdateRow(worker_key(_owner_of(lease)), (Equals("st", LIVE),), {f"{REQUEST}{lease.shard_id}": me})


def withdraw(stream: str, lease: Lease, me: WorkerId) -> UpdateRow:
    """Take a request back that was not answered in time, or one of a worker that is gone."""
    conditions = (Equals("want", me), Equals("ep", lease.epoch))
    return UpdateRow(lease_key(stream, lease.shard_id), conditions, remove=("want",))


def hand_over(stream: str, shard: ShardId, me: WorkerId, epoch: int, progress: Progress, heir: WorkerId) -> UpdateRow:
    """Pass the lease on with its final checkpoint. The term must be over before this is sent.

    Without an answer it is sent again until there is one: a refusal then means that it had applied, or that the lease
    was lost; in neither case may the shard be gone on with under this epoch.
    """
    return UpdateRow(
        lease_key(stream, shard),
        (*owned(me, epoch), AtMost("ck", progress.reached.encode()), Absent("done")),
        {**progress.attributes, "own": heir, "ep": epoch + 1},
        remove=("want", "shun"),
    )


def create(stream: str, new: NewLease, wall_s: float) -> PutRow:
    """The row of a shard that has none."""
    return PutRow(lease_key(stream, new.shard.shard_id), fresh_row(new, wall_s), (Absent("pk"),))


def end_shard(
    stream: str,
    lease: Lease,
    me: WorkerId,
    wall_s: float,
    known_children: Iterable[Shard],
    new_children: Iterable[NewLease],
) -> tuple[Request, ...]:
    """The transaction that finishes a shard: its own row first, then each child's.

    A refused child means that its row came or went meanwhile: read it again and build another transaction.
    """
    known, new = tuple(known_children), tuple(new_children)
    children = frozenset([s.shard_id for s in known] + [n.shard.shard_id for n in new])
    done: dict[str, Value] = {"ck": SHARD_END.encode(), "done": True, "doneAt": round(wall_s, 3)}
    if children:
        done["kids"] = frozenset(children)
    parent = UpdateRow(
        lease_key(stream, lease.shard_id),
        (*owned(me, lease.epoch), Absent("done")),
        done,
        remove=("own", "want", "paused", "skip"),
    )
    started = [
        UpdateRow(lease_key(stream, s.shard_id), (Present("pk"),), discard={"pend": frozenset({lease.shard_id})})
        for s in known
    ]
    return (parent, *started, *(create(stream, n, wall_s) for n in new))


def end_token(stream: str, requests: tuple[Request, ...]) -> str:
    """A token (at most 36 characters) that is the same for the same transaction and differs for any other."""
    return hashlib.sha256(f"{stream}|{requests!r}".encode()).hexdigest()[:36]


def forget(stream: str, lease: Lease) -> DeleteRow:
    """Delete a finished lease as it was seen."""
    return DeleteRow(lease_key(stream, lease.shard_id), (Equals("done", value=True), Equals("ep", lease.epoch)))


def _own(stream: str, lease: Lease, me: WorkerId, conditions: tuple[Condition, ...]) -> UpdateRow:
    taken: dict[str, Value] = {"own": me, "ep": lease.epoch + 1}
    unless_paused = (*conditions, Absent("paused"))
    return UpdateRow(lease_key(stream, lease.shard_id), unless_paused, taken, remove=("want", "shun"))


def owned(owner: WorkerId, epoch: int) -> tuple[Condition, ...]:
    """It is this owner's, under this epoch."""
    return Equals("own", owner), Equals("ep", epoch)


def _owner_of(lease: Lease) -> WorkerId:
    if lease.owner is None:
        raise ValueError(f"{lease.shard_id} has no owner to take it from")
    return lease.owner


# --- the stream's meta row --------------------------------------------------------------------------------------------


def remember_stream(stream: str, arn: str, created: datetime, start: TrimHorizon | AtTimestamp) -> PutRow:
    """Tie the application's leases to this stream, by its creation time, and fix where it starts."""
    row: dict[str, Value] = {"arn": arn, "created": created.isoformat(), "schema": 1, **start_attributes(start)}
    return PutRow(meta_key(stream), row, (Absent("pk"),))


def replace_stream(stream: str, arn: str, was: datetime, created: datetime) -> UpdateRow:
    """Go on with another stream of the same name, from its beginning; the old one's lease rows are left behind."""
    told: dict[str, Value] = {"arn": arn, "created": created.isoformat(), "label": f"{stream}@{created.isoformat()}"}
    return UpdateRow(meta_key(stream), (Equals("created", was.isoformat()),), told, remove=("ready", "at"))


def note_bootstrap(stream: str) -> UpdateRow:
    """Every shard that the stream had at the application's first start has its row."""
    return UpdateRow(meta_key(stream), (Present("pk"),), {"ready": True})
