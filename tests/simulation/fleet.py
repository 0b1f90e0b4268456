"""One seed, one run: a fleet of the shipped workers, faults drawn from the seed, and the rules checked at every step."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from headrace.core import lease_rows, membership
from headrace.core.backoff import Backoff
from headrace.core.pacing import PaceRules
from headrace.core.tenure import LeaseTiming
from headrace.core.verdict import RetryRules
from headrace.errors import IteratorExpired, Throttled
from headrace.flow.incarnation import WorkerRules
from headrace.flow.worker import Worker
from headrace.flow.workplace import ShardRules
from headrace.model import Put, Record, TrimHorizon
from headrace.ports import Handler, Ports
from headrace.testing.aside import SameLoop
from headrace.testing.observer import RecordingObserver
from headrace.testing.stream import MemoryStream
from simulation.loop import VirtualLoop
from simulation.world import (
    Graveyard,
    Ledger,
    RateClock,
    SinkOfWorker,
    View,
    Violation,
    WatchedSink,
    WatchedTable,
    Weather,
    Wire,
)

TIMING = LeaseTiming.derived(10.0)
STORM_S = 90.0
"""How long faults are made."""

CALM_S = 120.0
"""How long the fleet then has to come to rest: several takeovers, and the retries of a long outage."""

KEYS = 24


@dataclass
class Member:
    """One worker process."""

    worker: Worker
    task: asyncio.Task[None]
    stop: asyncio.Event
    wire: Wire
    sink: SinkOfWorker
    weather: Weather


@dataclass
class Run:
    """One seed."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    members: dict[str, Member] = field(default_factory=dict)
    started: int = 0
    broken: list[Violation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.ledger = Ledger()
        self.table = WatchedTable(self.ledger)
        self.stream = MemoryStream(RateClock(), self.chance.randint(1, 4))
        self.sink = WatchedSink(self.table, self.ledger, "stream", self.chance)
        self.graveyard = Graveyard(self.ledger, self.chance)
        self.produced: Counter[str] = Counter()

    # --- the run -------------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """A storm, then calm; raises Violation."""
        for _ in range(self.chance.randint(1, 4)):
            self.start()
        async with asyncio.TaskGroup() as tasks:
            producing = tasks.create_task(self._produce())
            raging = tasks.create_task(self._rage())
            watching = tasks.create_task(self._watch())
            await raging
            await producing
            self._clear_up()
            await self._come_to_rest()
            watching.cancel()
        await self._stop_all()

    def start(self) -> None:
        """A new process."""
        self.started += 1
        weather = Weather(stale_s=self.chance.choice([0.0, 0.0, 1.5]))
        wire, sink = Wire(self.table, weather, self.chance), SinkOfWorker(self.sink)
        rate = self.chance.uniform(0.99, 1.01)
        ports = Ports(
            stream=View(self.stream, weather, self.chance),  # type: ignore[arg-type]
            table=wire,
            sink=sink,
            dead_letters=self.graveyard,
            handler=Handler("simulated", self._handle),
            observer=RecordingObserver(),
            clock=RateClock(rate, self.chance.uniform(0, 1e5), weather),
            chance=self.chance.random,
            aside=SameLoop(wire),
            nudge=self._nudge,
        )
        shard = ShardRules(
            retry=RetryRules(maximum_attempts=3, backoff=Backoff(0.2, 2.0)),
            pace=PaceRules(0.5),
            call_timeout_s=TIMING.call_timeout_s,
            drain_s=5.0,
        )
        name = f"w{self.started}"
        rules = WorkerRules(name=name, stream="stream", start=TrimHorizon(), timing=TIMING, shard=shard)
        worker, stop = Worker(ports, rules), asyncio.Event()
        worker.address = name
        sink.worker = worker
        task = asyncio.create_task(self._work(worker, stop), name=name)
        self.members[name] = Member(worker, task, stop, wire, sink, weather)

    async def _nudge(self, addresses: Sequence[str]) -> None:
        """Most arrive."""
        await asyncio.sleep(self.chance.uniform(0.001, 0.02))
        for member in [self.members[name] for name in addresses if name in self.members]:
            if member.weather.frozen is None and self.chance.random() < 0.8:
                member.worker.nudged()

    async def _work(self, worker: Worker, stop: asyncio.Event) -> None:
        await worker.run(stop, await self.stream.describe())

    def _handle(self, record: Record) -> Put:
        if is_poison(record.sequence_number):
            self.counts["poison"] += 1
            raise ValueError("poison")
        if self.chance.random() < 0.01:
            self.counts["handler failures"] += 1
            raise RuntimeError("not now")
        return Put({"pk": record.partition_key, "record": record})

    async def _produce(self) -> None:
        end = self._now() + STORM_S
        while self._now() < end:
            for _ in range(self.chance.randint(0, 6)):
                key = f"k{self.chance.randrange(KEYS)}"
                placed = self.stream.put(key, b"x")
                self.ledger.order[placed.shard_id].append(placed.sequence_number)
                self.ledger.key[placed.sequence_number] = key
                if not is_poison(placed.sequence_number):
                    self.ledger.number[placed.sequence_number] = self.produced[key]
                    self.produced[key] += 1
            await asyncio.sleep(0.25)

    # --- faults --------------------------------------------------------------------------------------------------------

    async def _rage(self) -> None:
        end = self._now() + STORM_S
        while self._now() < end:
            await asyncio.sleep(self.chance.expovariate(1 / 3.0))
            fault = self.chance.choice(FAULTS)
            self.counts[fault] += 1
            await getattr(self, f"_{fault}")()

    def _somebody(self) -> Member | None:
        living = [m for _, m in sorted(self.members.items()) if not m.task.done()]
        return self.chance.choice(living) if living else None

    async def _kill(self) -> None:
        if (member := self._somebody()) is not None:
            member.wire.alive = member.sink.alive = False
            member.task.cancel()
            await asyncio.wait([member.task])
            self._forget(member)
        if len(self.members) < 4:
            self.start()

    async def _join(self) -> None:
        if len(self.members) < 8:
            self.start()

    async def _deploy(self) -> None:
        """One worker is told to stop, another starts."""
        if (member := self._somebody()) is not None and member.weather.frozen is None:
            member.stop.set()
        self.start()

    async def _pause(self) -> None:
        if (member := self._somebody()) is not None and member.weather.frozen is None:
            member.weather.freeze()
            asyncio.get_running_loop().call_later(self.chance.uniform(0.5, 40.0), member.weather.thaw)

    async def _partition(self) -> None:
        await self._for_a_while(lose=1.0)

    async def _one_way(self) -> None:
        await self._for_a_while(mute=1.0)

    async def _flaky(self) -> None:
        await self._for_a_while(lose=0.2, mute=0.2, throttle=0.1, repeat=0.3)

    async def _for_a_while(self, **weather: float) -> None:
        if (member := self._somebody()) is not None:
            self._set(member, **weather)
            asyncio.get_running_loop().call_later(self.chance.uniform(1.0, 25.0), self._set, member)

    def _set(self, member: Member, lose: float = 0, mute: float = 0, throttle: float = 0, repeat: float = 0) -> None:
        weather = member.weather
        weather.lose, weather.mute, weather.throttle, weather.repeat = lose, mute, throttle, repeat

    async def _outage(self) -> None:
        """The table is away for everybody."""
        for member in self.members.values():
            self._set(member, lose=1.0)
        await asyncio.sleep(self.chance.uniform(1.0, 25.0))
        for member in self.members.values():
            self._set(member)

    async def _throttling(self) -> None:
        for member in self.members.values():
            self._set(member, throttle=self.chance.uniform(0.1, 0.9))
        await asyncio.sleep(self.chance.uniform(1.0, 10.0))
        for member in self.members.values():
            self._set(member)

    async def _blindness(self) -> None:
        if (member := self._somebody()) is not None:
            member.weather.blind = True
            asyncio.get_running_loop().call_later(
                self.chance.uniform(1.0, 15.0), setattr, member.weather, "blind", False
            )

    async def _expiry(self) -> None:
        self.stream.fail_next("get_records", IteratorExpired("expired"), times=self.chance.randint(1, 5))

    async def _read_throttle(self) -> None:
        self.stream.fail_next("get_records", Throttled("slow down"), times=self.chance.randint(1, 20))

    async def _slow_sink(self) -> None:
        self.sink.latency_s = 1.0
        asyncio.get_running_loop().call_later(self.chance.uniform(1.0, 10.0), setattr, self.sink, "latency_s", 0.05)

    async def _split(self) -> None:
        open_shards = [log.shard.shard_id for log in self.stream._open]
        if len(open_shards) < 8:
            self.stream.split(self.chance.choice(open_shards))

    async def _merge(self) -> None:
        open_shards = [log.shard.shard_id for log in self.stream._open]
        if len(open_shards) > 1:
            at = self.chance.randrange(len(open_shards) - 1)
            self.stream.merge(open_shards[at], open_shards[at + 1])

    def _forget(self, member: Member) -> None:
        self.members = {name: m for name, m in self.members.items() if m is not member}

    # --- calm ----------------------------------------------------------------------------------------------------------

    def _clear_up(self) -> None:
        for member in self.members.values():
            self._set(member)
            member.weather.thaw()
            member.weather.blind = False
        self.sink.latency_s = 0.05
        self.stream._failures.clear()
        if not any(not m.stop.is_set() and not m.task.done() for m in self.members.values()):
            self.start()

    async def _come_to_rest(self) -> None:
        """L1 and L2: every record is settled, every closed shard is done, every lease is owned."""
        deadline = self._now() + CALM_S
        while why := next(self._unfinished(), None):
            if self._now() > deadline:
                raise Violation(f"L: {CALM_S:g} s after the last fault {why}")
            await asyncio.sleep(0.5)
        for key, count in self.produced.items():
            if count and self.sink.items.get(key) != count - 1:
                raise Violation(f"order: key {key} ends at {self.sink.items.get(key)}, not at {count - 1}")

    def _unfinished(self) -> Iterator[str]:
        open_records = len(self.ledger.key) - len(self.ledger.settled)
        if open_records:
            yield f"{open_records} records are open"
        found = {x.shard_id: x for x in map(lease_rows.lease_of, self._lease_rows())}
        for log in self.stream._logs.values():
            lease = found.get(log.shard.shard_id)
            if lease is None:
                yield f"{log.shard.shard_id} has no lease"
            elif log.closed_at_s is not None and not lease.done:
                yield f"{log.shard.shard_id} has not ended"
            elif log.closed_at_s is None and lease.owner not in self._living():
                yield f"{log.shard.shard_id} has no living owner"
            elif log.closed_at_s is None and lease.checkpoint.sequence_number < self._newest(log):
                yield f"{log.shard.shard_id} is not checkpointed to its end"

    def _newest(self, log: Any) -> int:
        return log.records[-1].sequence_number if log.records else 0

    def _living(self) -> set[Any]:
        running = [m.worker.incarnation for m in self.members.values() if not m.task.done()]
        return {incarnation.me for incarnation in running if incarnation is not None}

    def _lease_rows(self) -> list[Any]:
        return [row for key, row in self.table.rows.items() if key.pk.startswith("L#")]

    async def _watch(self) -> None:
        """A worker that ends by itself has met a bug; so has one whose writes broke a rule."""
        while True:
            for member in list(self.members.values()):
                if member.task.done():
                    if (error := member.task.exception()) is not None:
                        raise error
                    self._forget(member)
            if self.broken:
                raise self.broken[0]
            await asyncio.sleep(0.25)

    async def _stop_all(self) -> None:
        for member in list(self.members.values()):
            member.stop.set()
        for member in list(self.members.values()):
            await member.task
        states = {row["sk"]: row["st"] for key, row in self.table.rows.items() if key.pk == membership.WORKERS}
        held = [
            row["sk"]
            for row in self._lease_rows()
            if states.get(row.get("own")) in {membership.LIVE, membership.LEAVING}
        ]
        if held:
            raise Violation(f"L: after everybody stopped {held} belong to workers that seem to live")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def is_poison(sequence_number: int) -> bool:
    """The handler fails with it every time."""
    return sequence_number % 97 == 0


FAULTS = [
    *("kill", "kill", "join", "deploy", "pause", "pause", "partition", "one_way", "flaky", "outage", "throttling"),
    *("blindness", "expiry", "read_throttle", "slow_sink", "split", "merge"),
]


def simulate(seed: int) -> Run:
    """Play one seed; raises Violation, or whatever else went wrong."""
    structlog.configure(processors=[_drop])
    run = Run.__new__(Run)
    loop = VirtualLoop()

    def note(_: Any, context: dict[str, Any]) -> None:
        if isinstance(error := context.get("exception"), Violation):
            run.broken.append(error)

    loop.set_exception_handler(note)
    try:
        loop.run_until_complete(_play(run, seed))
        return run
    finally:
        _close(loop)


async def _play(run: Run, seed: int) -> None:
    Run.__init__(run, seed)
    try:
        await run.play()
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _close(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.wait(tasks)) if tasks else None
    loop.close()


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent
