"""The reading side of one shard: iterator, pace, and what to do when a call fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from headrace.core.backoff import delay_s
from headrace.core.pacing import Pace, PaceRules
from headrace.errors import AwsError, Denied, IteratorExpired, NotFound, Retryable, Throttled
from headrace.flow.budget import RECORD_OVERHEAD, Budget
from headrace.flow.persist import AWS_BACKOFF, HOPELESS_BACKOFF
from headrace.model import Checkpoint, Lease, Page, Record, Shard
from headrace.ports import Ports

log = structlog.get_logger(__name__)

MOST_RECORDS: Final = 10_000
"""GetRecords limit (API reference)."""

MOST_BYTES: Final = 10 * 1024 * 1024
"""Largest GetRecords answer (API reference)."""

TRANSIT: Final = 3
"""How many times over an answer is in memory while it is decoded: as base64 text, twice while it is put together, and
as records."""

FIRST_GUESS: Final = 2048
"""Bytes a record is thought to take before any was seen."""


class Fetcher:
    """Reads one shard from a lease's checkpoint on; `take_in` gets the records of every page that has any.

    `at_the_tip` is called when a page shows that there is nothing more to read for now.
    """

    def __init__(
        self,
        lease: Lease,
        ports: Ports,
        budget: Budget,
        pace: PaceRules,
        take_in: Callable[[list[Record]], None],
        at_the_tip: Callable[[], None],
    ) -> None:
        self.held = 0
        """Bytes of this shard's records in memory."""
        self.behind_s = 0.0
        self.children: tuple[Shard, ...] = ()
        self._lease = lease
        self._ports = ports
        self._budget = budget
        self._pace = Pace(pace)
        self._take_in = take_in
        self._at_the_tip = at_the_tip
        self._position: Checkpoint = lease.checkpoint
        self._iterator: str | None = None
        self._record_size = FIRST_GUESS
        self._failures = 0
        self._has_read = False

    async def run(self, may_go_on: Callable[[], bool], room: asyncio.Event) -> None:
        """Fetch until the end of the shard. `room` is set while more records may be taken in."""
        ended = False
        while not ended and may_go_on():
            await room.wait()
            await self._keep_pace()
            ended = await self.fetch_once()

    async def fetch_once(self) -> bool:
        """One GetRecords call, whatever becomes of it; True once the end of the shard has been read."""
        wanted = TRANSIT * min(MOST_RECORDS * self._record_size, MOST_BYTES)
        granted = await self._budget.reserve(self.held, wanted)
        self.held += granted
        try:
            page = await self._page(max(1, min(MOST_RECORDS, granted // (TRANSIT * self._record_size))))
        except AwsError as error:
            self.let_go(granted)
            await self._failed(error)
            return False
        except BaseException:
            self.let_go(granted)
            raise
        self._failures = 0
        taken = page.size + RECORD_OVERHEAD * len(page.records)
        self.let_go(granted - taken)
        self._accept(page, taken)
        return page.next_iterator is None

    def let_go(self, amount: int) -> None:
        """Records of this many bytes are no longer held."""
        self.held -= amount
        self._budget.release(amount)

    async def _page(self, limit: int) -> Page:
        shard = self._lease.shard_id
        if self._iterator is None:
            at_start = self._position == self._lease.checkpoint and self._position.rank < 0
            self._iterator = await self._ports.stream.iterator(shard, self._lease.start if at_start else self._position)
        self._pace.called(self._ports.clock.now())
        page = await self._ports.stream.get_records(self._iterator, limit, shard)
        self._pace.answered(page, limit)
        return page

    def _accept(self, page: Page, taken: int) -> None:
        if not self._has_read:
            self._has_read = True
            log.info("reading_began", shard=self._lease.shard_id, records=len(page.records))
        self._iterator = page.next_iterator
        self.behind_s = page.behind_s
        self.children = page.children
        self._ports.observer.page_fetched(self._lease.shard_id, len(page.records), page.size)
        if page.records:
            last = page.records[-1]
            self._position = Checkpoint.at(last.sequence_number)
            self._record_size = max(1, taken // len(page.records))
            self._take_in(page.records)
        elif page.behind_s == 0:
            self._at_the_tip()

    async def _failed(self, error: AwsError) -> None:
        self._failures += 1
        shard = self._lease.shard_id
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
                reason, pause = "error", delay_s(self._failures, self._ports.chance(), HOPELESS_BACKOFF)
        self._ports.observer.fetch_failed(shard, reason)
        if isinstance(error, Denied | NotFound) or not isinstance(error, Retryable):
            log.error("fetch_failed", shard=shard, error=str(error), pause_s=round(pause, 1))
        else:
            log.info("fetch_failed", shard=shard, reason=reason, error=str(error))
        await asyncio.sleep(pause)

    async def _keep_pace(self) -> None:
        pause = self._pace.next_call() - self._ports.clock.now()
        if pause > 0:
            await asyncio.sleep(pause)
