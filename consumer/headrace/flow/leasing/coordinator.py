"""Which shards are mine? Every worker asks the same rows the same question and acts on its own part of the answer.

What is authoritative: the table's conditional writes, nothing else. Worker rows may be read stale, lease rows are no
snapshot, and a plan made on either costs a refused write. Local time is used for one thing here: how long a peer's heartbeat counter has stood still, on
this worker's clock, since this worker received the first read that showed it, and only while this worker could see.

What each failure does. The table cannot be read: nothing is decided, and all silence starts anew once it can. A peer is
silent for the lease duration: its row is fenced at the counter that was seen; refused means that it lives. After the
fence its leases are taken one by one, each under a new epoch, from the checkpoint in the answer. A claim, take or adopt
gets no answer: the row is read again, and where it names this worker it is adopted under one more epoch. This worker's
own trust has run out: it takes nothing and fences nobody until a heartbeat is acknowledged again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from headrace.core import lease_rows, leases, membership
from headrace.core.assignment import Adopt, Ask, Claim, Fence, Fleet, Take, Tombstone, orphans, plan
from headrace.core.fleet_status import FleetStatus, fleet_status
from headrace.core.lineage import may_forget
from headrace.core.orders import orders
from headrace.core.silence import Watch
from headrace.core.tenure import LeaseTiming
from headrace.errors import AwsError, Retryable
from headrace.flow.leasing.discovery import Discovery
from headrace.flow.leasing.holdings import Holdings
from headrace.flow.term import Trust
from headrace.model import Instant, Lease, ShardId, WorkerId, WorkerRow
from headrace.ports import Ports
from headrace.rows import Applied, Outcome, Refused, UpdateRow
from headrace.tasks import TaskGroup, is_set_within

log = structlog.get_logger(__name__)

READ_LEASES_EVERY_S: Final = 60.0
"""Lease rows are read when the worker rows say that something changed, and this often anyway."""

CALM_DURATIONS: Final = 3
"""Loads are evened out when nobody came or went for this many lease durations: a deploy moves leases enough."""

SHORTEST_PAUSE_S: Final = 0.05
"""Between two rounds, however often this worker is nudged: a round reads up to 17 partitions."""

OVERDUE_POLLS: Final = 2
"""An orphan whose planned owner has not taken it after this many polls may be taken by anyone."""


@dataclass(slots=True)
class View:
    """What this worker last read."""

    workers: dict[WorkerId, WorkerRow]
    leases: dict[ShardId, Lease]
    watch: Watch
    orphaned: dict[ShardId, Instant]
    """Since when each orphan has been one, as seen from here."""
    calm_since: Instant
    """When a worker last came or went."""
    leases_read: Instant | None = None
    has_word: bool = False
    """An operator left word since the lease rows were read last: only a consistent read is sure to show it."""


class Coordinator:
    """The lease loop of one incarnation; `wish` is called with a lease to ask its owner for."""

    def __init__(
        self,
        me: WorkerId,
        ports: Ports,
        timing: LeaseTiming,
        trust: Trust,
        discovery: Discovery,
        holdings: Holdings,
        wish: Callable[[Lease], None],
    ) -> None:
        self._me = me
        self._ports = ports
        self._timing = timing
        self._trust = trust
        self._discovery = discovery
        self._holdings = holdings
        self._wish = wish
        self._longest_gap_s = 2 * timing.poll_period_s
        self._view = View({}, {}, Watch({}), {}, ports.clock.now())

    async def run(self) -> None:
        """Coordinate for ever. Workers that start together get a moment to see each other first, each another one."""
        await asyncio.sleep(self._timing.poll_period_s * (0.5 + 0.5 * self._ports.chance()))
        while True:
            await self.round()
            await self._pause()

    def look_again(self) -> None:
        """Leases may have come free: read their rows soon instead of with the next poll."""
        self._view.leases_read = None
        self._holdings.look.set()

    def workers(self) -> list[WorkerRow]:
        """The rows of all workers, as they were read last."""
        return list(self._view.workers.values())

    def status(self, *, retention_s: float, is_leaving: bool) -> FleetStatus | None:
        """The fleet, as its rows were read last; None before that."""
        if not self._view.leases:
            return None
        now, wall_s = self._ports.clock.now(), self._ports.clock.wall().timestamp()
        unread_s = {shard: now - since for shard, since in self._view.orphaned.items()}
        return fleet_status(self._fleet(), unread_s, wall_s=wall_s, retention_s=retention_s, is_leaving=is_leaving)

    def peers(self) -> list[str]:
        """Where the other workers that take part can be nudged."""
        silent = self._fleet().silent
        others = (w for w in self._view.workers.values() if w.worker_id != self._me and w.worker_id not in silent)
        return [w.address for w in others if w.address and w.state == membership.LIVE]

    async def round(self) -> None:
        """One look at the fleet and what follows from it. A table that cannot be reached ends the round early."""
        try:
            await self._read_workers()
            if self._leases_wanted():
                await self._read_leases()
            await self._act()
        except AwsError as error:
            self._view.leases_read = None
            self._holdings.look.clear()
            if isinstance(error, Retryable):
                log.info("round_cut_short", error=str(error))
            else:
                log.error("round_failed", error=str(error))  # noqa: TRY400 - one line says it

    # --- see -----------------------------------------------------------------------------------------------------------

    async def _read_workers(self) -> None:
        rows = await self._ports.table.query(membership.WORKERS)
        workers = {worker.worker_id: worker for worker in map(lease_rows.worker_of, rows)}
        if _ownership(workers) != _ownership(self._view.workers):
            self._view.leases_read = None
        if _words(workers) != _words(self._view.workers):
            self._view.leases_read, self._view.has_word = None, True
        if _living(workers) != _living(self._view.workers):
            self._view.calm_since = self._ports.clock.now()
        self._view.workers = workers
        self._view.watch = self._view.watch.observe(workers.values(), self._ports.clock.now(), self._longest_gap_s)

    def _leases_wanted(self) -> bool:
        read = self._view.leases_read
        if read is None or self._holdings.look.is_set():
            return True
        return bool(self._view.orphaned) or self._ports.clock.now() - read >= READ_LEASES_EVERY_S

    async def _read_leases(self) -> None:
        """Consistently: news of a change come once, and rows that do not show it yet would not be read again for long."""
        asked = self._ports.clock.now()
        self._holdings.look.clear()
        if self._view.has_word:
            await self._discovery.look_for_pause()
        self._view.leases = await self._discovery.read_leases(consistent=True)
        self._view.leases_read, self._view.has_word = asked, False
        now = self._ports.clock.now()
        orphaned = {lease.shard_id for lease in orphans(self._fleet())}
        self._view.orphaned = {shard: self._view.orphaned.get(shard, now) for shard in orphaned}

    def _fleet(self) -> Fleet:
        now = self._ports.clock.now()
        patience = OVERDUE_POLLS * self._timing.poll_period_s
        jitter = self._timing.poll_period_s * self._ports.chance()
        return self._seen(frozenset(s for s, since in self._view.orphaned.items() if now - since > patience + jitter))

    def _seen(self, overdue: frozenset[ShardId] = frozenset()) -> Fleet:
        view, now = self._view, self._ports.clock.now()
        return Fleet(
            me=self._me,
            workers=view.workers,
            leases=view.leases | self._newer(),
            held=self._holdings.shards,
            overdue=overdue,
            calm=now - view.calm_since >= CALM_DURATIONS * self._timing.duration_s,
            silent=view.watch.silent(view.workers.values(), now, self._timing.duration_s, self._longest_gap_s),
            epochs=self._holdings.epochs,
            paused=self._discovery.paused_by is not None,
        )

    def _newer(self) -> dict[ShardId, Lease]:
        """What came into this worker's hands since the rows were read."""
        read = self._view.leases
        held = ((shard, term.lease) for shard, term in self._holdings.terms.items())
        return {shard: lease for shard, lease in held if shard not in read or read[shard].epoch < lease.epoch}

    # --- act -----------------------------------------------------------------------------------------------------------

    async def _act(self) -> None:
        for order in orders(self._seen()):
            self._holdings.obey(order)
        if not self._trust.permits():
            return
        fenced = [await self._fence(a) for a in plan(self._fleet()) if isinstance(a, Fence | Tombstone)]
        if any(fenced):
            await self._read_workers()
            await self._read_leases()
        planned = plan(self._fleet())
        async with TaskGroup() as takings:
            for action in planned:
                if isinstance(action, Claim | Take | Adopt):
                    takings.create_task(self._acquire(action), name=f"{action.lease.shard_id}-acquire")
        for action in planned:
            if isinstance(action, Ask) and not self._holdings.wished:
                self._wish(action.lease)
        await self._forget_finished()

    async def _fence(self, action: Fence | Tombstone) -> bool:
        wall_s = self._ports.clock.wall().timestamp()
        match action:
            case Fence(worker, counter):
                outcome = await self._ports.table.apply(membership.fence(worker, counter, wall_s))
            case Tombstone(worker):
                outcome = await self._ports.table.apply(membership.tombstone(worker, wall_s))
        if isinstance(outcome, Refused):
            return False
        log.warning("peer_fenced", peer=action.worker)
        self._ports.observer.peer_fenced()
        return True

    async def _acquire(self, action: Claim | Take | Adopt) -> None:
        lease, stream = action.lease, self._discovery.label
        match action:
            case Claim():
                transition, request = "claimed", leases.claim(stream, lease, self._me)
            case Take():
                transition, request = "taken", leases.take(stream, lease, self._me)
            case Adopt():
                transition, request = "adopted", leases.adopt(stream, lease, self._me)
        outcome = await self._try_own(request)
        if isinstance(outcome, Applied):
            self._view.orphaned.pop(lease.shard_id, None)
            self._holdings.hold(lease_rows.lease_of(outcome.row), transition)
        else:
            self._view.leases_read = None

    async def _try_own(self, request: UpdateRow) -> Outcome | None:
        """None when there was no answer: the next read of the rows shows whether it applied, and then it is adopted."""
        try:
            return await self._ports.table.apply(request)
        except AwsError as error:
            log.info("lease_unanswered", shard=request.key.sk, error=str(error))
            return None

    async def _forget_finished(self) -> None:
        wall_s = self._ports.clock.wall().timestamp()
        for lease in list(self._view.leases.values()):
            listed = self._discovery.may_list(lease)
            if may_forget(lease, self._view.leases, listed=listed, age_s=wall_s - lease.done_at_s):
                await self._ports.table.apply(leases.forget(self._discovery.label, lease))
                del self._view.leases[lease.shard_id]
                log.info("lease_forgotten", shard=lease.shard_id)

    def is_moving(self, worker: WorkerId) -> bool:
        """Whether a worker takes part and its heartbeat was seen to move lately."""
        row, recently_s = (
            self._view.workers.get(worker),
            2 * self._timing.heartbeat_period_s + self._timing.poll_period_s,
        )
        takes_part = row is not None and row.state == membership.LIVE and row.drained_by is None
        return takes_part and self._view.watch.has_moved(worker, self._ports.clock.now(), recently_s)

    # --- wait ----------------------------------------------------------------------------------------------------------

    async def _pause(self) -> None:
        """Until the next poll; a silence that ends before that is met on time, not a poll later."""
        now = self._ports.clock.now()
        others = [w for w in self._view.workers.values() if w.worker_id != self._me]
        silence = self._view.watch.next_silence(others, self._timing.duration_s)
        pause = self._timing.poll_period_s
        if silence is not None and now < silence:
            pause = min(pause, silence - now)
        await asyncio.sleep(min(pause, SHORTEST_PAUSE_S))
        await is_set_within(self._holdings.look, pause - SHORTEST_PAUSE_S)


def _ownership(workers: dict[WorkerId, WorkerRow]) -> set[tuple[WorkerId, str, int]]:
    return {(w.worker_id, w.state, w.generation) for w in workers.values()}


def _living(workers: dict[WorkerId, WorkerRow]) -> set[WorkerId]:
    return {w.worker_id for w in workers.values() if w.state == membership.LIVE}


def _words(workers: dict[WorkerId, WorkerRow]) -> set[str]:
    return {w.word for w in workers.values() if w.word}
