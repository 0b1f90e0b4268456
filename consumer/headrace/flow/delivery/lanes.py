"""Delivery of one shard to a batch or Lambda handler, in lanes.

Records are spread over the lanes by partition key. A lane closes them into batches and works on one batch at a time, as
the machine in `core/batch_in_progress.py` has it: call, partial success, bisect, retry, burial. Lanes go on beside each
other; the tracker keeps the checkpoint at the lowest record that is open in any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from headrace.core.lane import Lane, lane_of
from headrace.core.portions import PortionRules
from headrace.flow.delivery.intake import BatchMates, Intake, Taken
from headrace.flow.delivery.invoke import Invoker
from headrace.flow.delivery.lane_batch import LaneBatch, LaneWork
from headrace.flow.delivery.open_records import OpenRecord, Wanted, waiting
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import Instant, Record
from headrace.ports import BatchHandler
from headrace.tasks import TaskGroup


class BatchDelivery:
    """Implements `delivery.Delivery`; `wake` is set when more may be due."""

    def __init__(
        self, term: Term, place: Workplace, settlement: Settlement, wake: asyncio.Event, handler: BatchHandler
    ) -> None:
        self.moved = settlement.moved
        self._shard = term.lease.shard_id
        self._clock = place.ports.clock
        self._wake = wake
        self._intake = Intake(term.lease, place, settlement, handler)
        rules = place.rules
        self._parks_keys = rules.parks_keys
        self._lanes: list[Lane[Taken]] = [Lane(rules.batch, self._intake.limit) for _ in range(rules.lanes.count)]
        portions = PortionRules(rules.retry, rules.lanes.bisect)
        self._work = LaneWork(place.ports, portions, Invoker(term, place, handler), settlement)
        self._tasks = TaskGroup()
        self._batches: dict[int, LaneBatch] = {}
        """What is in progress, by lane."""

    async def resume(self) -> None:
        """Nothing is kept beside the checkpoint."""

    @property
    def kept(self) -> None:
        """Likewise."""
        return None

    @property
    def waiting(self) -> int:
        """None: every record is known to the tracker as soon as it is taken in."""
        return 0

    @property
    def retrying(self) -> int:
        """Open records of batches of which a call failed."""
        return sum(batch.retrying for batch in self._batches.values())

    @property
    def oldest_waiting_arrival_s(self) -> None:
        """None, likewise."""
        return None

    @property
    def is_idle(self) -> bool:
        """No lane has anything to do."""
        return not self._batches and not any(self._lanes)

    def find(self, wanted: Wanted) -> Iterator[OpenRecord]:
        """In a batch, or in none yet."""
        for batch in self._batches.values():
            yield from batch.find(wanted)
        for lane in self._lanes:
            yield from waiting((taken.record.record for taken in lane), wanted)

    def take_in(self, records: list[Record]) -> None:
        """The records of a page."""
        now = self._clock.now()
        for taken in self._intake.take_in(records):
            lane = lane_of(taken.record.record.partition_key, len(self._lanes))
            self._lanes[lane].add(taken, taken.size, now)

    def next_due(self) -> Instant | None:
        """When a lane that is free has a batch to begin."""
        if self._work.closing.is_set():
            return None
        free = (lane.due_at() for number, lane in enumerate(self._lanes) if number not in self._batches)
        return min((due for due in free if due is not None), default=None)

    async def deliver_due(self, now: Instant, *, ended: bool) -> bool:
        """Begin every batch that is due in a free lane."""
        if self._work.closing.is_set():
            return False
        began = False
        for number, lane in enumerate(self._lanes):
            due = None if number in self._batches else lane.due_at()
            if due is not None and (due <= now or ended):
                self._batches[number] = batch = LaneBatch(
                    self._work, lane.take(BatchMates(parks_keys=self._parks_keys))
                )
                self._tasks.create_task(self._work_off(number, batch), name=f"{self._shard}-lane-{number}")
                began = True
        return began

    async def _work_off(self, number: int, batch: LaneBatch) -> None:
        try:
            await batch.run()
        except BaseException:
            self._work.closing.set()  # the others are being cancelled: none of them begins a call any more
            raise
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
