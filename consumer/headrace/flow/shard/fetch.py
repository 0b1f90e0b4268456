"""The reading side of one shard: by subscription where there is one, else by polling with its iterator, pace and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from headrace.core.aggregates import Expansion
from headrace.core.backoff import delay_s
from headrace.core.pacing import Pace
from headrace.core.reading import Reading
from headrace.errors import AwsError, Denied, IteratorExpired, NotFound, Retryable, Throttled
from headrace.flow.budget import RECORD_OVERHEAD
from headrace.flow.persist import AWS_BACKOFF, HOPELESS_BACKOFF
from headrace.flow.shard.subscription import Subscription
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.loss import Loss
from headrace.model import Page, Record, Shard

log = structlog.get_logger(__name__)

MOST_RECORDS: Final = 10_000
"""GetRecords limit (API reference)."""

MOST_BYTES: Final = 10 * 1024 * 1024
"""Largest GetRecords answer (API reference)."""

TRANSIT: Final = 3
"""How many times over an answer is in memory while it is decoded: as base64 text, twice while it is put together, and
as records."""


class Fetcher:
    """Reads one shard from a lease's checkpoint on; `take_in` gets the records of every page that has any.

    `at_the_tip` is called when a page shows that there is nothing more to read for now.
    """

    def __init__(
        self,
        term: Term,
        place: Workplace,
        take_in: Callable[[list[Record]], None],
        at_the_tip: Callable[[], None],
    ) -> None:
        self.held = 0
        """Bytes of this shard's records in memory."""
        self.children: tuple[Shard, ...] = ()
        lease = term.lease
        self.reading = Reading(lease)
        self.halted: Loss | None = None
        """Why it is held and not read, if it is."""
        self._shard = lease.shard_id
        self._ports = place.ports
        self._budget = place.budget
        self._pace = Pace(place.rules.pace)
        self._losses = place.losses
        self._expansion = Expansion(lease) if place.rules.expands_aggregates else None
        self._take_in = take_in
        self._at_the_tip = at_the_tip
        self._iterator: str | None = None
        self._failures = 0
        self._subscription = Subscription(term, place, self._take_in_sent)

    async def run(self, may_go_on: Callable[[], bool], room: asyncio.Event) -> None:
        """Fetch until the end of the shard. `room` is set while more records may be taken in."""
        ended = False
        while not ended and may_go_on():
            await room.wait()
            if not self._subscription.is_due:
                await self._keep_pace()
            if self._losses.is_overtaken(self.reading):
                await self._lose(Loss.RECORDS_TRIMMED)
                self.reading.begin_anew()
                self._iterator = None
            if self._subscription.is_due:
                self._iterator = None  # what a subscription reads moves past it
                ended = await self._subscription.read(self.reading.position, lambda: self._is_sound(may_go_on), room)
            else:
                ended = await self.fetch_once()

    async def fetch_once(self) -> bool:
        """One GetRecords call, whatever becomes of it; True once the end of the shard has been read."""
        size = TRANSIT * self.reading.record_size
        granted = await self._budget.reserve(self.held, min(MOST_RECORDS * size, TRANSIT * MOST_BYTES))
        self.held += granted
        asked_at_s = self._ports.clock.wall().timestamp()
        try:
            page = await self._page(max(1, min(MOST_RECORDS, granted // size)))
        except AwsError as error:
            self.let_go(granted)
            return await self._failed(error)
        except BaseException:
            self.let_go(granted)
            raise
        self._failures = 0
        self._keep(page, granted, asked_at_s)
        return page.next_iterator is None

    def _is_sound(self, may_go_on: Callable[[], bool]) -> bool:
        """Whether what a subscription sent follows what was read: behind records that were trimmed meanwhile it does not."""
        return may_go_on() and not self._losses.is_overtaken(self.reading)

    async def _take_in_sent(self, page: Page, asked_at_s: float) -> None:
        """A page of a subscription is here already: it waits for room, and nothing more is read meanwhile."""
        granted = await self._budget.reserve(self.held, page.size + RECORD_OVERHEAD * len(page.records))
        self.held += granted
        self._keep(page, granted, asked_at_s)

    def _keep(self, page: Page, granted: int, asked_at_s: float) -> None:
        """The page takes what it needs of the `granted` bytes."""
        records, size = page.records, page.size
        if self._expansion is not None and (found := self._expansion.of(records)) is not records:
            records, size = found, sum(len(record.data) for record in found)
            self._tell_foreign(self._expansion)
        taken = size + RECORD_OVERHEAD * len(records)
        self.let_go(granted - taken)
        self._accept(page, taken, asked_at_s, records)

    def let_go(self, amount: int) -> None:
        """Records of this many bytes are no longer held."""
        self.held -= amount
        self._budget.release(amount)

    async def _page(self, limit: int) -> Page:
        if self._iterator is None:
            self._iterator = await self._ports.stream.iterator(self._shard, self.reading.position)
        self._pace.called(self._ports.clock.now())
        page = await self._ports.stream.get_records(self._iterator, limit, self._shard)
        self._pace.answered(page, limit)
        return page

    def _tell_foreign(self, expansion: Expansion) -> None:
        if expansion.foreign:
            self._ports.observer.records_foreign(self._shard, expansion.foreign)
            log.info("foreign_records_left_out", shard=self._shard, records=expansion.foreign)
            expansion.foreign = 0

    def _accept(self, page: Page, taken: int, asked_at_s: float, records: list[Record]) -> None:
        if not self.reading.has_begun:
            log.info("reading_began", shard=self._shard, records=len(page.records))
        self.reading.took_in(page, taken, asked_at_s, self._losses.description.retention_s)
        self._iterator = page.next_iterator if page.continuation is None else None
        self.children = page.children
        self._ports.observer.page_fetched(self._shard, len(page.records), page.size)
        if records:
            self._take_in(records)
        elif not page.records and page.behind_s == 0:
            self._at_the_tip()

    # --- fail ----------------------------------------------------------------------------------------------------------

    async def _lose(self, loss: Loss) -> None:
        """Say what may be gone; return if the worker is to go on with what is left."""
        self._losses.report(self._shard, loss, self.reading)
        if not self._losses.continues:
            self.halted = loss
            await self._losses.hold(self._shard, loss)

    async def _failed(self, error: AwsError) -> bool:
        """Wait as long as the error asks for; True where it shows that the shard will never be read again."""
        self._failures += 1
        if isinstance(error, NotFound) and await self._losses.is_trimmed(self._shard):
            await self._lose(Loss.SHARD_TRIMMED)
            return True
        match error:
            case IteratorExpired():
                self._iterator = None
                reason, pause = "expired", 0.0
            case Throttled():
                reason, pause = "throttled", delay_s(self._failures, self._ports.chance(), AWS_BACKOFF)
            case Retryable():
                reason, pause = "error", delay_s(self._failures, self._ports.chance(), AWS_BACKOFF)
            case _:
                self._iterator = None  # it may be what was refused; a new one begins where this one stood
                await self._losses.look()
                reason, pause = "error", delay_s(self._failures, self._ports.chance(), HOPELESS_BACKOFF)
        self._ports.observer.fetch_failed(self._shard, reason)
        if isinstance(error, Denied | NotFound) or not isinstance(error, Retryable):
            log.error("fetch_failed", shard=self._shard, error=str(error), pause_s=round(pause, 1))
        else:
            log.info("fetch_failed", shard=self._shard, reason=reason, error=str(error))
        await asyncio.sleep(pause)
        return False

    async def _keep_pace(self) -> None:
        pause = self._pace.next_call() - self._ports.clock.now()
        if pause > 0:
            await asyncio.sleep(pause)
