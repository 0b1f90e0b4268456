"""Who should own which lease: one pure plan that every worker computes over the same rows.

Nobody leads. A worker acts only on what the plan gives to itself, so views that differ cost refused writes and never
safety. A lease of a living owner stays where it is; orphans (unowned, or of a worker that is fenced, left or gone) go to
the worker with the fewest leases, ties broken by rendezvous hashing so that all views break them alike.

Loads are evened out by asking: the worker with the least load asks the owner of a lease for it, one at a time, and only
while the fleet is calm and the move is worth it. A lease weighs what it carries (bytes/s), and no less than a tenth of
the mean, so that idle shards are shared out too.

Silence is judged by the observer's own clock: a worker is silent when its counter has stood still since the observer
received the first read that showed it, for the lease duration, with the observer able to see all that time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from headrace.core.leases import LIVE, is_alive
from headrace.model import Instant, Lease, ShardId, Worker, WorkerId

UNEVEN: Final = 1.15
"""A load this many times above the mean, or below it, is worth a move: beyond what noise does."""

EXACT: Final = 1 + 1e-9
"""Sums of floats may miss a half by a hair."""

LIGHTEST: Final = 0.10
"""Of the mean: what an idle lease weighs."""

FAMILIAR: Final = 3
"""Heartbeats of a worker before loads are evened out with it: it may have started a moment ago, or crash at once."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A heartbeat counter, and when the first read that showed it was received."""

    counter: int
    since: Instant


@dataclass(frozen=True, slots=True)
class Watch:
    """What an observer remembers between two reads of the worker rows."""

    sightings: Mapping[WorkerId, Sighting]
    last_read: Instant | None = None

    def observe(self, workers: Iterable[Worker], received: Instant, longest_gap_s: float) -> Watch:
        """Take in one read of the worker rows.

        A counter lower than the one known comes from a stale replica and is ignored. Where the reads themselves paused
        for more than `longest_gap_s`, every anchor starts anew: an outage of the table is not the silence of a worker.
        """
        blind = self.last_read is None or received - self.last_read > longest_gap_s
        seen: dict[WorkerId, Sighting] = {}
        for worker in workers:
            known = self.sightings.get(worker.worker_id)
            if known is None or worker.heartbeat > known.counter:
                seen[worker.worker_id] = Sighting(worker.heartbeat, received)
            else:
                seen[worker.worker_id] = Sighting(known.counter, received) if blind else known
        return Watch(seen, received)

    def silent(
        self, workers: Iterable[Worker], now: Instant, duration_s: float, longest_gap_s: float
    ) -> dict[WorkerId, int]:
        """The workers that could still heartbeat and have not for the lease duration, with the last counter of each.

        Nobody is silent to an observer whose own last read is longer ago than `longest_gap_s`.
        """
        if self.last_read is None or now - self.last_read > longest_gap_s:
            return {}
        known = ((w.worker_id, self.sightings[w.worker_id]) for w in workers if is_alive(w))
        return {worker: seen.counter for worker, seen in known if now - seen.since >= duration_s}

    def next_silence(self, workers: Iterable[Worker], duration_s: float) -> Instant | None:
        """When the first of the living would have been silent long enough; None without any."""
        anchors = [self.sightings[w.worker_id].since for w in workers if is_alive(w)]
        return Instant(min(anchors) + duration_s) if anchors else None


@dataclass(frozen=True, slots=True)
class Fence:
    """Declare a silent worker dead, at the counter that was seen."""

    worker: WorkerId
    counter: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """An owner has no worker row: make a dead one for it before its leases are touched."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Claim:
    """Own an unowned lease."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Take:
    """Own a lease of a dead worker."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Adopt:
    """A row names me and I do not hold it: own it under a new epoch."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a living owner to hand a lease over."""

    lease: Lease


Action: TypeAlias = Fence | Tombstone | Claim | Take | Adopt | Ask


@dataclass(frozen=True, slots=True)
class Fleet:
    """What one worker knows when it plans.

    `held` are the leases in its hands, or asked for; `overdue` the orphans that their planned owner did not take in
    time; `silent` the workers not heard of for the lease duration, with the last counter seen of each. `calm` means that
    nobody came or went lately, so that loads are worth evening out. `maximum` is the most leases this worker may hold.
    """

    me: WorkerId
    workers: Mapping[WorkerId, Worker]
    leases: Mapping[ShardId, Lease]
    held: frozenset[ShardId] = frozenset()
    overdue: frozenset[ShardId] = frozenset()
    silent: Mapping[WorkerId, int] = field(default_factory=dict)
    calm: bool = False
    maximum: int | None = None


def plan(fleet: Fleet) -> list[Action]:
    """What this worker should do now: dead peers are fenced first, then the leases that fall to it."""
    return [*_fences(fleet), *_acquisitions(fleet), *_requests(fleet)]


def orphans(fleet: Fleet) -> list[Lease]:
    """Leases that may be read and that no living worker owns, in an order all workers share."""
    startable = (lease for lease in fleet.leases.values() if not lease.done and not lease.pending)
    return sorted((lease for lease in startable if _orphaned(lease, fleet)), key=lambda lease: lease.shard_id)


def shares(fleet: Fleet) -> dict[ShardId, WorkerId]:
    """The owner that each orphan should get, the same in every view of the same rows."""
    candidates = [w.worker_id for w in fleet.workers.values() if _takes_part(w, fleet)]
    if not candidates:
        return {}
    load = Counter(lease.owner for lease in fleet.leases.values() if lease.owner is not None and not lease.done)
    given: dict[ShardId, WorkerId] = {}
    for lease in orphans(fleet):
        chosen = min(candidates, key=lambda worker: (load[worker], _rendezvous(lease.shard_id, worker)))
        given[lease.shard_id] = chosen
        load[chosen] += 1
    return given


def _fences(fleet: Fleet) -> list[Action]:
    fences: list[Action] = [Fence(w, counter) for w, counter in sorted(fleet.silent.items()) if w != fleet.me]
    owners = {lease.owner for lease in fleet.leases.values() if lease.owner is not None and not lease.done}
    return [*fences, *(Tombstone(owner) for owner in sorted(owners - fleet.workers.keys() - {fleet.me}))]


def _acquisitions(fleet: Fleet) -> list[Action]:
    actions: list[Action] = [
        Adopt(lease)
        for lease in fleet.leases.values()
        if lease.owner == fleet.me and lease.shard_id not in fleet.held and not lease.done
    ]
    given = shares(fleet)
    mine = [o for o in orphans(fleet) if given.get(o.shard_id) == fleet.me or o.shard_id in fleet.overdue]
    room = None if fleet.maximum is None else max(0, fleet.maximum - len(fleet.held) - len(actions))
    return [*actions, *(Claim(lease) if lease.owner is None else Take(lease) for lease in mine[:room])]


def _requests(fleet: Fleet) -> list[Action]:
    """At most one: the heaviest lease of the most loaded worker that does not turn the tables, if I carry the least.

    A lease that weighs more than half the gap would make the receiver the more loaded of the two, and come back.
    """
    if not fleet.calm or (fleet.maximum is not None and len(fleet.held) >= fleet.maximum):
        return []
    loads = _loads(fleet)
    if fleet.me not in loads or len(loads) < 2:
        return []
    busiest, idlest = max(loads, key=lambda w: (loads[w], w)), min(loads, key=lambda w: (loads[w], w))
    mean = sum(loads.values()) / len(loads)
    if idlest != fleet.me or not (loads[busiest] > mean * UNEVEN or loads[idlest] < mean / UNEVEN):
        return []
    weights, most = _weights(fleet), (loads[busiest] - loads[idlest]) / 2 * EXACT
    offered = [x for x in fleet.leases.values() if x.owner == busiest and not x.done and not _is_wanted(x, fleet)]
    fitting = [x for x in offered if weights[x.shard_id] <= most]
    return [Ask(max(fitting, key=lambda x: (weights[x.shard_id], x.shard_id)))] if fitting else []


def _is_wanted(lease: Lease, fleet: Fleet) -> bool:
    """Whether a worker that may still get it has asked for it."""
    wisher = None if lease.wanted_by is None else fleet.workers.get(lease.wanted_by)
    return wisher is not None and _takes_part(wisher, fleet)


def _weights(fleet: Fleet) -> dict[ShardId, float]:
    """What each lease that is or may be read carries; one that was never measured carries the mean."""
    read = [x for x in fleet.leases.values() if not x.done and not x.pending]
    known = [x.throughput for x in read if x.throughput > 0]
    mean = sum(known) / len(known) if known else 1.0
    return {x.shard_id: max(x.throughput, mean * LIGHTEST) if x.epoch > 1 or x.throughput else mean for x in read}


def _loads(fleet: Fleet) -> dict[WorkerId, float]:
    """The load of each worker that takes part and has been seen for a while."""
    loads = {w.worker_id: 0.0 for w in fleet.workers.values() if _takes_part(w, fleet) and w.heartbeat >= FAMILIAR}
    weights = _weights(fleet)
    for lease in fleet.leases.values():
        if lease.owner in loads:
            loads[lease.owner] += weights.get(lease.shard_id, 0.0)
    return loads


def _orphaned(lease: Lease, fleet: Fleet) -> bool:
    if lease.owner is None:
        return True
    owner = fleet.workers.get(lease.owner)
    return owner is not None and not is_alive(owner)


def _takes_part(worker: Worker, fleet: Fleet) -> bool:
    return worker.state == LIVE and worker.worker_id not in fleet.silent


def _rendezvous(shard: ShardId, worker: WorkerId) -> bytes:
    return hashlib.blake2b(f"{shard}|{worker}".encode(), digest_size=8).digest()
