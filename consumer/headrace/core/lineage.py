"""The shard graph: which leases to create for the shards that a stream lists, and when one may be forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from headrace.model import AtTimestamp, Lease, Shard, ShardId, TrimHorizon


@dataclass(frozen=True, slots=True)
class NewLease:
    """A lease row to make: `pending` are those parents that must be finished first.

    `generation` is one more than the greatest of its parents', 0 for a shard without parents.
    """

    shard: Shard
    pending: frozenset[ShardId]
    start: TrimHorizon | AtTimestamp
    generation: int = 0


def missing_leases(
    shards: Iterable[Shard],
    leases: Mapping[ShardId, Lease],
    start: TrimHorizon | AtTimestamp,
) -> list[NewLease]:
    """The leases that listed shards lack, parents before children.

    A shard with a descendant's row has been finished and its row deleted: it never comes back. A parent that is
    neither listed nor leased has been trimmed away: nobody waits for it. `start` applies to what the application finds
    at its first start; children that appear later begin at their beginning, which is where TrimHorizon puts them.
    """
    listed = {shard.shard_id: shard for shard in shards}
    finished_long_ago = _with_descendant_rows(listed, leases)
    missing = [s for s in listed.values() if s.shard_id not in leases and s.shard_id not in finished_long_ago]
    depths = _depths(listed)
    ordered = sorted(missing, key=lambda s: (depths[s.shard_id], s.shard_id))
    coming = {s.shard_id for s in ordered}
    return [
        NewLease(shard, _unfinished(shard.parents, leases, coming), start, generation_of(shard, listed, leases))
        for shard in ordered
    ]


def doubtful(shards: Iterable[Shard], leases: Mapping[ShardId, Lease]) -> frozenset[ShardId]:
    """Listed parents of shards without a row that have a descendant's row and none of their own.

    Either they were finished long ago, or their rows were made while those of others were read, which is no snapshot.
    """
    listed = {shard.shard_id: shard for shard in shards}
    parents = {p for s in listed.values() if s.shard_id not in leases for p in s.parents if p in listed}
    return frozenset((parents & _with_descendant_rows(listed, leases)) - leases.keys())


def generations(ordered: Iterable[NewLease]) -> list[list[NewLease]]:
    """Leases in the order of `missing_leases`, in groups none of which holds both a shard and its parent."""
    groups: list[list[NewLease]] = [[]]
    together: set[ShardId] = set()
    for new in ordered:
        if not together.isdisjoint(new.shard.parents):
            groups.append([])
            together.clear()
        groups[-1].append(new)
        together.add(new.shard.shard_id)
    return groups


def generation_of(shard: Shard, listed: Mapping[ShardId, Shard], leases: Mapping[ShardId, Lease]) -> int:
    """One more than the greatest generation of its parents: their rows tell theirs, else their own parents do.

    What is known of a parent that is neither leased nor listed is that there was one: it counts as generation 0.
    """
    greatest, generation = 0, 0
    frontier = dict.fromkeys(shard.parents)
    while frontier:
        generation += 1
        greatest = max(generation, greatest, *(generation + leases[p].generation for p in frontier if p in leases))
        unknown = [listed[p] for p in frontier if p in listed and p not in leases]
        frontier = dict.fromkeys(parent for one in unknown for parent in one.parents)
    return greatest


def _unfinished(
    parents: Iterable[ShardId], leases: Mapping[ShardId, Lease], coming: set[ShardId]
) -> frozenset[ShardId]:
    return frozenset(p for p in parents if p in coming or (p in leases and not leases[p].done))


def _with_descendant_rows(listed: Mapping[ShardId, Shard], leases: Mapping[ShardId, Lease]) -> set[ShardId]:
    known: set[ShardId] = set()
    frontier = [parent for lease in leases.values() for parent in lease.parents]
    while frontier:
        ancestor = frontier.pop()
        if ancestor in known:
            continue
        known.add(ancestor)
        if ancestor in listed:
            frontier.extend(listed[ancestor].parents)
    return known


def _depths(listed: Mapping[ShardId, Shard]) -> dict[ShardId, int]:
    """How many generations of listed ancestors each shard has, at the most."""
    parents = {shard: [p for p in one.parents if p in listed] for shard, one in listed.items()}
    depths: dict[ShardId, int] = {}
    for shard in TopologicalSorter(parents).static_order():
        depths[shard] = max((depths[parent] + 1 for parent in parents[shard]), default=0)
    return depths


def shard_of(lease: Lease) -> Shard:
    """A shard as its lease's row remembers it: the stream may list it no longer."""
    return Shard(lease.shard_id, lease.parents, lease.first_hash_key, lease.last_hash_key)


def child_pending(child: Shard, finished: ShardId, others: Mapping[ShardId, Lease]) -> frozenset[ShardId]:
    """The parents a child still waits for once `finished` is done, when the child has no row yet.

    `others` are the rows of its other parents as just read. Discovery runs before this is asked, so a parent without a
    row has been trimmed away (or was finished so long ago that the child would have a row).
    """
    return frozenset(p for p in child.parents if p != finished and p in others and not others[p].done)


def may_forget(lease: Lease, leases: Mapping[ShardId, Lease], *, listed: bool, age_s: float) -> bool:
    """Whether a finished lease's row may be deleted.

    Every child must have been started or finished, or it could be made anew and read twice; and the shard must be
    listed no longer, or be finished for a day, so that no delayed write can bring the row back. A shard of which no
    child was ever seen waits for both.
    """
    if not lease.done:
        return False
    if not lease.children:
        return not listed and age_s > FORGET_AFTER_S
    rows = [leases.get(child) for child in lease.children]
    if any(row is None or not (row.done or row.epoch > 0) for row in rows):
        return False
    return not listed or age_s > FORGET_AFTER_S


FORGET_AFTER_S = 24 * 3600.0
"""No request stays in a network for a day."""
