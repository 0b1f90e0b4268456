"""Delivery of one shard to a Lambda handler that carries a state through tumbling windows (`core/windows.py`).

One lane: what a state stands for is the records before it, in their order. The state changes in the same step in which
the records of its call are settled, so that it always belongs to the tracker's mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from headrace.core.backoff import delay_s
from headrace.core.lane import Lane
from headrace.core.portions import PortionRules
from headrace.core.verdict import HANDLER_BACKOFF
from headrace.core.windows import Windows, kept_at, window_key
from headrace.flow.delivery.intake import Intake, Taken
from headrace.flow.delivery.invoke import Invoker
from headrace.flow.delivery.lane_batch import LaneBatch, LaneWork
from headrace.flow.delivery.open_records import OpenRecord, Wanted, waiting
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.delivery.window_state import StateCarrier
from headrace.flow.persist import persist
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import Instant, Record
from headrace.ports import BatchHandler
from headrace.tasks import TaskGroup, is_set_within

LOOK_S: Final = 0.5
"""Between two looks at whether a window is over while no record comes."""


class WindowedDelivery:
    """Implements `delivery.Delivery`; `wake` is set when more may be due, `read_up_to_s` tells how far was read."""

    def __init__(
        self,
        term: Term,
        place: Workplace,
        settlement: Settlement,
        wake: asyncio.Event,
        handler: BatchHandler,
        read_up_to_s: Callable[[], float],
    ) -> None:
        self.moved = settlement.moved
        self._lease = term.lease
        self._place = place
        self._wake = wake
        self._read_up_to_s = read_up_to_s
        self._intake = Intake(term.lease, place, settlement, handler)
        self._lane: Lane[Taken] = Lane(place.rules.batch, self._intake.limit)
        self._windows = Windows(term.lease.shard_id, int(place.rules.lanes.tumbling_s))
        self._carrier = StateCarrier(self._windows)
        portions = PortionRules(place.rules.retry, place.rules.lanes.bisect)
        self._work = LaneWork(place.ports, portions, Invoker(term, place, handler), settlement)
        self._tasks = TaskGroup()
        self._batch: LaneBatch | None = None
        self._is_closing_window = False

    async def resume(self) -> None:
        """Go on with the window that belongs to the checkpoint."""
        ports, key = self._place.ports, window_key(self._place.label, self._lease.shard_id)
        row = await persist("read_window", lambda: ports.table.get(key), ports.chance)
        self._windows.kept = kept_at(row, self._lease.checkpoint) or self._windows.kept

    @property
    def kept(self) -> str:
        """The open window and its state, which belong to the tracker's mark at any moment."""
        return self._windows.stored

    @property
    def waiting(self) -> int:
        """None: every record is known to the tracker as soon as it is taken in."""
        return 0

    @property
    def retrying(self) -> int:
        """Open records of a batch of which a call failed."""
        return self._batch.retrying if self._batch is not None else 0

    @property
    def oldest_waiting_arrival_s(self) -> None:
        """None, likewise."""
        return None

    @property
    def is_idle(self) -> bool:
        """Nothing is left to be handled, and no window is open."""
        return not self._is_busy and not len(self._lane) and self._windows.kept.open is None

    @property
    def _is_busy(self) -> bool:
        return self._batch is not None or self._is_closing_window

    def find(self, wanted: Wanted) -> Iterator[OpenRecord]:
        """In a batch, or in none yet."""
        if self._batch is not None:
            yield from self._batch.find(wanted)
        yield from waiting((taken.record.record for taken in self._lane), wanted)

    def take_in(self, records: list[Record]) -> None:
        """The records of a page."""
        now = self._place.ports.clock.now()
        for taken in self._intake.take_in(records):
            self._lane.add(taken, taken.size, now)

    def next_due(self) -> Instant | None:
        """When a batch is due, or an open window is worth a look."""
        if self._is_busy:
            return None
        due = self._lane.due_at()
        if self._windows.kept.open is None:
            return due
        look = Instant(self._place.ports.clock.now() + LOOK_S)
        return look if due is None else min(due, look)

    async def deliver_due(self, now: Instant, *, ended: bool) -> bool:
        """Begin the next batch, or the last call of a window."""
        if self._is_busy:
            return False
        if self._windows.is_overfull:
            return self._begin_to_close(is_early=True)
        first = self._lane.first()
        if self._is_window_over(first, ended=ended):
            return self._begin_to_close(
                is_early=ended and first is None and not self._windows.is_over(self._read_up_to_s())
            )
        due = self._lane.due_at()
        if first is None or due is None or (due > now and not ended):
            return False
        self._begin(first)
        return True

    def _is_window_over(self, first: Taken | None, *, ended: bool) -> bool:
        opened = self._windows.kept.open
        if opened is None:
            return False
        if first is not None:
            return self._windows.start_of(first.record.record) > opened.start_s
        return ended or self._windows.is_over(self._read_up_to_s())

    def _begin(self, first: Taken) -> None:
        start_s = self._windows.start_of(first.record.record)
        if self._windows.kept.open is None:
            self._windows.begin(start_s)
        batch = self._lane.take(lambda taken: self._windows.start_of(taken.record.record) == start_s)
        self._batch = LaneBatch(self._work, batch, self._carrier)
        self._tasks.create_task(self._work_off(self._batch), name=f"{self._lease.shard_id}-window")

    async def _work_off(self, batch: LaneBatch) -> None:
        try:
            await batch.run()
        except BaseException:
            self._work.closing.set()  # nothing begins any more
            raise
        self._batch = None
        self._wake.set()

    def _begin_to_close(self, *, is_early: bool) -> bool:
        self._is_closing_window = True
        self._tasks.create_task(self._close(is_early=is_early), name=f"{self._lease.shard_id}-window-end")
        return True

    async def _close(self, *, is_early: bool) -> None:
        """Make the last call of the open window until it succeeds, or a stop was asked for: the shard waits for it."""
        failures = 0
        while not self._work.closing.is_set():
            if await self._carrier.make_last_call(self._work.invoker, is_early=is_early):
                self._windows.end(early=is_early)
                self.moved.set()
                break
            failures += 1
            self._place.ports.observer.record_retried(self._lease.shard_id)
            await is_set_within(self._work.closing, delay_s(failures, self._place.ports.chance(), HANDLER_BACKOFF))
        self._is_closing_window = False
        self._wake.set()

    async def settle(self) -> None:
        """Work off batches, for ever. Raises LeaseLost."""
        async with self._tasks:
            await asyncio.get_running_loop().create_future()

    async def all_settled(self) -> None:
        """Begin no call any more, and wait until one under way is settled."""
        self._work.closing.set()
        while self._is_busy:
            self._wake.clear()
            await self._wake.wait()

    def abandon(self) -> None:
        """Nothing is on its way once the calls were cancelled."""
