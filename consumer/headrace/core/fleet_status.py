"""What the rows say of the whole fleet: how many shards somebody reads, and how far back those go that nobody reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.core.assignment import Fleet, orphans, participants
from headrace.model import Lease, ShardId


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """What a worker knows of the whole fleet, from the rows that it read last.

    `owned` shards have a living owner, `unowned` ones could be read and have none, `waiting` ones come after parents that
    are not finished, `paused` ones are left alone by an operator's word. `unowned_lag_s` is the age of the oldest record that may wait in an unowned shard, 0 while there is
    none. `workers` counts those that take part. `retention_s` is the stream's; `is_leaving` says that this worker stops.
    """

    owned: int
    unowned: int
    waiting: int
    paused: int
    unowned_lag_s: float
    workers: int
    retention_s: float
    is_leaving: bool


def fleet_status(
    fleet: Fleet, unread_s: Mapping[ShardId, float], *, wall_s: float, retention_s: float, is_leaving: bool
) -> FleetStatus:
    """As this worker sees it. `unread_s` is for how long each orphan has been seen to be one."""
    unowned = orphans(fleet)
    open_leases = [lease for lease in fleet.leases.values() if not lease.done]
    waiting = sum(1 for lease in open_leases if lease.pending)
    readable = sum(1 for lease in open_leases if fleet.is_readable(lease))
    return FleetStatus(
        owned=readable - len(unowned),
        unowned=len(unowned),
        waiting=waiting,
        paused=len(open_leases) - waiting - readable,
        unowned_lag_s=max((_lag_s(lease, unread_s.get(lease.shard_id, 0.0), wall_s) for lease in unowned), default=0.0),
        workers=len(participants(fleet)),
        retention_s=retention_s,
        is_leaving=is_leaving,
    )


def _lag_s(lease: Lease, unread_s: float, wall_s: float) -> float:
    """Since when its records may wait: since all before it was settled, or, never read, since it was seen unowned."""
    return max(0.0, wall_s - lease.up_to_s) if lease.up_to_s > 0 else unread_s
