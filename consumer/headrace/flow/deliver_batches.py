"""Delivery of one shard to a batch or Lambda handler, in lanes.

Records are spread over the lanes by partition key. A lane closes them into batches and works on one batch at a time, as
the machine in `core/batch_in_progress.py` has it: call, partial success, bisect, retry, burial. Lanes go on beside each
other; the tracker keeps the checkpoint at the lowest record that is open in any of them.
"""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from headrace.core.lane import EventLimit, Lane, lane_of
from headrace.core.portions import PortionRules
from headrace.flow.bury import Cause
from headrace.flow.consignment import Waiting
from headrace.flow.invoke import Invoker
from headrace.flow.lane_batch import LaneBatch, LaneWork
from headrace.flow.settlement import Settlement
from headrace.flow.sieve import Sieve
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import Instant, Record
from headrace.ports import BatchHandler
from headrace.tasks import TaskGroup

Taken: TypeAlias = tuple[Waiting, Cause | None]
"""A record in a lane, and why it will be buried without a call, if it will."""


class BatchDelivery:
    """Implements `delivery.Delivery`; `wake` is set when more may be due."""

    def __init__(
        self, term: Term, place: Workplace, settlement: Settlement, wake: asyncio.Event, handler: BatchHandler
    ) -> None:
        self.moved = settlement.moved
        self._shard = term.lease.shard_id
        self._clock = place.ports.clock
        self._sieve = Sieve(self._shard, place)
        self._settlement = settlement
        self._wake = wake
        self._size_of = handler.size_of
        rules = place.rules.lanes
        # the comma that `size_of` counts for every record is not there before the first one
        self._limit = EventLimit(rules.bytes, handler.overhead - 1) if handler.size_of is not None else EventLimit()
        self._lanes: list[Lane[Taken]] = [Lane(place.rules.batch, self._limit) for _ in range(rules.count)]
        portions = PortionRules(place.rules.retry, rules.bisect)
        self._work = LaneWork(place.ports, portions, Invoker(term, place, handler), settlement)
        self._tasks = TaskGroup()
        self._batches: dict[int, LaneBatch] = {}
        """What is in progress, by lane."""

    @property
    def waiting(self) -> int:
        """None: every record is known to the tracker as soon as it is taken in."""
        return 0

    @property
    def retrying(self) -> int:
        """Open records of batches of which a call failed."""
        return sum(batch.retrying for batch in self._batches.values())

    @property
    def oldest_waiting_arrival_s(self) -> float | None:
        """None, likewise."""
        return None

    @property
    def is_idle(self) -> bool:
        """No lane has anything to do."""
        return not self._batches and not any(self._lanes)

    def take_in(self, records: list[Record]) -> None:
        """The records of a page."""
        now = self._clock.now()
        span = self._settlement.admit(records)
        sifted = self._sieve.filter(dict(enumerate(records)))
        batch = [Waiting(span, index, record) for index, record in enumerate(records)]
        if sifted.left_out:
            self._settlement.leave_out([batch[index] for index in sorted(sifted.left_out)])
        for one in batch:
            if one.index not in sifted.left_out:
                self._assign(one, sifted.causes.get(one.index), now)

    def _assign(self, one: Waiting, cause: Cause | None, now: Instant) -> None:
        size = 0 if self._size_of is None or cause is not None else self._size_of(one.record)
        if self._limit.bytes is not None and self._limit.is_too_large(size):
            cause, size = Cause.too_large(self._limit.overhead + size, self._limit.bytes), 0
        self._lanes[lane_of(one.record.partition_key, len(self._lanes))].add((one, cause), size, now)

    def next_due(self) -> Instant | None:
        """When a lane that is free has a batch to begin."""
        free = (lane.due_at() for number, lane in enumerate(self._lanes) if number not in self._batches)
        return min((due for due in free if due is not None), default=None)

    async def deliver_due(self, now: Instant, *, ended: bool) -> bool:
        """Begin every batch that is due in a free lane."""
        began = False
        for number, lane in enumerate(self._lanes):
            due = None if number in self._batches else lane.due_at()
            if due is not None and (due <= now or ended):
                self._batches[number] = batch = LaneBatch(self._work, lane.take())
                self._tasks.create_task(self._work_off(number, batch), name=f"{self._shard}-lane-{number}")
                began = True
        return began

    async def _work_off(self, number: int, batch: LaneBatch) -> None:
        await batch.run()
        del self._batches[number]
        self._wake.set()

    async def settle(self) -> None:
        """Work off batches, for ever. Raises LeaseLost."""
        async with self._tasks:
            await asyncio.get_running_loop().create_future()

    async def all_settled(self) -> None:
        """Begin no call any more, and wait until those under way are settled."""
        self._work.closing.set()
        while self._batches:
            self._wake.clear()
            await self._wake.wait()

    def abandon(self) -> None:
        """Nothing is on its way once the calls were cancelled."""
