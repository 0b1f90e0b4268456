"""One incarnation of a worker: a heartbeat, a coordinator, and a run for each lease in its hands.

It lasts until the worker is asked to stop, or until another worker fences it; then all of it is dropped at once. On a
stop its shards finish what is in flight and release their leases, and only then does the heartbeat end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from headrace.core import membership
from headrace.core.fleet_status import FleetStatus
from headrace.core.identity import fresh_token
from headrace.core.tenure import LeaseTiming
from headrace.errors import AwsError, Fenced, LeaseLost, OrderLost, StreamReplaced
from headrace.flow.budget import Budget
from headrace.flow.delivery.open_records import Wanted
from headrace.flow.in_flight import InFlight
from headrace.flow.leasing.coordinator import Coordinator
from headrace.flow.leasing.discovery import Discovery
from headrace.flow.leasing.handoff import Counterparts, Handoffs
from headrace.flow.leasing.heartbeat import Heart
from headrace.flow.leasing.holdings import Holdings
from headrace.flow.losses import Losses
from headrace.flow.releases import Releases
from headrace.flow.shard.run import ShardRun
from headrace.flow.shard.watchdog import Watchdog
from headrace.flow.term import Term, Trust
from headrace.flow.workplace import ShardRules, Workplace
from headrace.loss import LossPolicy
from headrace.model import Instant, ShardId, StartPosition, WorkerId, WorkerRow
from headrace.ports import Ports, ShardStatus
from headrace.tasks import TaskGroup, unless_stopped

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerRules:
    """How a worker runs.

    `name` is the stable part of its id, `deployment` the rollout it belongs to, `buffer_bytes` what all its shards may
    hold together, `writes_in_flight` how many writes they may have handled and not seen settled, `stall_s` how long a shard may be without progress before others try, `on_loss` what to do where
    records or their order may be lost.
    """

    name: str
    stream: str
    start: StartPosition
    timing: LeaseTiming
    shard: ShardRules = ShardRules()
    buffer_bytes: int = 64 * 1024 * 1024
    writes_in_flight: int = 800
    maximum_leases: int | None = None
    deployment: str = ""
    stall_s: float = 300.0
    on_loss: LossPolicy = LossPolicy.HALT
    needs_order: bool = False
    """Whether the sink compares records by their order, so that without one nothing may be written."""


class Incarnation:
    """One start of a worker under one id, which is never used again."""

    def __init__(
        self, ports: Ports, rules: WorkerRules, discovery: Discovery, losses: Losses, address: str = ""
    ) -> None:
        self.me = WorkerId(f"{rules.name}-{fresh_token(ports.chance)}")
        self.ready = False
        """Registered, with a running lease loop."""
        self._ports = ports
        self._state = membership.LIVE
        self._runs: dict[Term, ShardRun] = {}
        self._shards = TaskGroup()
        self._main = asyncio.get_running_loop()
        self._discovery = discovery
        self._losses = losses
        self.trust = Trust(ports.clock, rules.timing)
        self._holdings = Holdings(self.trust, ports.observer, self._open, self._drop, self._rest)
        counterparts = Counterparts(self._spawn, self._is_moving, self._pass_on)
        self._handoffs = Handoffs(self.me, discovery.label, ports, self._holdings, counterparts)
        self._coordinator = Coordinator(
            self.me, ports, rules.timing, self.trust, discovery, self._holdings, self._handoffs.wish
        )
        self._releases = Releases(ports, self._coordinator.peers)
        row = _row(self.me, rules, address, ports)
        self._watchdog = Watchdog(self.me, ports, rules.stall_s, self._runs.values, self._coordinator.workers)
        self._heart = Heart(row, ports, rules.timing, self.trust, self._vitals, self._asked)
        self._place = Workplace(
            me=self.me,
            stream=rules.stream,
            label=discovery.label,
            ports=ports,
            budget=Budget(rules.buffer_bytes),
            in_flight=InFlight(rules.writes_in_flight),
            rules=rules.shard,
            discover=discovery.discover,
            releases=self._releases,
            losses=losses,
        )

    async def live(self, stop: asyncio.Event) -> None:
        """Register, work until `stop` is set, release everything, say goodbye. Raises Fenced."""
        if not await unless_stopped(stop, self._heart.register(), "register"):
            return
        try:
            async with TaskGroup() as tasks:
                beating = tasks.create_task(self._ports.aside.run(self._heart.run), name="heartbeat")
                pulsing = tasks.create_task(self._heart.feel_pulse(), name="pulse")
                await self._work(stop)
                beating.cancel()
                pulsing.cancel()
        except BaseExceptionGroup as failures:
            if (end := _end_of_incarnation(failures)) is None:
                raise
            raise end from failures
        finally:
            self.ready = False
        await self._say_goodbye()

    def look_again(self) -> None:
        """Leases may have come free."""
        if self.ready:
            self._coordinator.look_again()

    def since_last_try_s(self) -> float:
        """Seconds since the heartbeat last tried."""
        return round(self._ports.clock.now() - self._heart.last_try, 3)

    def status(self) -> dict[str, Any]:
        """What there is to tell about it."""
        now = self._ports.clock.now()
        shards = [_shown(run.status(), now) for run in self._runs.values()]
        return {"worker": self.me, "state": self._state, "trusted": self.trust.permits(), "shards": shards}

    def find(self, wanted: Wanted) -> list[dict[str, Any]]:
        """What becomes of records that this worker has read and not settled, with the shards they are in."""
        return [{"shard": run.shard, **asdict(record)} for run in self._runs.values() for record in run.find(wanted)]

    def read_to(self) -> dict[ShardId, str]:
        """Sequence number of the last record that was read, by shard."""
        return {run.shard: str(run.read_to) for run in self._runs.values()}

    def fleet(self) -> FleetStatus | None:
        """What it sees of the whole fleet; None until it has looked."""
        leaving = self._state == membership.LEAVING
        return self._coordinator.status(retention_s=self._losses.description.retention_s, is_leaving=leaving)

    async def _work(self, stop: asyncio.Event) -> None:
        async with self._shards:
            beside = [
                self._shards.create_task(self._coordinator.run(), name="coordinator"),
                self._shards.create_task(self._discovery.run(), name="discovery"),
                self._shards.create_task(self._watchdog.run(), name="watchdog"),
                self._shards.create_task(self._losses.run(), name="losses"),
            ]
            self.ready = True
            await stop.wait()
            for task in beside:
                task.cancel()
            self.ready = False
            self._state = membership.LEAVING
            self._handoffs.abandon()
            log.info("worker_stopping", worker=self.me, held=len(self._runs))
            self._shards.create_task(self._releases.announce(membership.announce_leave(self.me)), name="announce")
            for run in self._runs.values():
                run.stop()

    def _open(self, term: Term) -> None:
        run = ShardRun(term, self._place)
        self._runs[term] = run
        if self._state == membership.LEAVING:
            run.stop()
        self._shards.create_task(self._run(term, run), name=str(term.lease.shard_id))

    async def _run(self, term: Term, run: ShardRun) -> None:
        shard = term.lease.shard_id
        with structlog.contextvars.bound_contextvars(stream=self._place.stream, epoch=term.epoch):
            try:
                await run.run()
            except LeaseLost as lost:
                log.warning("lease_lost", shard=shard, reason=str(lost))
                self._ports.observer.lease_changed(shard, "lost")
                # A call may still be under way, and nobody waits for it who gets the lease from here: an heir of the next
                # term, or whoever takes it once this worker has left.
                if run.was_dropped and self._state == membership.LIVE:
                    await term.writes_ended(self._ports.sink)
                else:
                    await term.calls_ended()
            finally:
                del self._runs[term]
                self._holdings.close(term)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        if self._state == membership.LIVE:
            with suppress(RuntimeError):  # the incarnation is coming to its end
                return self._shards.create_task(work, name=name)
        work.close()
        return None

    def _pass_on(self, term: Term, heir: WorkerId) -> None:
        if (run := self._runs.get(term)) is not None:
            run.stop(heir)

    def _drop(self, term: Term) -> None:
        if (run := self._runs.get(term)) is not None:
            run.drop()

    def _rest(self, term: Term) -> None:
        if (run := self._runs.get(term)) is not None and not run.is_asked_to_end:
            log.info("lease_rested", shard=term.lease.shard_id, epoch=term.epoch)
            run.stop()

    def _is_moving(self, worker: WorkerId) -> bool:
        return self._coordinator.is_moving(worker)

    def _vitals(self) -> membership.Vitals:
        """Asked on the heartbeat's thread: each part is read in one step."""
        holdings = self._holdings
        stalled = len(self._watchdog.stalled)
        return membership.Vitals(self._state, len(holdings.terms), holdings.generation, stalled, self._handoffs.heard)

    def _asked(self, shards: frozenset[ShardId]) -> None:
        """Told on the heartbeat's thread."""
        if shards or self._handoffs.heard:
            self._main.call_soon_threadsafe(self._handoffs.asked, shards)

    async def _say_goodbye(self) -> None:
        try:
            await self._ports.table.apply(membership.leave(self.me, self._ports.clock.wall().timestamp()))
        except AwsError as error:
            log.info("goodbye_unanswered", error=str(error))
        log.info("worker_stopped", worker=self.me)


def _end_of_incarnation(failures: BaseExceptionGroup[BaseException]) -> Exception | None:
    """What ended an incarnation, where that is one of the ends that were foreseen."""
    kinds = (OrderLost, StreamReplaced, Fenced)
    if failures.split(kinds)[1] is not None:
        return None
    leaves = list(_leaves(failures))
    return next(leaf for kind in kinds for leaf in leaves if isinstance(leaf, kind))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _row(me: WorkerId, rules: WorkerRules, address: str, ports: Ports) -> WorkerRow:
    """What a worker tells the others of itself."""
    return WorkerRow(
        me,
        heartbeat=0,
        state=membership.LIVE,
        name=rules.name,
        address=address,
        deployment=rules.deployment,
        began_s=ports.clock.wall().timestamp(),
        maximum=rules.maximum_leases,
    )


def _shown(status: ShardStatus, now: Instant) -> dict[str, Any]:
    """For people: how long ago instead of an instant of this process's own clock, and long numbers as text."""
    facts = asdict(status)
    facts["held_by"] = None if status.held_by is None else str(status.held_by)
    ago = {name: round(now - facts.pop(f"last_{name}"), 3) for name in ("progress", "settled")}
    return {**facts, "since_progress_s": ago["progress"], "since_settled_s": ago["settled"]}
