"""One simulated worker process: the shipped Worker, its clock, its connections, and the two lines it runs on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.flow.term import Term
from headrace.flow.worker import Worker
from headrace.model import Instant, ShardId, WorkerId
from headrace.ports import LeaseTable
from simulation.ledger import Violation
from simulation.loop import BEGAN_S, LINE, Line, VirtualLoop
from simulation.network import Link, Weather
from simulation.sink import Right

LONGEST_END_S = 120.0
"""How long a worker may take to end."""

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class ProcessClock:
    """Both clocks of a machine: one crystal, of which they run fast or slow alike."""

    loop: VirtualLoop
    rate: float = 1.0
    offset: float = 0.0
    stepped_s: float = 0.0
    """By how much the time of day was set forward."""
    lost_s: float = 0.0
    """How long the monotonic clock stood still."""
    still_since: float | None = None
    wrong_until: float = 0.0
    """When one of the two last went wrong."""

    def now(self) -> Instant:
        return Instant(self.offset + (self._running_s() - self.lost_s) * self.rate)

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=(self.loop.now - BEGAN_S) * self.rate + self.stepped_s)

    def _running_s(self) -> float:
        return (self.loop.now if self.still_since is None else self.still_since) - BEGAN_S

    def stand_still(self) -> None:
        """The monotonic clock stops, as under a hypervisor that stops the machine."""
        self.still_since = self.loop.now

    def go_on(self) -> None:
        if self.still_since is not None:
            self.lost_s += self.loop.now - self.still_since
            self.still_since = None
            self.wrong_until = self.loop.now

    def is_right(self, for_s: float) -> bool:
        """Whether both have been right for so long: one that errs is found out by the other, two that err together are not."""
        return self.still_since is None and self.loop.now - self.wrong_until >= for_s

    def step(self, by_s: float) -> None:
        """The time of day is set."""
        self.stepped_s += by_s
        self.wrong_until = self.loop.now

    def counts_suspension(self) -> bool:
        """CLOCK_BOOTTIME does."""
        return True


class MainLine(Line):
    """The main thread of a process."""


class HeartLine(Line):
    """The heartbeat's thread."""

    def __init__(self, main: Line) -> None:
        super().__init__()
        self.main = main


class HeartThread:
    """Implements `ports.Aside`: the work runs on the heartbeat's line."""

    def __init__(self, loop: VirtualLoop, table: LeaseTable, line: Line) -> None:
        self._loop = loop
        self._table = table
        self._line = line

    async def run(self, work: Callable[[LeaseTable], Awaitable[None]]) -> None:
        context = copy_context()
        context.run(LINE.set, self._line)
        task = self._loop.create_task(work(self._table), name="heart", context=context)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task], timeout=1.0)
            raise


@dataclass(eq=False)
class Process:
    """One process; `worker` and `task` are there once it was started."""

    name: str
    loop: VirtualLoop
    chance: random.Random
    clock: ProcessClock
    weather: Weather
    longest_stall_s: float
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    worker: Worker = field(init=False)
    task: asyncio.Task[None] = field(init=False)
    main: Line = field(default_factory=MainLine)
    heart: Line = field(init=False)
    link: Link = field(init=False)
    _held: dict[tuple[ShardId, int], Term] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.heart = HeartLine(self.main)
        self.link = Link(self.loop, self.weather, self.chance)
        self.link.who = self.who
        self.link.before_heartbeat = self._check_heart

    def start(self, worker: Worker, run: Callable[[], Any]) -> None:
        """Run on the main line."""
        self.worker = worker
        context = copy_context()
        context.run(LINE.set, self.main)
        self.task = self.loop.create_task(run(), name=self.name, context=context)

    def on_main(self, do: Callable[[], None]) -> None:
        """Do something on its main line, as soon as that runs."""
        context = copy_context()
        context.run(LINE.set, self.main)
        self.loop.call_soon(do, context=context)

    # --- what happens to it --------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether any of it stands still."""
        return self.main.stopped_at is not None or self.heart.stopped_at is not None

    def stop_all(self) -> None:
        """SIGSTOP."""
        for line in (self.main, self.heart):
            self.loop.stop_line(line)

    def resume_all(self, timers_stood: bool = False) -> None:
        """Go on; what is due by now is done at once, unless timers stood still too."""
        self.clock.go_on()
        for line in (self.main, self.heart):
            self.loop.resume_line(line, timers_stood=timers_stood)

    async def kill(self) -> None:
        """Nothing leaves it from here on; what it sent is on its way."""
        self.link.is_up = False
        self.resume_all()
        self.task.cancel()
        _, going_on = await asyncio.wait([self.task], timeout=LONGEST_END_S)
        if going_on:
            raise Violation(f"L: {self.name} goes on {LONGEST_END_S:g} s after it was cancelled")

    # --- what is true of it --------------------------------------------------------------------------------------------

    def who(self) -> WorkerId | None:
        """Its id at the moment."""
        incarnation = self.worker.incarnation
        return None if incarnation is None else incarnation.me

    def right(self, shard: ShardId) -> Right:
        """Under which lease it writes. An epoch that ended never begins again."""
        incarnation: Any = self.worker.incarnation
        term = incarnation._holdings.terms[shard]
        if self._held.setdefault((shard, term.epoch), term) is not term:
            raise Violation(f"S1: {incarnation.me} held {shard} twice under epoch {term.epoch}")
        return Right(shard, incarnation.me, term.epoch)

    @property
    def trusts(self) -> bool:
        """Whether it trusts whatever leases it has at this moment: were it to run now, it would act on them."""
        incarnation = self.worker.incarnation
        if not self.link.is_up or incarnation is None or (tenure := incarnation.trust._tenure) is None:
            return False
        return tenure.permits(self.clock.now(), self.clock.wall().timestamp(), 0.0)

    def holds(self, shard: ShardId) -> Term | None:
        """Its term of a shard, unless that is over."""
        incarnation: Any = self.worker.incarnation
        term = None if incarnation is None else incarnation._holdings.terms.get(shard)
        return None if term is None or term._over else term

    def _check_heart(self) -> None:
        """A worker whose main loop stands still for long must lose its leases."""
        since = self.main.stopped_at
        if since is not None and self.loop.now - since > self.longest_stall_s * 1.02:
            raise Violation(f"hang: {self.who()} has stood still since {since:g}, and its heart beats on")
