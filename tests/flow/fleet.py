"""A fleet of real workers on in-memory ports, in the virtual time of the event loop."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from headrace.core import lease_rows, membership
from headrace.core.pacing import PaceRules
from headrace.core.tenure import LeaseTiming
from headrace.core.verdict import RetryRules
from headrace.errors import AwsError, Unavailable
from headrace.flow.incarnation import WorkerRules
from headrace.flow.worker import Worker
from headrace.flow.workplace import ShardRules
from headrace.model import Checkpoint, Lease, Permit, Record, ShardId, TrimHorizon
from headrace.operations import Put
from headrace.ports import BatchHandler, Handler, Ports
from headrace.rows import Key, Outcome, Request, Row, TransactionOutcome, UpdateRow
from headrace.testing.aside import SameLoop
from headrace.testing.clock import LoopClock
from headrace.testing.dead_letters import MemoryDeadLetters
from headrace.testing.fan_out import MemoryFanOut
from headrace.testing.lease_table import MemoryLeaseTable
from headrace.testing.observer import RecordingObserver
from headrace.testing.sink import MemorySink
from headrace.testing.stream import MemoryStream
from headrace.testing.transactions import MemoryTransactions
from headrace.traces import Traces
from headrace.transactions import CommitOutcome, Transaction

TIMING = LeaseTiming.derived(10.0)
FAST_RETRY = RetryRules(maximum_attempts=2)


class Link:
    """One worker's way to the table. `fault` is asked before each call: None, "lost" (the request) or "unanswered"."""

    def __init__(self, table: MemoryLeaseTable) -> None:
        self.fault: Callable[[Any], str | None] = lambda _: None
        self._table = table

    async def apply(self, request: Request) -> Outcome:
        return await self._through(request, lambda: self._table.apply(request))

    async def apply_each(self, requests: Sequence[UpdateRow]) -> list[Outcome | AwsError]:
        return await self._through(tuple(requests), lambda: self._table.apply_each(requests))

    async def transact(self, requests: Sequence[Request], token: str) -> TransactionOutcome:
        return await self._through(tuple(requests), lambda: self._table.transact(requests, token))

    async def query(self, pk: str, *, consistent: bool = False) -> list[Row]:
        return await self._through(pk, lambda: self._table.query(pk, consistent=consistent))

    async def get(self, key: Key) -> Row | None:
        return await self._through(key, lambda: self._table.get(key))

    async def _through(self, what: Any, call: Callable[[], Awaitable[Any]]) -> Any:
        fault = self.fault(what)
        if fault == "lost":
            await asyncio.sleep(0.5)
            raise Unavailable("the request was lost")
        answer = await call()
        if fault == "unanswered":
            await asyncio.sleep(0.5)
            raise Unavailable("the answer was lost")
        return answer


class LinkedTransactions:
    """One worker's way to the tables, as one; it is asked for faults like the others, with the transaction."""

    def __init__(self, transactions: MemoryTransactions, link: Link) -> None:
        self._transactions = transactions
        self._link = link
        self.key, self.learn = transactions.key, transactions.learn

    async def commit(self, transaction: Transaction, permit: Permit) -> CommitOutcome:
        return await self._link._through(transaction, lambda: self._transactions.commit(transaction, permit))


@dataclass
class Call:
    """One call of a handler."""

    at: float
    worker: str
    record: Record


@dataclass
class Member:
    """One worker of the fleet."""

    name: str
    worker: Worker
    link: Link
    stop: asyncio.Event
    task: asyncio.Task[None]
    observer: RecordingObserver


@dataclass
class Fleet:
    """Everything the workers share, and what they did."""

    stream: MemoryStream
    clock: LoopClock
    table: MemoryLeaseTable = field(default_factory=MemoryLeaseTable)
    sink: MemorySink = field(default_factory=MemorySink)
    letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    calls: list[Call] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    fan_out: MemoryFanOut | None = None
    transactions: MemoryTransactions = field(init=False)
    produced: int = 0
    look_s: float = 0.01
    """How often `until` looks, in virtual time: each look costs real time."""
    newest: dict[ShardId, int] = field(default_factory=dict)
    """Sequence number of the last record put, by shard."""

    def __post_init__(self) -> None:
        self.transactions = MemoryTransactions(self.sink, self.table)

    def start(
        self,
        name: str = "w",
        handle: Callable[[Record], Any] | None = None,
        *,
        is_async: bool = False,
        handle_batch: BatchHandler | None = None,
        transactional: bool = False,
        traces: Traces | None = None,
        shard: ShardRules | None = None,
        **rules: Any,
    ) -> Member:
        """Start a worker; `handle` is called after the call was noted. `handle_batch` takes its place."""
        observer, link, stop = RecordingObserver(), Link(self.table), asyncio.Event()
        handle = handle or put_item

        def call(record: Record) -> Any:
            self.calls.append(Call(self.clock.now(), name, record))
            return handle(record)

        ports = Ports(
            stream=self.stream,
            table=link,
            sink=self.sink,
            dead_letters=self.letters,
            handler=handle_batch or Handler("test", call, is_async=is_async),
            observer=observer,
            clock=self.clock,
            chance=self.chance.random,
            aside=SameLoop(link),
            nudge=self._nudge,
            fan_out=self.fan_out,
            transactions=LinkedTransactions(self.transactions, link) if transactional else None,
            traces=traces,
        )
        base = WorkerRules(name=name, stream="stream", start=TrimHorizon(), timing=TIMING)
        whole = replace(base, shard=shard or ShardRules(retry=FAST_RETRY), **rules)
        worker = Worker(ports, whole)
        worker.address = name
        task = asyncio.create_task(self._run(worker, stop), name=name)
        self.members[name] = Member(name, worker, link, stop, task, observer)
        return self.members[name]

    async def _run(self, worker: Worker, stop: asyncio.Event) -> None:
        await worker.run(stop, await self.stream.describe())

    async def _nudge(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            if address in self.members:
                self.members[address].worker.nudged()

    async def stop(self, *names: str) -> None:
        """Ask for a graceful stop and wait for it."""
        for name in names or list(self.members):
            self.members[name].stop.set()
            await self.members[name].task
            del self.members[name]

    async def kill(self, name: str) -> None:
        """The process is gone: nothing more leaves it, no goodbye."""
        member = self.members.pop(name)
        member.link.fault = lambda _: "lost"
        member.task.cancel()
        await asyncio.wait([member.task])

    def put(self, count: int, keys: int = 10) -> None:
        """Records that hold their number; the key is the number modulo `keys`."""
        for _ in range(count):
            placed = self.stream.put(f"k{self.produced % keys}", str(self.produced).encode())
            self.newest[placed.shard_id] = placed.sequence_number
            self.produced += 1

    async def until(self, condition: Callable[[], Any], within_s: float = 120.0) -> None:
        """Let virtual time pass until the condition holds."""
        deadline = self.clock.now() + within_s
        while not condition():
            for member in self.members.values():
                if member.task.done():
                    await member.task
            assert self.clock.now() < deadline, f"not within {within_s:g} s: {self.leases()}"
            await asyncio.sleep(self.look_s)

    @property
    def written(self) -> list[int]:
        """The numbers in the order of their writes."""
        return [effect.item["n"] for effect in self.sink.written if isinstance(effect, Put)]

    def all_written(self) -> bool:
        return set(self.written) | {int(letter.record.data) for letter in self.letters.letters} == set(
            range(self.produced)
        )

    def leases(self) -> dict[ShardId, Lease]:
        rows = [row for key, row in self.table.rows.items() if key.pk.startswith("L#")]
        return {lease.shard_id: lease for lease in map(lease_rows.lease_of, rows)}

    def states(self) -> dict[str, str]:
        """State of every worker row, by the worker's name."""
        return {
            str(row["name"]): str(row["st"]) for key, row in self.table.rows.items() if key.pk == membership.WORKERS
        }

    def by_key(self) -> dict[str, list[int]]:
        """Numbers in the order of their handling, by partition key."""
        found: dict[str, list[int]] = defaultdict(list)
        for call in self.calls:
            found[call.record.partition_key].append(int(call.record.data))
        return found

    def last_checkpoints_reached(self) -> bool:
        found = self.leases()
        return found.keys() >= self.newest.keys() and all(
            found[shard].done or found[shard].checkpoint == Checkpoint.at(number)
            for shard, number in self.newest.items()
        )


def put_item(record: Record) -> Put:
    """The handler of most tests."""
    return Put({"pk": str(record.sequence_number), "key": record.partition_key, "n": int(record.data)})


@asynccontextmanager
async def fleet(shards: int = 1, **stream: Any):
    """An empty fleet; whatever still runs at the end is killed."""
    clock = LoopClock()
    found = Fleet(MemoryStream(clock, shards, **stream), clock)
    try:
        yield found
    finally:
        for name in list(found.members):
            await found.kill(name)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


RULES = ShardRules(retry=FAST_RETRY, pace=PaceRules(0.5))
