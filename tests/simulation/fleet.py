"""One seed, one run: a fleet of the shipped workers, faults drawn from the seed, and the rules checked at every step."""

from __future__ import annotations

import asyncio
import functools
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog

from headrace.core import leases, membership
from headrace.core.backoff import Backoff
from headrace.core.pacing import PaceRules
from headrace.core.tenure import LeaseTiming
from headrace.core.verdict import RetryRules
from headrace.flow.incarnation import WorkerRules
from headrace.flow.leasing import coordinator
from headrace.flow.worker import Worker
from headrace.flow.workplace import ShardRules
from headrace.model import Lease, Record, TrimHorizon, WorkerId
from headrace.operations import Put
from headrace.ports import Handler, Ports
from headrace.testing.fan_out import MemoryFanOut
from headrace.testing.observer import RecordingObserver
from headrace.testing.stream import MemoryStream
from simulation.faults import FAULTS, Fault
from simulation.ledger import Ledger, Violation
from simulation.loop import BEGAN_S, OUTSIDE, VirtualLoop
from simulation.network import Subscribing, View, Weather, Wire
from simulation.patching import patch
from simulation.process import LONGEST_END_S, HeartThread, Process, ProcessClock
from simulation.reading import forget_rows, remember_rows
from simulation.sink import Graveyard, SinkOfWorker, WatchedSink
from simulation.table import WatchedTable

STORM = 7.0
"""How long faults are made, in lease durations."""

CALM_S = 120.0
"""How long the fleet then has to come to rest: several takeovers, and the retries of a long outage."""

KEYS = 24

FAN_OUT_EACH = 5
"""So many seeds have one that reads by subscription."""


class Fleet:
    """One seed."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.seed = seed
        self.loop = loop
        self.chance = chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.processes: dict[str, Process] = {}
        self.unit_s = chance.choice([3.0, 3.0, 5.0, 10.0])
        """The lease duration."""
        self.timing = LeaseTiming.derived(self.unit_s)
        self.ledger = Ledger()
        self.table = WatchedTable(loop, self.ledger)
        self.table.lost, self.table.fenced = self._check_trust, self._fenced
        self.stream = MemoryStream(ProcessClock(loop), chance.randint(1, 4))
        self.fan_out = self._fan_out()
        self.sink = WatchedSink(self.table, self.ledger, "stream", self.timing.call_timeout_s)
        self.tell: Callable[[str], None] = lambda _: None
        self._started = self._version = 0
        self._faults = [fault for fault in FAULTS if chance.random() < 0.5] or list(FAULTS)
        self._gap_s = self.unit_s * chance.choice([0.15, 0.3, 0.6])
        self._produced: Counter[str] = Counter()
        self._buried: set[int] = set()
        self._is_calm = False
        patch(coordinator, "CALM_DURATIONS", chance.choice([0, 0, 1, 3]))

    def _fan_out(self) -> MemoryFanOut | None:
        """Every fifth seed reads by subscription: nothing is drawn, so that the others stay what they were."""
        if self.seed % FAN_OUT_EACH:
            return None
        return MemoryFanOut(self.stream, ProcessClock(self.loop), every_s=0.1 * self.unit_s)

    # --- the run -------------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """A storm, then calm; raises Violation."""
        for _ in range(self.chance.randint(1, 4)):
            self.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._produce())
            tasks.create_task(self._rage())
        self._clear_up()
        await self._come_to_rest()
        await self._stop_all()

    def start(self, *, new_version: bool = False) -> None:
        """A new process."""
        self._started += 1
        self._version += new_version
        name = f"w{self._started}"
        chance = random.Random(f"{self.seed} {name}")
        rate = chance.choice([0.99, 1.01])
        process = Process(
            name=name,
            loop=self.loop,
            chance=chance,
            clock=ProcessClock(self.loop, rate, chance.uniform(0, 1e5)),
            weather=Weather(longest_s=3 * self.unit_s, stale_s=chance.choice([0.0, 0.0, 0.15 * self.unit_s])),
            longest_stall_s=self.timing.longest_stall_s,
        )
        worker = Worker(self._ports(process, rate), self._rules(process.name))
        worker.address = process.name
        process.start(worker, lambda: self._work(process))
        process.task.add_done_callback(lambda _: self._ended(process), context=OUTSIDE)
        self.processes[process.name] = process

    def _ports(self, process: Process, rate: float) -> Ports:
        wire = Wire(self.table, process.link)
        return Ports(
            stream=View(self.stream, process.link),  # type: ignore[arg-type]
            table=wire,
            sink=SinkOfWorker(self.sink, process.link, process.right, rate),
            dead_letters=Graveyard(self.ledger, process.link, self._buried),
            handler=Handler("simulated", lambda record: self._handle(record, process.chance)),
            observer=Quiet(),
            clock=process.clock,
            chance=process.chance.random,
            aside=HeartThread(self.loop, wire, process.heart),
            nudge=self._nudge,
            fan_out=None if self.fan_out is None else Subscribing(self.fan_out, process.link),
        )

    def _rules(self, name: str) -> WorkerRules:
        shard = ShardRules(
            retry=RetryRules(maximum_attempts=3, backoff=Backoff(0.2, 2.0)),
            pace=PaceRules(0.1 * self.unit_s),
            call_timeout_s=self.timing.call_timeout_s,
            drain_s=self.unit_s / 2,
        )
        deployment = f"v{self._version}"
        return WorkerRules(
            name=name, stream="stream", start=TrimHorizon(), timing=self.timing, shard=shard, deployment=deployment
        )

    async def _work(self, process: Process) -> None:
        await process.worker.run(process.stop, await self.stream.describe())

    def _ended(self, process: Process) -> None:
        """A worker that ends by itself has met a bug."""
        self.forget(process)
        process.link.is_up = False
        process.resume_all()
        if not process.task.cancelled() and (error := process.task.exception()) is not None:
            raise _first(error)

    async def _nudge(self, addresses: Sequence[str]) -> None:
        """Most arrive."""
        await asyncio.sleep(0.01)
        for process in [self.processes[name] for name in addresses if name in self.processes]:
            if not process.is_stopped and process.chance.random() < 0.8:
                process.on_main(process.worker.nudged)

    def _handle(self, record: Record, chance: random.Random) -> Put:
        if is_poison(record.sequence_number):
            raise ValueError("poison")
        if chance.random() < 0.01:
            self.counts["handler failures"] += 1
            raise RuntimeError("not now")
        return Put({"pk": record.partition_key, "record": record})

    async def _produce(self) -> None:
        end = self.loop.now + STORM * self.unit_s
        while self.loop.now < end:
            for _ in range(self.chance.randint(0, 6)):
                self._put(f"k{self.chance.randrange(KEYS)}")
            await asyncio.sleep(0.05 * self.unit_s)

    def _put(self, key: str) -> None:
        placed = self.stream.put(key, b"x")
        self.ledger.order[placed.shard_id].append(placed.sequence_number)
        self.ledger.key[placed.sequence_number] = key
        if is_poison(placed.sequence_number):
            self.counts["poison"] += 1
        else:
            self.ledger.number[placed.sequence_number] = self._produced[key]
            self._produced[key] += 1

    # --- faults --------------------------------------------------------------------------------------------------------

    async def _rage(self) -> None:
        end = self.loop.now + STORM * self.unit_s
        while self.loop.now < end:
            await asyncio.sleep(self.chance.expovariate(1 / self._gap_s))
            fault = self.chance.choice(self._faults)
            self.counts[f"fault {fault.__name__}"] += 1
            self.tell(f"fault {fault.__name__}")
            await fault(self)

    def living(self) -> list[Process]:
        """All that were not killed and have not ended."""
        return [process for process in self.processes.values() if not process.task.done()]

    def somebody(self) -> Process | None:
        """One of them, most often one that has leases."""
        living = self.living()
        owners = {lease.owner for lease in self.table.leases.values()}
        busy = [process for process in living if process.who() in owners]
        if busy and self.chance.random() < 0.6:
            return self.chance.choice(busy)
        return self.chance.choice(living) if living else None

    def forget(self, process: Process) -> None:
        """It is gone."""
        self.processes.pop(process.name, None)

    def after(self, least: float, most: float, do: Callable[[], object]) -> None:
        """Do something after so many lease durations."""
        self.later(self.unit_s * self.chance.uniform(least, most), do)

    def later(self, delay_s: float, do: Callable[[], object]) -> None:
        """Do something after so many seconds, if the storm lasts that long."""
        self.loop.call_later(delay_s, lambda: self._is_calm or do())

    def after_all(self, least: float, most: float, do: Callable[[], object]) -> None:
        """Do something after so many lease durations, storm or calm: what operators began they end."""
        self.loop.call_later(self.unit_s * self.chance.uniform(least, most), do)

    def set_weather(self, process: Process, for_s: float, weather: dict[str, float]) -> None:
        """And good weather again."""
        self.tell(f"{process.name}: {weather} for {for_s:.2f} s")
        for name, value in weather.items():
            setattr(process.weather, name, value)
            self.loop.call_later(for_s, setattr, process.weather, name, 0.0)

    def sink_is_fast(self) -> None:
        """Calls take a moment."""
        self.sink.mean_s = 0.05

    # --- rules ---------------------------------------------------------------------------------------------------------

    def _check_trust(self, old: Lease) -> None:
        """S3: whoever held a lease when it leaves his hands does not trust it any more."""
        owner = self._process_of(old.owner)
        term = None if owner is None else owner.holds(old.shard_id)
        if owner is not None and term is not None and term.epoch == old.epoch and owner.trusts:
            raise Violation(
                f"S3: {old.owner} still trusts {old.shard_id} under epoch {old.epoch}, which left its hands"
            )

    def _fenced(self, worker: WorkerId) -> None:
        process = self._process_of(worker)
        if process is None:
            return
        if process.trusts:
            raise Violation(f"S3: {worker} was fenced and trusts itself")
        if not process.is_stopped:
            self.counts["fences of running workers"] += 1
            self.counts["needless fences"] += process.weather.is_clear

    def _process_of(self, worker: WorkerId | None) -> Process | None:
        """The one that runs under this id."""
        process = None if worker is None else self.processes.get(worker.rpartition("-")[0])
        return process if process is not None and process.who() == worker else None

    # --- calm ----------------------------------------------------------------------------------------------------------

    def _clear_up(self) -> None:
        self._is_calm = True
        for process in self.living():
            process.weather.clear_up()
            process.resume_all()
        self.sink_is_fast()
        self.stream._failures.clear()
        if not any(not process.stop.is_set() for process in self.living()):
            self.start()

    async def _come_to_rest(self) -> None:
        """L1 and L2: every record is settled, every closed shard is done, every lease is owned."""
        began = self.loop.now
        while why := next(self._unfinished(), None):
            if self.loop.now > began + CALM_S:
                raise Violation(f"L: {CALM_S:g} s after the last fault {why}")
            await asyncio.sleep(0.05 * self.unit_s)
        self.rest_s = self.loop.now - began
        for key, count in self._produced.items():
            if count and self.sink.items.get(key) != count - 1:
                raise Violation(f"order: key {key} ends at {self.sink.items.get(key)}, not at {count - 1}")

    def _unfinished(self) -> Iterator[str]:
        if open_records := len(self.ledger.key) - len(self.ledger.settled):
            yield f"{open_records} records are open"
        living = {process.who() for process in self.living()}
        for log in self.stream._logs.values():
            shard = log.shard.shard_id
            lease = self.table.leases.get(leases.lease_key("stream", shard))
            if lease is None:
                yield f"{shard} has no lease"
            elif log.closed_at_s is not None and not lease.done:
                yield f"{shard} has not ended"
            elif log.closed_at_s is None and lease.owner not in living:
                yield f"{shard} has no living owner"
            elif (
                log.closed_at_s is None
                and log.records
                and lease.checkpoint.sequence_number < log.records[-1].sequence_number
            ):
                yield f"{shard} is not checkpointed to its end"

    async def _stop_all(self) -> None:
        for process in self.living():
            process.stop.set()
        tasks = [process.task for process in self.living()]
        if tasks and (await asyncio.wait(tasks, timeout=LONGEST_END_S))[1]:
            raise Violation(f"L: a worker goes on {LONGEST_END_S:g} s after it was told to stop")
        states = {row["sk"]: row["st"] for key, row in self.table.rows.items() if key.pk == membership.WORKERS}
        held = [x.shard_id for x in self.table.leases.values() if states.get(str(x.owner)) in membership.ALIVE]
        if held:
            raise Violation(f"L: after everybody stopped {held} belong to workers that seem to live")


class Quiet(RecordingObserver):
    """Remembers nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Forgetful()


class Forgetful(list[Any]):
    """Keeps nothing."""

    def append(self, _: Any) -> None:
        pass


def is_poison(sequence_number: int) -> bool:
    """The handler fails with it every time."""
    return sequence_number % 97 == 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@functools.cache
def prepare() -> None:
    """What this process needs before its first run: no logs, and fewer reads for one look at all leases."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=True)
    patch(leases, "BUCKETS", 2)
    remember_rows()


def limit_faults(faults: Sequence[Fault]) -> None:
    """From here on nothing else happens in this process."""
    patch(sys.modules[__name__], "FAULTS", tuple(faults))


def simulate(seed: int, tell: Callable[[str], None] | None = None) -> Fleet:
    """Play one seed; raises Violation, or whatever else went wrong."""
    prepare()
    forget_rows()
    loop = VirtualLoop()
    loop.set_exception_handler(_unasked)
    try:
        return loop.run_until_complete(_play(seed, loop, tell))
    finally:
        _close(loop)


async def _play(seed: int, loop: VirtualLoop, tell: Callable[[str], None] | None) -> Fleet:
    fleet = Fleet(seed, loop)
    if tell is not None:
        fleet.tell = fleet.table.told = lambda text: tell(f"{loop.now - BEGAN_S:9.3f} {text}")
    try:
        await fleet.play()
    except BaseExceptionGroup as group:
        raise _first(group) from group
    fleet.counts += fleet.table.counts
    fleet.counts["subscriptions"] = 0 if fleet.fan_out is None else len(fleet.fan_out.subscribed)
    fleet.counts["records settled"] = len(fleet.ledger.settled)
    fleet.counts["records buried"] = len(fleet._buried)
    return fleet


def _unasked(_: asyncio.AbstractEventLoop, __: dict[str, Any]) -> None:
    """Errors that nobody asks for are those of calls that were given up."""


def _close(loop: VirtualLoop) -> None:
    loop.closing = True
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks))
    loop.close()
