"""Who should own which lease: one pure plan that every worker computes over the same rows.

Nobody leads. A worker acts only on what the plan gives to itself, so views that differ cost refused writes and never
safety. A lease of a living owner stays where it is; orphans (unowned, or of a worker that is fenced, left or gone) go,
heaviest first, to the worker with the least load, ties broken by rendezvous hashing so that all views break them alike.
While two rollouts run side by side the workers of the one that began last come first, up to their fair share and as much
more as is not worth evening out: what they take need not move again when the others stop.

Loads are evened out by asking: the workers with the least load ask those with the most for a lease, one each at a time,
and only while the fleet is calm and the move is worth it. A lease weighs what it carries (bytes/s), and no less than a
tenth of the mean, so that idle shards are shared out too.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from headrace.core.membership import LIVE, is_alive
from headrace.model import Lease, ShardId, WorkerId, WorkerRow

UNEVEN: Final = 1.15
"""A load this many times above the mean, or below it, is worth a move: beyond what noise does."""

EXACT: Final = 1 + 1e-9
"""Sums of floats may miss a half by a hair."""

ALIKE: Final = 0.5
"""Leases that weigh at least this much of the heaviest: with a record or two a second, noise makes as much of a difference."""

LIGHTEST: Final = 0.10
"""Of the mean: what an idle lease weighs."""

MOVING: Final = 0.02
"""Of all leases: how many may be asked for at a time, one at least. More would be a stir of its own."""

FAMILIAR: Final = 3
"""Heartbeats of a worker before loads are evened out with it: it may have started a moment ago, or crash at once."""


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
    nobody came or went lately, so that loads are worth evening out. `epochs` are those under which this worker holds
    leases; `paused` tells that an operator paused the whole application.
    """

    me: WorkerId
    workers: Mapping[WorkerId, WorkerRow]
    leases: Mapping[ShardId, Lease]
    held: frozenset[ShardId] = frozenset()
    overdue: frozenset[ShardId] = frozenset()
    silent: Mapping[WorkerId, int] = field(default_factory=dict)
    calm: bool = False
    epochs: Mapping[ShardId, int] = field(default_factory=dict)
    paused: bool = False

    @property
    def is_drained(self) -> bool:
        """Whether an operator wants this worker to hold nothing."""
        me = self.workers.get(self.me)
        return me is not None and me.drained_by is not None

    def rests(self, lease: Lease) -> bool:
        """Whether an operator wants nobody to read it."""
        return self.paused or lease.paused_by is not None

    def is_readable(self, lease: Lease) -> bool:
        """Whether somebody should read it. One that waits for its parents may name an owner: they were opened again."""
        return not (lease.done or lease.pending or self.rests(lease))


def plan(fleet: Fleet) -> list[Action]:
    """What this worker should do now: dead peers are fenced first, then the leases that fall to it."""
    return [*_fences(fleet), *_acquisitions(fleet), *_requests(fleet)]


def orphans(fleet: Fleet) -> list[Lease]:
    """Leases that may be read and that no living worker owns, in an order all workers share."""
    startable = (x for x in fleet.leases.values() if fleet.is_readable(x))
    return sorted((lease for lease in startable if _orphaned(lease, fleet)), key=lambda lease: lease.shard_id)


def participants(fleet: Fleet) -> list[WorkerId]:
    """The workers that may own leases: alive, staying, and not silent for too long."""
    return [worker for worker, row in fleet.workers.items() if _takes_part(row, fleet)]


def shares(fleet: Fleet) -> dict[ShardId, WorkerId]:
    """The owner that each orphan should get, the same in every view of the same rows."""
    candidates = {w.worker_id: w for w in fleet.workers.values() if _takes_part(w, fleet)}
    weights, given = _weights(fleet), dict[ShardId, WorkerId]()
    load, held = dict.fromkeys(candidates, 0.0), Counter[WorkerId]()
    for lease in sorted(fleet.leases.values(), key=lambda lease: lease.shard_id):
        if lease.owner in candidates and not lease.done:
            load[lease.owner] += weights.get(lease.shard_id, 0.0)
            held[lease.owner] += 1
    fair = sum(weights.values()) / len(candidates) / EXACT if candidates else 0.0
    newest = _newest_rollout(candidates.values())
    for lease in sorted(orphans(fleet), key=lambda lease: (-weights[lease.shard_id], lease.shard_id)):
        able = {w for w, row in candidates.items() if row.maximum is None or held[w] < row.maximum}
        first = (able - {lease.shunned_by}) or able
        weight = weights[lease.shard_id]
        with_room = {w for w in newest & first if load[w] < fair or load[w] + weight <= fair * UNEVEN}
        chosen = _least_loaded(with_room or first, load, lease.shard_id)
        if chosen is not None:
            given[lease.shard_id] = chosen
            load[chosen] += weight
            held[chosen] += 1
    return given


def _least_loaded(workers: Iterable[WorkerId], load: Mapping[WorkerId, float], shard: ShardId) -> WorkerId | None:
    return min(workers, key=lambda worker: (load[worker], _rendezvous(shard, worker)), default=None)


def _newest_rollout(workers: Iterable[WorkerRow]) -> set[WorkerId]:
    """The workers of the rollout whose first worker began last; a restart of an old one does not make it newer."""
    began: dict[str, float] = {}
    rollouts: dict[str, set[WorkerId]] = {}
    for worker in workers:
        began[worker.deployment] = min(began.get(worker.deployment, worker.began_s), worker.began_s)
        rollouts.setdefault(worker.deployment, set()).add(worker.worker_id)
    return rollouts[max(began, key=lambda name: (began[name], name))] if began else set()


def _fences(fleet: Fleet) -> list[Action]:
    fences: list[Action] = [Fence(w, counter) for w, counter in sorted(fleet.silent.items()) if w != fleet.me]
    owners = {lease.owner for lease in fleet.leases.values() if lease.owner is not None and not lease.done}
    return [*fences, *(Tombstone(owner) for owner in sorted(owners - fleet.workers.keys() - {fleet.me}))]


def _acquisitions(fleet: Fleet) -> list[Action]:
    actions: list[Action] = [
        Adopt(lease)
        for lease in fleet.leases.values()
        if lease.owner == fleet.me and lease.shard_id not in fleet.held and fleet.is_readable(lease)
    ]
    given = shares(fleet)
    mine = [o for o in orphans(fleet) if given.get(o.shard_id) == fleet.me or _may_help_out(o, fleet)]
    return [
        *actions,
        *(Claim(lease) if lease.owner is None else Take(lease) for lease in mine[: _room(fleet, actions)]),
    ]


def _may_help_out(lease: Lease, fleet: Fleet) -> bool:
    """Whether this worker may take an orphan that its planned owner did not take in time."""
    return lease.shard_id in fleet.overdue and fleet.me != lease.shunned_by


def _room(fleet: Fleet, adopted: list[Action]) -> int | None:
    """How many more leases this worker may hold; None for any number."""
    if fleet.is_drained:
        return 0
    me = fleet.workers.get(fleet.me)
    if me is None or me.maximum is None:
        return None
    return max(0, me.maximum - len(fleet.held) - len(adopted))


def _requests(fleet: Fleet) -> list[Action]:
    """At most one: the heaviest lease of the worker that I am paired with that does not turn the tables.

    Of those that weigh about as much, the one that changed hands least: a rollout must not move the same again and again.
    The worker with the least load is paired with the one with the most, the second with the second, and so on. A lease
    that weighs more than half the gap would make the receiver the more loaded of the two, and come back. Only the one
    with the least load may come to carry more than the mean: whatever the others took beyond it, they would not need.
    """
    if not fleet.calm or _room(fleet, []) == 0:
        return []
    loads = _loads(fleet)
    partner = _partners(loads, max(1, int(MOVING * len(fleet.leases)))).get(fleet.me)
    if partner is None:
        return []
    weights, most = _weights(fleet), (loads[partner] - loads[fleet.me]) / 2 * EXACT
    if loads[fleet.me] > min(loads.values()):
        most = min(most, (sum(loads.values()) / len(loads) - loads[fleet.me]) * EXACT)
    of_partner = [x for x in fleet.leases.values() if x.owner == partner and fleet.is_readable(x)]
    offered = [x for x in of_partner if not _is_wanted(x, fleet)]
    fitting = [x for x in offered if weights[x.shard_id] <= most]
    if not fitting:
        return []
    heavy = ALIKE * max(weights[x.shard_id] for x in fitting)
    alike = [x for x in fitting if weights[x.shard_id] >= heavy]
    return [Ask(min(alike, key=lambda x: (x.epoch, -weights[x.shard_id], x.shard_id)))]


def _partners(loads: Mapping[WorkerId, float], most: int) -> dict[WorkerId, WorkerId]:
    """Whom each worker that carries little may ask: at most so many pairs, none of which is nearly even."""
    by_load = sorted(loads, key=lambda worker: (loads[worker], worker))
    mean = sum(loads.values()) / len(loads) if loads else 0.0
    pairs = list(zip(by_load, reversed(by_load), strict=True))[: min(most, len(by_load) // 2)]
    return {idle: busy for idle, busy in pairs if loads[busy] > mean * UNEVEN or loads[idle] < mean / UNEVEN}


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


def _takes_part(worker: WorkerRow, fleet: Fleet) -> bool:
    return worker.state == LIVE and worker.drained_by is None and worker.worker_id not in fleet.silent


def _rendezvous(shard: ShardId, worker: WorkerId) -> bytes:
    return hashlib.blake2b(f"{shard}|{worker}".encode(), digest_size=8).digest()
