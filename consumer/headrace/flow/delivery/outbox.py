"""Writes of single records on their way to the sink, settled as the answers come, in whatever order that is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Protocol, TypeAlias

from headrace.core.record_order import order_of
from headrace.flow.delivery.burial import Cause
from headrace.flow.delivery.consignment import Waiting, Writes
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.in_flight import InFlight
from headrace.flow.term import Term
from headrace.model import TRIM_HORIZON, Checkpoint
from headrace.ports import Refusal, Sink

Answer: TypeAlias = asyncio.Future[Mapping[int, Refusal]]


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """Something to be done in the order of records: bury one, or raise what the sink raised, before all others."""

    position: Checkpoint
    number: int
    what: tuple[Waiting, Cause] | BaseException = field(compare=False)


class Outgoing(Protocol):
    """Where handled records of one shard go."""

    def expect(self, records: Iterable[Waiting]) -> None:
        """The next records of the shard; each will be sent or given up."""

    async def send(self, record: Waiting, writes: Writes) -> None:
        """The writes of a record; it is settled when they are durable. Raises LeaseLost."""

    def give_up(self, record: Waiting, cause: Cause) -> None:
        """It will be buried."""

    async def run(self) -> None:
        """See what was handed over through, for ever. Raises LeaseLost."""

    async def emptied(self) -> None:
        """Wait until everything handed over so far is settled that can be."""

    def abandon(self) -> None:
        """Nobody will settle here what is still on its way."""


class Outbox:
    """Implements `Outgoing` over the sink: records are settled in any order."""

    def __init__(self, term: Term, sink: Sink, in_flight: InFlight, settlement: Settlement) -> None:
        self._term = term
        self._sink = sink
        self._in_flight = in_flight
        self._settlement = settlement
        self._answers: set[Answer] = set()
        self._to_bury: asyncio.PriorityQueue[Order] = asyncio.PriorityQueue()
        self._orders = count()

    def expect(self, records: Iterable[Waiting]) -> None:
        """Their order is nothing to it."""

    async def send(self, record: Waiting, writes: Writes) -> None:
        """Submit the writes of a record; it is settled when they are durable. Raises LeaseLost."""
        if not writes:
            self._settlement.settle([record])
            return
        await self._in_flight.reserve(len(writes), self._has_some)
        try:
            self._term.insist()
        except BaseException:
            self._in_flight.release(len(writes))
            raise
        generation = self._term.lease.generation
        answer = self._sink.submit(writes, self._term.permits, lambda _: order_of(generation, record.record))
        self._answers.add(answer)
        answer.add_done_callback(partial(self._answered, record, len(writes)))

    def give_up(self, record: Waiting, cause: Cause) -> None:
        """It will be buried."""
        position = Checkpoint.of(record.record)
        self._to_bury.put_nowait(Order(position, next(self._orders), (record, cause)))

    async def run(self) -> None:
        """Bury what has to be, for ever. Raises LeaseLost."""
        while True:
            order = await self._to_bury.get()
            if self._settlement.parked.is_wanted and self._answers:
                order = await self._first_after_answers(order)
            if isinstance(order.what, BaseException):
                raise order.what
            record, cause = order.what
            await self._settlement.bury([record], {0: cause})
            self._to_bury.task_done()

    async def _first_after_answers(self, order: Order) -> Order:
        """What has to be buried first once the writes under way were answered: a refusal may come before this one.

        A letter is confirmed only when everything that came before it is done with.
        """
        await self._answered_so_far()
        self._to_bury.put_nowait(order)
        self._to_bury.task_done()
        return self._to_bury.get_nowait()

    async def _answered_so_far(self) -> None:
        """Wait for the answers to what was sent until now."""
        if self._answers:
            await asyncio.wait(set(self._answers))

    async def emptied(self) -> None:
        """Wait until everything handed over so far is settled."""
        while self._answers:
            await asyncio.wait(self._answers)
        await self._to_bury.join()

    def abandon(self) -> None:
        """Nobody will settle here what is still on its way."""
        for answer in list(self._answers):
            answer.cancel()

    def _has_some(self) -> bool:
        return bool(self._answers)

    def _answered(self, record: Waiting, writes: int, answer: Answer) -> None:
        self._answers.discard(answer)
        self._in_flight.release(writes)
        if answer.cancelled():
            return
        if (error := answer.exception()) is not None:
            self._to_bury.put_nowait(Order(TRIM_HORIZON, next(self._orders), error))
        elif refusals := answer.result():
            self._settlement.parked.begin(record.record)
            first = next(iter(refusals.values()))
            self.give_up(record, Cause.refused(first, record.attempts + 1))
        else:
            self._settlement.settle([record])
