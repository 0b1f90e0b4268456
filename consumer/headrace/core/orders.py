"""What a worker has to let go of because the rows say so, whatever it would plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from headrace.core.assignment import Fleet
from headrace.model import ShardId


@dataclass(frozen=True, slots=True)
class Drop:
    """A lease in this worker's hands is no longer: its row shows a later epoch than the one it is held under."""

    shard: ShardId
    epoch: int


@dataclass(frozen=True, slots=True)
class Rest:
    """Give a lease up in peace: an operator paused the shard or the fleet, or wants this worker empty."""

    shard: ShardId
    epoch: int


Order: TypeAlias = Drop | Rest


def orders(fleet: Fleet) -> list[Order]:
    """One for each lease that cannot stay. Rows may be stale: an epoch that is seen was there, and none ever goes back."""
    found: list[Order] = []
    for shard, epoch in fleet.epochs.items():
        lease = fleet.leases.get(shard)
        if lease is None:
            continue
        if lease.epoch > epoch:
            found.append(Drop(shard, epoch))
        elif fleet.rests(lease) or fleet.is_drained:
            found.append(Rest(shard, epoch))
    return found
