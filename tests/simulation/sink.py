"""Where the records of a simulated fleet end: a sink that knows who may write, and a store of dead letters."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from headrace.core import leases
from headrace.errors import LeaseLost, Unavailable
from headrace.model import DeadLetter, Permit, Record, ShardId, WorkerId
from headrace.operations import Effect, Put
from headrace.ports import OrderOf, Refusal, unordered
from simulation.ledger import Ledger, Violation
from simulation.network import Link
from simulation.table import WatchedTable


@dataclass
class WatchedSink:
    """Applies writes, and checks at that moment that the writer still owns the shard under its epoch (S3)."""

    table: WatchedTable
    ledger: Ledger
    stream: str
    longest_s: float
    """The longest time a call may take."""
    items: dict[str, int] = field(default_factory=dict)
    """The last number written for each key."""
    mean_s: float = 0.05
    """How long calls take."""

    def apply(self, records: Sequence[Record], right: Right) -> None:
        """The call has arrived."""
        self._check(right)
        for record in records:
            self.ledger.settle(record.sequence_number)
            self.items[record.partition_key] = self.ledger.number[record.sequence_number]

    def _check(self, right: Right) -> None:
        """Not even one that adopted its own lease may still have a call of the last epoch under way.

        An epoch that an operator put on is nobody's: until somebody adopts the lease, its owner is on the way out. With a
        lease that nobody owned an operator gives its epoch away, as a claim would: who waits for it may write under that.
        """
        lease = self.table.leases.get(leases.lease_key(self.stream, right.shard))
        if lease is None:
            return
        if (lease.owner, lease.epoch - self.table.put_on(right.shard)) != (right.worker, right.epoch):
            raise Violation(
                f"S3: a write of {right.worker} under epoch {right.epoch} reached {right.shard}, "
                f"which is {lease.owner}'s at {lease.epoch}"
            )


class Right(NamedTuple):
    """Under which lease a write was submitted."""

    shard: ShardId
    worker: WorkerId
    epoch: int


class Submission(NamedTuple):
    """Writes that are not durable yet."""

    future: asyncio.Future[Mapping[int, Refusal]]
    records: Sequence[Record]
    permit: Permit
    right: Right


class SinkOfWorker:
    """One worker's way to the sink: writes of a shard never overtake each other."""

    def __init__(self, sink: WatchedSink, link: Link, right: Callable[[ShardId], Right], rate: float) -> None:
        self._sink = sink
        self._link = link
        self._right = right
        self._longest_s = sink.longest_s / rate
        """Timeouts are measured with the worker's own clock."""
        self._lines: dict[ShardId, list[Submission]] = defaultdict(list)
        self._under_way: dict[Permit, asyncio.Future[bool]] = {}

    def submit(
        self, writes: Sequence[tuple[int, Effect]], permit: Permit, order: OrderOf = unordered
    ) -> asyncio.Future[Mapping[int, Refusal]]:
        future: asyncio.Future[Mapping[int, Refusal]] = self._link.loop.create_future()
        records = [effect.item["record"] for _, effect in writes if isinstance(effect, Put)]
        shard = ShardId(records[0].shard_id)
        line = self._lines[shard]
        line.append(Submission(future, records, permit, self._right(shard)))
        if len(line) == 1:
            self._try(line)
        return future

    async def calls_ended(self, permit: Permit) -> None:
        while (called := self._under_way.get(permit)) is not None:
            await asyncio.wait([called])

    def _try(self, line: list[Submission]) -> None:
        """Ask for the permit, then be under way for a while, at most for the longest time a call may take."""
        while line and self._link.is_up:
            submission = line[0]
            if not submission.future.done() and submission.permit():
                called = self._under_way[submission.permit] = self._link.loop.create_future()
                called.add_done_callback(partial(self._ended, submission.permit))
                called.add_done_callback(lambda done: self._answered(line, applied=done.result()))
                self._link.later(self._way_s(), self._arrive, submission, called)
                return
            line.pop(0)
            if not submission.future.done():
                submission.future.set_exception(LeaseLost("no permit"))

    def _ended(self, permit: Permit, _: object) -> None:
        del self._under_way[permit]

    def _way_s(self) -> float:
        mean_s, chance = self._sink.mean_s, self._link.chance
        if mean_s > self._longest_s / 4:
            return chance.uniform(0.7, 1.0) * self._longest_s
        return min(chance.expovariate(1 / mean_s), self._longest_s)

    def _arrive(self, submission: Submission, called: asyncio.Future[bool]) -> None:
        applied = self._link.chance.random() >= 0.05
        if applied:
            self._sink.apply(submission.records, submission.right)
        called.set_result(applied)

    def _answered(self, line: list[Submission], *, applied: bool) -> None:
        if not self._link.is_up:
            return
        if not applied:
            self._link.loop.call_later(0.1, self._try, line)
            return
        submission = line.pop(0)
        if not submission.future.done():
            submission.future.set_result({})
        self._try(line)


class Graveyard:
    """One worker's way to the dead letters; sometimes they are down."""

    def __init__(self, ledger: Ledger, link: Link, buried: set[int]) -> None:
        self._ledger = ledger
        self._link = link
        self._buried = buried

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        answer = self._link.loop.create_future()
        self._link.later(0.02, self._arrive, answer, [letter.record.sequence_number for letter in letters])
        await answer

    def _arrive(self, answer: asyncio.Future[Any], numbers: Sequence[int]) -> None:
        if not self._link.is_up or self._link.chance.random() < 0.2:
            error = Unavailable("the dead letters are down")
            if not answer.done():
                answer.set_exception(error)
            return
        for number in numbers:
            self._buried.add(number)
            self._ledger.settle(number)
        if not answer.done():
            answer.set_result(None)
