"""What a simulated fleet lives in: a table, a stream and a sink that watch every step and know the rules.

The invariants are those of the lease protocol. Each is checked at the moment at which it could be broken.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.core import lease_rows, leases, membership
from headrace.errors import AwsError, LeaseLost, Throttled, Unavailable
from headrace.model import Checkpoint, DeadLetter, Effect, Instant, Lease, Permit, Put, ShardId, WorkerId
from headrace.ports import Refusal
from headrace.rows import Applied, Key, Outcome, Request, Row, TransactionOutcome, UpdateRow
from headrace.testing.lease_table import MemoryLeaseTable
from headrace.testing.stream import MemoryStream

SUSPENSION_COUNTS = True
"""Whether the workers' clocks go on while they are stopped, as CLOCK_BOOTTIME does."""

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Violation(AssertionError):
    """An invariant was broken."""


@dataclass
class RateClock:
    """A clock that runs fast or slow, from an offset of its own."""

    rate: float = 1.0
    offset: float = 0.0
    weather: Weather | None = None

    def now(self) -> Instant:
        real = asyncio.get_running_loop().time()
        if self.weather is not None and not SUSPENSION_COUNTS:
            real -= self.weather.suspended_s(real)
        return Instant(self.offset + real * self.rate)

    def wall(self) -> datetime:
        real = asyncio.get_running_loop().time()
        if self.weather is not None and not SUSPENSION_COUNTS:
            real -= self.weather.suspended_s(real)
        return EPOCH + timedelta(seconds=real)


@dataclass
class Ledger:
    """Every record, what became of it, and who wrote what under which epoch."""

    order: dict[ShardId, list[int]] = field(default_factory=lambda: defaultdict(list))
    number: dict[int, int] = field(default_factory=dict)
    """Number within its key, by sequence number; poison has none, for it takes no effect in the order of its key."""
    key: dict[int, str] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    passed: dict[ShardId, int] = field(default_factory=lambda: defaultdict(int))
    """How many of a shard's records the checkpoint has passed."""
    first_written: dict[str, int] = field(default_factory=dict)
    """Highest number of each key that was written or buried."""

    def settle(self, sequence_number: int) -> None:
        """Written or buried, maybe not for the first time."""
        if sequence_number in self.settled:
            return
        if sequence_number not in self.number:
            self.settled.add(sequence_number)
            return
        key, number = self.key[sequence_number], self.number[sequence_number]
        expected = self.first_written.get(key, -1) + 1
        if number != expected:
            raise Violation(f"order: record {number} of key {key} took effect before {expected}")
        self.first_written[key] = number
        self.settled.add(sequence_number)

    def check_passed(self, shard: ShardId, checkpoint: Checkpoint) -> None:
        """S6: whatever a checkpoint passes is settled."""
        order = self.order[shard]
        position = self.passed[shard]
        while position < len(order) and (checkpoint.rank > 0 or order[position] <= checkpoint.sequence_number):
            if order[position] not in self.settled:
                raise Violation(f"S6: the checkpoint of {shard} passed a record that is neither written nor buried")
            position += 1
        self.passed[shard] = position


class WatchedTable(MemoryLeaseTable):
    """The lease table; every applied write is held against the invariants."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.history: dict[Key, list[tuple[float, Row | None]]] = defaultdict(list)
        self._ledger = ledger

    def _write(self, request: Request) -> Applied:
        before = self.rows.get(request.key)
        applied = super()._write(request)
        after = self.rows.get(request.key)
        self.history[request.key].append((asyncio.get_running_loop().time(), after))
        if request.key.pk.startswith("L#"):
            self._check_lease(before, after)
        elif request.key.pk == membership.WORKERS and before is not None and after is not None:
            self._check_worker(before, after)
        return applied

    def stale(self, pk: str, chance: random.Random, longest_lag_s: float) -> list[Row]:
        """What an eventually consistent read may show: each row as it was a moment ago, each with its own lag."""
        now = asyncio.get_running_loop().time()
        rows = []
        for key in sorted(key for key in self.history if key.pk == pk):
            seen_at = now - chance.random() * longest_lag_s
            row = None
            for at, version in self.history[key]:
                if at > seen_at:
                    break
                row = version
            if row is not None:
                rows.append(row)
        return rows

    def _check_worker(self, before: Row, after: Row) -> None:
        if before["st"] in {membership.FENCED, membership.LEFT} and after["st"] in {
            membership.LIVE,
            membership.LEAVING,
        }:
            raise Violation(f"S2: worker {after['sk']} came back from the dead")
        if after["st"] == membership.FENCED and before["st"] != membership.FENCED:
            self.counts["fences"] += 1

    def _check_lease(self, before: Row | None, after: Row | None) -> None:
        if before is None or after is None:
            return
        old, new = lease_rows.lease_of(before), lease_rows.lease_of(after)
        self._check_epoch(old, new)
        if new.checkpoint < old.checkpoint:
            raise Violation(f"S4: the checkpoint of {new.shard_id} went back under epoch {new.epoch}")
        if old.done:
            raise Violation(f"S1: the finished lease of {new.shard_id} was changed")
        self._ledger.check_passed(new.shard_id, new.checkpoint)

    def _check_epoch(self, old: Lease, new: Lease) -> None:
        if new.owner is not None and new.owner != old.owner:
            if new.epoch != old.epoch + 1:
                raise Violation(f"S1: {new.shard_id} changed hands from epoch {old.epoch} to {new.epoch}")
            self._check_consent(old, new)
            self.counts["handoffs" if old.owner is not None and old.wanted_by == new.owner else "takes"] += 1
        elif new.epoch not in {old.epoch, old.epoch + 1}:
            raise Violation(f"S1: the epoch of {new.shard_id} jumped from {old.epoch} to {new.epoch}")

    def _check_consent(self, old: Lease, new: Lease) -> None:
        """S2: a lease leaves a worker that lives only by its own hand; a handoff is the only such write."""
        if old.owner is None or old.wanted_by == new.owner:
            return
        row = self.rows.get(membership.worker_key(old.owner))
        if row is None or row["st"] in {membership.LIVE, membership.LEAVING}:
            raise Violation(f"S2: {new.shard_id} was taken from {old.owner}, which was not fenced")


@dataclass
class WatchedSink:
    """Applies writes after a while, and checks at that moment that the writer still owns the shard."""

    table: WatchedTable
    ledger: Ledger
    stream: str
    chance: random.Random
    items: dict[str, int] = field(default_factory=dict)
    """The last number written for each key."""
    latency_s: float = 0.05
    longest_s: float = 3.0

    def check_right(self, shard: ShardId, worker: WorkerId | None, epoch: int) -> None:
        """S3 and S5.

        A worker that adopted its own lease may still have a call of the last epoch under way: one sink sends both, and
        keeps them in order.
        """
        row = self.table.rows.get(leases.lease_key(self.stream, shard))
        if row is None:
            return
        lease = lease_rows.lease_of(row)
        if lease.owner != worker or epoch > lease.epoch:
            raise Violation(
                f"S3: a write of {worker} under epoch {epoch} reached {shard}, which is {lease.owner}'s at {lease.epoch}"
            )
        for parent in lease.parents:
            above = self.table.rows.get(leases.lease_key(self.stream, parent))
            if above is not None and not lease_rows.lease_of(above).done:
                raise Violation(f"S5: a record of {shard} was written before its parent {parent} was done")


@dataclass
class SinkOfWorker:
    """One worker's way to the sink: writes carry the sequence number, and so tell shard and order."""

    sink: WatchedSink
    worker: Any = None
    alive: bool = True
    lines: dict[ShardId, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """Submissions of each shard that are not durable: writes to one key never overtake each other."""

    def submit(self, writes: Sequence[tuple[int, Effect]], permit: Permit) -> asyncio.Future[Mapping[int, Refusal]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Mapping[int, Refusal]] = loop.create_future()
        incarnation = self.worker.incarnation
        records = [effect.item["record"] for _, effect in writes if isinstance(effect, Put)]
        shard = ShardId(records[0].shard_id)
        terms = incarnation._holdings.terms
        epoch = terms[shard].epoch if shard in terms else -1
        line = self.lines[shard]
        line.append((future, records, permit, (shard, incarnation.me, epoch)))
        if len(line) == 1:
            self._try(line)
        return future

    def _try(self, line: list[Any]) -> None:
        """Ask for the permit, then be under way for a while, at most for the longest time a call may take."""
        if not self.alive:
            return
        while line:
            future, _, permit, _ = line[0]
            if not future.done() and permit():
                way = min(self.sink.chance.expovariate(1 / self.sink.latency_s), self.sink.longest_s)
                asyncio.get_running_loop().call_later(way, self._arrive, line)
                return
            line.pop(0)
            if not future.done():
                future.set_exception(LeaseLost("no permit"))

    def _arrive(self, line: list[Any]) -> None:
        if self.sink.chance.random() < 0.05:
            asyncio.get_running_loop().call_later(0.1, self._try, line)
            return
        future, records, _, right = line.pop(0)
        self.sink.check_right(*right)
        for record in records:
            self.sink.ledger.settle(record.sequence_number)
            self.sink.items[record.partition_key] = self.sink.ledger.number[record.sequence_number]
        if not future.done() and self.alive:
            future.set_result({})
        self._try(line)


@dataclass
class Graveyard:
    """Dead letters; sometimes down."""

    ledger: Ledger
    chance: random.Random
    letters: set[int] = field(default_factory=set)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        await asyncio.sleep(0.02)
        if self.chance.random() < 0.2:
            raise Unavailable("the dead letters are down")
        for letter in letters:
            self.letters.add(letter.record.sequence_number)
            self.ledger.settle(letter.record.sequence_number)


@dataclass
class Weather:
    """What may happen to the calls of one worker right now; probabilities are per call."""

    lose: float = 0.0
    mute: float = 0.0
    throttle: float = 0.0
    repeat: float = 0.0
    stale_s: float = 0.0
    frozen: asyncio.Event | None = None
    """While set up and not set: the worker is stopped, nothing leaves it and nothing arrives."""
    blind: bool = False
    """Kinesis cannot be reached."""
    frozen_at: float = 0.0
    frozen_s: float = 0.0

    def freeze(self) -> None:
        self.frozen, self.frozen_at = asyncio.Event(), asyncio.get_running_loop().time()

    def thaw(self) -> None:
        if self.frozen is not None:
            self.frozen_s += asyncio.get_running_loop().time() - self.frozen_at
            self.frozen.set()
            self.frozen = None

    def suspended_s(self, now: float) -> float:
        """How long it was stopped, until now."""
        return self.frozen_s + (now - self.frozen_at if self.frozen is not None else 0.0)


class Wire:
    """One worker's way to the table, through its weather."""

    def __init__(self, table: WatchedTable, weather: Weather, chance: random.Random) -> None:
        self.alive = True
        self._table = table
        self._weather = weather
        self._chance = chance

    async def apply(self, request: Request) -> Outcome:
        return await self._send(lambda: self._table.apply(request), changes=True)

    async def apply_each(self, requests: Sequence[UpdateRow]) -> list[Outcome | AwsError]:
        members = tuple(requests)
        return await self._send(lambda: self._table.apply_each(members), changes=True)

    async def transact(self, requests: Sequence[Request], token: str) -> TransactionOutcome:
        members = tuple(requests)
        return await self._send(lambda: self._table.transact(members, token), changes=True)

    async def query(self, pk: str) -> list[Row]:
        await self._send(lambda: self._table.query(pk), changes=False)
        return self._table.stale(pk, self._chance, self._weather.stale_s)

    async def get(self, key: Key) -> Row | None:
        return await self._send(lambda: self._table.get(key), changes=False)

    async def _send(self, call: Any, *, changes: bool) -> Any:
        weather, chance = self._weather, self._chance
        await self._thaw()
        await asyncio.sleep(chance.uniform(0.001, 0.02))
        if not self.alive or chance.random() < weather.lose:
            await asyncio.sleep(0.5)
            raise Unavailable("the request was lost")
        if chance.random() < weather.throttle:
            raise Throttled("slow down")
        if changes and chance.random() < weather.repeat:
            asyncio.get_running_loop().call_later(chance.uniform(0.1, 30.0), self._again, call)
        answer = await call()
        await asyncio.sleep(chance.uniform(0.001, 0.02))
        await self._thaw()
        if chance.random() < weather.mute:
            await asyncio.sleep(0.5)
            raise Unavailable("the answer was lost")
        return answer

    def _again(self, call: Any) -> None:
        """A copy of the request arrives late."""
        task = asyncio.get_running_loop().create_task(call())
        task.add_done_callback(_look)

    async def _thaw(self) -> None:
        if self._weather.frozen is not None:
            await self._weather.frozen.wait()


def _look(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None and isinstance(error, Violation):
        asyncio.get_running_loop().call_exception_handler({"message": str(error), "exception": error})


class View:
    """One worker's view of the stream, through its weather."""

    def __init__(self, stream: MemoryStream, weather: Weather, chance: random.Random) -> None:
        self._stream = stream
        self._weather = weather
        self._chance = chance

    async def describe(self) -> Any:
        return await self._stream.describe()

    async def list_shards(self) -> Any:
        await self._pass()
        return await self._stream.list_shards()

    async def iterator(self, shard: Any, after: Any) -> str:
        await self._pass()
        return await self._stream.iterator(shard, after)

    async def get_records(self, iterator: str, limit: int, shard: ShardId) -> Any:
        await self._pass()
        return await self._stream.get_records(iterator, limit, shard)

    async def _pass(self) -> None:
        if self._weather.frozen is not None:
            await self._weather.frozen.wait()
        await asyncio.sleep(self._chance.uniform(0.001, 0.03))
        if self._weather.blind:
            await asyncio.sleep(1.0)
            raise Unavailable("kinesis cannot be reached")
