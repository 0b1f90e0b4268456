"""Finished shards that are to be read again, and what has to follow them.

A shard's records come before those of its children, for every key. So whoever reads a finished shard again reads all that
descends of it again, each after its parents: whatever of them was finished is open again, and what is being read is dropped
and waits. That takes one transaction, which a family of up to MOST shards fits into.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from headrace.model import Lease, ShardId

MOST: Final = 49
"""Two rows for each shard and one for the event: a transaction has 100 members (TransactWriteItems, API reference)."""


def family(leases: Mapping[ShardId, Lease], finished: Iterable[ShardId]) -> dict[ShardId, Lease]:
    """These shards and all that descends of them, as far as they have rows."""
    members: dict[ShardId, Lease] = {}
    frontier = list(finished)
    while frontier:
        shard = frontier.pop()
        if shard not in members and shard in leases:
            members[shard] = leases[shard]
            frontier += [child.shard_id for child in leases.values() if shard in child.parents]
    return dict(sorted(members.items()))


def waits_for(lease: Lease, members: Mapping[ShardId, Lease]) -> frozenset[ShardId]:
    """The parents that have to be finished, once more or for the first time, before a member may be read."""
    return lease.pending | frozenset(parent for parent in lease.parents if parent in members)
