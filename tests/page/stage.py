"""Real workers on in-memory ports in real time, each with the page of its own that `headrace run` would serve."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from headrace.cli.page_actions import operator_actions
from headrace.core.state_words import Limits
from headrace.core.tenure import LeaseTiming
from headrace.core.verdict import RetryRules
from headrace.flow.clock import SystemClock
from headrace.flow.incarnation import WorkerRules
from headrace.flow.worker import Worker
from headrace.flow.workplace import ShardRules
from headrace.model import Record, TrimHorizon
from headrace.operations import Put
from headrace.ops.actions import AdminToken
from headrace.ops.api import Screen, add_screen
from headrace.ops.endpoints import bind
from headrace.ops.event_log import EventLog
from headrace.ops.fleet import FleetReader, Source
from headrace.ops.letter_shelf import LetterShelf
from headrace.ops.metrics import process_registry
from headrace.ops.reporting import EventWriter, Reporter
from headrace.ops.tally import Tally
from headrace.ports import Handler, Ports, nobody
from headrace.settings import load
from headrace.testing.aside import SameLoop
from headrace.testing.dead_letters import MemoryDeadLetters
from headrace.testing.lease_table import MemoryLeaseTable
from headrace.testing.sink import MemorySink
from headrace.testing.stream import MemoryStream

TOKEN = "correct-horse-battery-staple"
STALL_S = 10.0
SETTINGS = load(
    (), {"HEADRACE_APPLICATION": "orders", "HEADRACE_STREAM_NAME": "order-events", "HEADRACE_SINK_TABLE": "order-items"}
)


@dataclass
class Stage:
    """A stream, a table, and workers by name."""

    shards: int = 4
    token: str | None = None
    clock: SystemClock = field(default_factory=SystemClock)
    table: MemoryLeaseTable = field(default_factory=MemoryLeaseTable)
    letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    hangs: Callable[[Record], bool] = lambda _: False
    pages: dict[str, str] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    produced: int = 0
    calls: int = 0

    def __post_init__(self) -> None:
        self.stream = MemoryStream(self.clock, self.shards, name="order-events")

    def put(self, count: int, payload: Any = None, key: str = "") -> None:
        for _ in range(count):
            data = json.dumps({"n": self.produced}) if payload is None else payload
            self.stream.put(key or f"k{self.produced % 50}", data.encode())
            self.produced += 1

    async def handle(self, record: Record) -> Put:
        self.calls += 1
        if self.hangs(record):
            await self.held.wait()
        payload = record.json()
        if "poison" in payload:
            raise ValueError(f"cannot take {payload['poison']}")
        return Put({"pk": str(record.sequence_number)})

    @contextlib.asynccontextmanager
    async def worker(self, name: str) -> AsyncIterator[None]:
        """Start one; it stops with the context."""
        limits = Limits(self.stream.retention_s, lagging_s=60, stalled_s=STALL_S, silence_s=15)
        events = EventLog(name, self.clock)
        tally = Tally(process_registry(), self.clock, "order-events", limits=limits, events=events)
        ports = Ports(
            stream=self.stream,
            table=self.table,
            sink=MemorySink(),
            dead_letters=self.letters,
            handler=Handler("test", self.handle, is_async=True),
            observer=tally,
            clock=self.clock,
            chance=random.Random(name).random,
            aside=SameLoop(self.table),
        )
        rules = WorkerRules(
            name=name,
            stream="order-events",
            start=TrimHorizon(),
            timing=LeaseTiming.derived(5.0),
            shard=ShardRules(retry=RetryRules(maximum_attempts=0), drain_s=0.2),
            stall_s=STALL_S,
        )
        self.workers[name] = worker = Worker(ports, rules)
        tally.fleet = worker.fleet
        audit = EventWriter(self.table, self.clock, events, name)
        reporter = Reporter(self.table, self.clock, tally, audit, name, lambda: worker.me)
        source = Source(self.table, self.stream, "order-events", self.clock)
        reader = FleetReader(source, limits, reporter)
        shelf = LetterShelf(self.letters, "order-events", self.clock)
        app = web.Application()
        actions = operator_actions(SETTINGS, source, nobody, shelf)
        add_screen(app, Screen("orders", "order-events", reader, shelf, AdminToken(self.token), actions))
        stop, description = asyncio.Event(), await self.stream.describe()
        async with bind(app, "127.0.0.1", 0) as port, asyncio.TaskGroup() as tasks:
            self.pages[name] = f"http://127.0.0.1:{port}/"
            tasks.create_task(reporter.beside(worker.run(stop, description)))
            yield
            stop.set()

    def held_by(self, name: str) -> set[str]:
        """The shards in a worker's hands."""
        return {shard["shard_id"] for shard in self.workers[name].status()["shards"]}

    async def shared(self, *names: str) -> None:
        """Wait until every shard has an owner, and every worker has some."""
        async with asyncio.timeout(20):
            while not all(self.held_by(name) for name in names) or self._held() < self.shards:  # noqa: ASYNC110 - of workers that run by themselves
                await asyncio.sleep(0.05)

    async def buried(self, count: int) -> None:
        """Wait until so many dead letters are there."""
        async with asyncio.timeout(20):
            while len(self.letters.letters) < count:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.05)

    async def handled(self, count: int) -> None:
        """Wait until the handler was called so often."""
        async with asyncio.timeout(20):
            while self.calls < count:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.05)

    async def checkpointed(self) -> None:
        """Wait until every shard has a checkpoint: what is read again is told from it."""
        async with asyncio.timeout(20):
            while any(row["ck"] == "000" for row in self.table.rows.values() if "ck" in row):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.05)

    def _held(self) -> int:
        return sum(len(self.held_by(name)) for name in self.workers)
