"""One shard's life, top to bottom: resume, fetch, batch, deliver, settle, checkpoint, finish.

Three tasks run beside the one that delivers: fetching takes records in within the worker's memory budget, settling
follows what is handled, checkpointing makes the tracker's mark durable. The first that fails ends them all.
The run ends in one of three ways: the shard was read to its end, the worker was asked to stop, or the lease was lost.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from headrace.core.tracker import Tracker
from headrace.errors import LeaseLost
from headrace.flow.delivery.burial import Burial
from headrace.flow.delivery.open_records import OpenRecord, Wanted
from headrace.flow.delivery.opening import open_delivery
from headrace.flow.delivery.parked_keys import Parked
from headrace.flow.shard.checkpoint import Checkpoints, SettledUpTo
from headrace.flow.shard.farewell import Farewell
from headrace.flow.shard.fetch import Fetcher
from headrace.flow.shard.finish import Finish
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import SHARD_END, TRIM_HORIZON, Checkpoint, Instant, Record, ShardId, WorkerId
from headrace.ports import ShardStatus
from headrace.tasks import TaskGroup, is_set_within

log = structlog.get_logger(__name__)

LONGEST_SPAN: Final = 50_000
"""Records beyond the mark at which a shard waits for the record that holds it: what a crash could repeat is bounded."""


class ShardRun:
    """The run of one shard under one term."""

    def __init__(self, term: Term, place: Workplace) -> None:
        self._term = term
        self._place = place
        self._farewell = Farewell(place.rules.drain_s)
        self._ended = False
        self._dropped = asyncio.Event()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._last_progress: Instant = place.ports.clock.now()
        self._last_settled: Instant = self._last_progress
        ports, lease = place.ports, term.lease
        self._tracker = Tracker(lease.checkpoint)
        self._marked = lease.checkpoint
        self._begins_anew = lease.replay > 0 and lease.checkpoint == TRIM_HORIZON
        self._first: Checkpoint | None = None
        """Where a reading that an operator wanted has its first record, until the lease's row tells of it."""
        self._told_first = lease.first_read
        self._fetcher = Fetcher(term, place, self._take_in, self._at_the_tip)
        self._checkpoints = Checkpoints(place.me, place.label, term, ports, self._reached)
        self._parked = Parked(term, place.label, ports, is_wanted=place.rules.parks_keys)
        burial = Burial(place.me, place.losses.description, term, ports, self._parked)
        self._delivery = open_delivery(
            term,
            place,
            self._tracker,
            burial,
            self._settled,
            self._wake,
            lambda: self._fetcher.reading.up_to_s,
            self._checkpoints,
        )

    @property
    def shard(self) -> ShardId:
        """Which one."""
        return self._term.lease.shard_id

    @property
    def is_reading(self) -> bool:
        """Whether it was neither asked to stop nor is held."""
        return not self._farewell.is_asked and self._fetcher.halted is None

    @property
    def is_asked_to_end(self) -> bool:
        """Whether it finishes what is in flight and begins nothing more."""
        return self._farewell.is_asked

    async def run(self) -> None:
        """Live until the shard ends, the worker stops, or the lease is lost (raises LeaseLost)."""
        self._place.ports.observer.shard_opened(self._term.lease.shard_id, self.status)
        try:
            await self._parked.resume()
            await self._delivery.resume()
            await self._process()
            await self._conclude()
        finally:
            self._term.end()
            self._delivery.abandon()
            self._fetcher.let_go(self._fetcher.held)
            self._place.ports.observer.shard_closed(self._term.lease.shard_id)

    def stop(self, heir: WorkerId | None = None) -> None:
        """Ask for a graceful end: no more fetching; what is in flight is finished, within `drain_s`.

        The lease is passed on to `heir` then, or released.
        """
        self._farewell.ask(heir)
        self._wake.set()

    def give_up(self) -> None:
        """Ask for a graceful end, after which other workers go first: this one gets nowhere."""
        self._farewell.ask(shun=True)
        self._wake.set()

    def drop(self) -> None:
        """The lease is under another epoch: no call may start any more, and the run ends at once as one that lost it."""
        self._term.end()
        self._dropped.set()

    @property
    def was_dropped(self) -> bool:
        """Whether it was an operator who ended it: handlers have ended with the run then, and only writes are under way."""
        return self._dropped.is_set()

    def find(self, wanted: Wanted) -> list[OpenRecord]:
        """What becomes of records that were read here and are not settled."""
        return list(self._delivery.find(wanted))

    @property
    def read_to(self) -> int:
        """Sequence number of the last record that was read, 0 for none."""
        position = self._fetcher.reading.position
        return position.sequence_number if isinstance(position, Checkpoint) and self._fetcher.reading.has_begun else 0

    def status(self) -> ShardStatus:
        """What it is doing at this moment."""
        return ShardStatus(
            shard_id=self._term.lease.shard_id,
            epoch=self._term.epoch,
            checkpoint=self._tracker.mark.encode(),
            open_records=self._tracker.open_records + self._delivery.waiting,
            retrying_records=self._delivery.retrying,
            oldest_open_arrival_s=self._oldest_open_arrival_s,
            behind_s=self._fetcher.reading.behind_s,
            last_progress=self._last_progress,
            last_settled=self._last_settled,
            held_by=self._tracker.oldest_open,
            halted=self._fetcher.halted,
        )

    @property
    def _oldest_open_arrival_s(self) -> float | None:
        oldest = self._tracker.oldest_open_arrival_s
        return self._delivery.oldest_waiting_arrival_s if oldest is None else oldest

    def _reached(self) -> SettledUpTo:
        """How far everything is settled: as a position, and as a time of day."""
        oldest = self._oldest_open_arrival_s
        up_to_s = self._fetcher.reading.up_to_s if oldest is None else oldest
        return SettledUpTo(self._tracker.mark, up_to_s, self._delivery.kept)

    async def _process(self) -> None:
        """Fetch, batch, deliver, settle and checkpoint, side by side, until there is nothing more to do here."""
        shard, rules = self._term.lease.shard_id, self._place.rules
        checkpoints = self._checkpoints.run(self._delivery.moved, rules.checkpoint_interval_s)
        try:
            async with TaskGroup() as tasks:
                beside = [
                    tasks.create_task(self._fetch(), name=f"{shard}-fetch"),
                    tasks.create_task(self._delivery.settle(), name=f"{shard}-settle"),
                    tasks.create_task(checkpoints, name=f"{shard}-checkpoint"),
                    tasks.create_task(self._until_dropped(), name=f"{shard}-watch"),
                ]
                await asyncio.sleep(0)  # they begin before anything is delivered
                await self._deliver_all()
                for task in beside:
                    task.cancel()
        except BaseExceptionGroup as failures:
            lost, others = failures.split(LeaseLost)
            if lost is None or others is not None:
                raise
            if not self._farewell.is_overdue:
                raise LeaseLost(f"{shard}: the lease was lost") from lost
        if self._farewell.is_overdue:
            await self._term.calls_ended()
        else:  # all is settled, though not every call may have been answered
            await self._term.writes_ended(self._place.ports.sink)

    async def _until_dropped(self) -> None:
        await self._dropped.wait()
        raise LeaseLost(f"{self.shard}: its row shows a later epoch")

    async def _fetch(self) -> None:
        await self._fetcher.run(lambda: not self._farewell.is_asked, self._room)
        if not self._farewell.is_asked:
            self._ended = True
            self._wake.set()

    def _at_the_tip(self) -> None:
        if not (self._tracker.open_records or self._delivery.waiting):
            self._last_progress = self._last_settled = self._place.ports.clock.now()
        if self._begins_anew and self._told_first is None:
            self._first = SHARD_END
            self._wake.set()

    def _take_in(self, records: list[Record]) -> None:
        if self._begins_anew:
            self._first, self._begins_anew = Checkpoint.of(records[0]), False
        self._delivery.take_in(records)
        self._update_room()
        self._wake.set()

    async def _deliver_all(self) -> None:
        """Deliver and settle to the end of the shard, or until a stop has had its time."""
        farewell = self._farewell
        async with farewell.bounds():
            while not (farewell.is_asked or self._all_delivered()):
                await self.deliver_next()
            await self._delivery.all_settled()
        if farewell.is_overdue:
            log.warning("drain_timed_out", shard=self._term.lease.shard_id, open_records=self._tracker.open_records)
            self._term.end()
        elif not farewell.is_asked:
            self._tracker.end()

    async def deliver_next(self) -> None:
        """Begin what is due, or wait until something may be."""
        while self._first is not None:  # records may come while it is told that there are none
            self._told_first, self._first = self._first, None
            await self._checkpoints.note_first(self._told_first)
        if await self._delivery.deliver_due(self._place.ports.clock.now(), ended=self._ended):
            self._update_room()
        else:
            await self._wait(self._delivery.next_due())

    async def _wait(self, until: Instant | None) -> None:
        if self._all_delivered() or self._farewell.is_asked:
            return
        self._wake.clear()
        await is_set_within(self._wake, None if until is None else until - self._place.ports.clock.now())

    async def _conclude(self) -> None:
        """Finish the shard, pass its lease on, or release it."""
        place = self._place
        if self._tracker.drained:
            finish = Finish(place.me, place.label, self._term, place.ports, place.discover)
            await finish.end(self._fetcher.children)
        elif self._farewell.heir is not None:
            await self._checkpoints.hand_over(self._farewell.heir)
        else:
            await self._checkpoints.release(place.releases, shun=self._farewell.shun)

    def _all_delivered(self) -> bool:
        return self._ended and self._delivery.is_idle

    def _update_room(self) -> None:
        if self._tracker.span_records + self._delivery.waiting < LONGEST_SPAN:
            self._room.set()
        else:
            self._room.clear()

    def _settled(self, size: int) -> None:
        self._fetcher.let_go(size)
        self._checkpoints.count(size)
        self._last_settled = self._place.ports.clock.now()
        if self._tracker.mark != self._marked:
            self._marked = self._tracker.mark
            self._last_progress = self._last_settled
        self._update_room()
