"""Membership of the fleet as values: every operation on a worker's heartbeat row, with its exact condition.

A worker keeps one row; it lives while the row's counter moves. An observer that has not seen it move for long enough
fences the row at the counter it saw: one more heartbeat in between refuses the fence, and after the fence no heartbeat
is accepted. A row that is absent is not a dead worker: it is tombstoned first, so that a late registration is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from headrace.core.lease_rows import REQUEST, fresh_worker
from headrace.model import ShardId, WorkerId, WorkerRow
from headrace.rows import Absent, Equals, Key, OneOf, PutRow, UpdateRow, Value

WORKERS: Final = "W"
"""Partition of all worker rows: one query reads the fleet (100 rows are about 16 KB)."""

LIVE: Final = "live"
LEAVING: Final = "leaving"
FENCED: Final = "fenced"
LEFT: Final = "left"
ALIVE: Final = (LIVE, LEAVING)
"""States in which a heartbeat is accepted."""

KEEP_DEAD_WORKERS_S: Final = 7 * 24 * 3600
"""DynamoDB's TTL removes the row of a worker that left or was fenced after a week."""


def worker_key(worker: WorkerId) -> Key:
    """Where a worker's heartbeat row is."""
    return Key(WORKERS, worker)


def register(worker: WorkerRow) -> PutRow:
    """Bring a new incarnation to life. Refused with counter 1 and a living state: an earlier try of this one applied."""
    row = fresh_worker(replace(worker, heartbeat=1, state=LIVE))
    return PutRow(worker_key(worker.worker_id), row, (Absent("pk"),))


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a heartbeat tells the others, and which requests it clears because they were `heard`."""

    state: str
    held: int = 0
    generation: int = 0
    stalled: int = 0
    heard: frozenset[ShardId] = frozenset()


def heartbeat(worker: WorkerId, seen: int, vitals: Vitals) -> UpdateRow:
    """Count on from `seen`.

    Refused with counter `seen + 1` and a living state: an earlier try of this one applied. The row in the answer shows
    which shards others ask for (`asked_for`).
    """
    told: dict[str, Value] = {
        "st": vitals.state,
        "held": vitals.held,
        "gen": vitals.generation,
        "stalled": vitals.stalled,
    }
    return UpdateRow(
        worker_key(worker),
        (Equals("hb", seen), OneOf("st", ALIVE)),
        {"hb": seen + 1, **told},
        remove=tuple(f"{REQUEST}{shard}" for shard in sorted(vitals.heard)),
    )


def announce_leave(worker: WorkerId) -> UpdateRow:
    """Tell the others, without waiting for the next heartbeat, that this worker takes nothing more."""
    return UpdateRow(worker_key(worker), (OneOf("st", ALIVE),), {"st": LEAVING})


def fence(worker: WorkerId, seen: int, wall_s: float) -> UpdateRow:
    """Declare a worker dead that was not heard of since counter `seen`."""
    return UpdateRow(
        worker_key(worker),
        (Equals("hb", seen), OneOf("st", ALIVE)),
        {"st": FENCED, "exp": int(wall_s) + KEEP_DEAD_WORKERS_S},
    )


def tombstone(worker: WorkerId, wall_s: float) -> PutRow:
    """Make a fenced row for an owner that has none, so that it cannot come to life later."""
    row: dict[str, Value] = {"hb": 0, "st": FENCED, "exp": int(wall_s) + KEEP_DEAD_WORKERS_S}
    return PutRow(worker_key(worker), row, (Absent("pk"),))


def leave(worker: WorkerId, wall_s: float) -> UpdateRow:
    """Say goodbye after every lease was released."""
    return UpdateRow(
        worker_key(worker),
        (OneOf("st", ALIVE),),
        {"st": LEFT, "held": 0, "exp": int(wall_s) + KEEP_DEAD_WORKERS_S},
    )


def is_alive(worker: WorkerRow) -> bool:
    """Whether the row's state lets its heartbeats be accepted."""
    return worker.state in ALIVE
