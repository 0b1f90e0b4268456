"""Writes what a worker tells of itself into the lease table, for whoever looks at the fleet.

Nothing depends on it: a write that fails is left to the next one, and none of them holds up anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from headrace.core import reports
from headrace.core.history import STEP_S, Point
from headrace.errors import AwsError
from headrace.model import Instant, WorkerId
from headrace.ops.event_log import EventLog
from headrace.ops.tally import Tally
from headrace.ports import Clock, LeaseTable
from headrace.rows import Request
from headrace.tasks import all_of

log = structlog.get_logger(__name__)

STARTING_S: Final = 0.25
"""Between two looks whether the worker has begun."""

GOODBYE_S: Final = 0.5
"""What the last words may take of a stop: three calls of a few milliseconds."""


class EventWriter:
    """Keeps the row of an event log up to date; `process` names the row."""

    def __init__(self, table: LeaseTable, clock: Clock, events: EventLog, process: str) -> None:
        self.events = events
        self._table = table
        self._clock = clock
        self._process = process

    async def write(self) -> None:
        """Write what is new, if anything is. Raises what the table's `apply` raises, and it is still new then."""
        if not self.events.is_new:
            return
        self.events.is_new = False
        try:
            wall_s = self._clock.wall().timestamp()
            await self._table.apply(reports.events_row(self._process, self.events.events, wall_s))
        except BaseException:
            self.events.is_new = True
            raise


class Reporter:
    """Tells of one process; `who` gives its incarnation of the moment."""

    def __init__(
        self,
        table: LeaseTable,
        clock: Clock,
        tally: Tally,
        events: EventWriter,
        process: str,
        who: Callable[[], WorkerId | None],
    ) -> None:
        self._table = table
        self._clock = clock
        self._tally = tally
        self._audit = events
        self.process = process
        self._who = who
        self._history_at: Instant | None = None

    def report(self) -> tuple[WorkerId, reports.Report] | None:
        """What would be told at this moment, and under which name."""
        me = self._who()
        return None if me is None else (me, self._tally.report())

    def points(self) -> list[Point]:
        """The last hour."""
        return self._tally.history.points

    def events(self) -> list[reports.Event]:
        """The last events."""
        return self._tally.events.events

    async def beside(self, work: Awaitable[None]) -> None:
        """Tell as long as the work lasts, and that it is over. Raises what the work raises."""
        try:
            async with all_of() as tasks:
                telling = tasks.create_task(self.run(), name="reports")
                await work
                telling.cancel()
        finally:
            await self.say_goodbye()

    async def run(self) -> None:
        """Tell for ever."""
        while True:
            self._tally.sample()
            await self.tell()
            await asyncio.sleep(STARTING_S if self._who() is None else reports.REPORT_EVERY_S)

    async def tell(self) -> None:
        """One report; the history and the events when there is something new in them."""
        try:
            if (own := self.report()) is not None:
                await self._table.apply(reports.report_row(*own))
            if self._history_at is None or self._clock.now() - self._history_at >= STEP_S:
                await self._table.apply(self._history())
                self._history_at = self._clock.now()
            await self._audit.write()
        except AwsError as error:
            log.info("report_failed", error=str(error))

    async def say_goodbye(self) -> None:
        """The last events, and no figures any more, within a moment."""
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._audit.write()
                await self._table.apply(self._history())
                if (me := self._who()) is not None:
                    await self._table.apply(reports.withdrawn(me))
        except (AwsError, TimeoutError) as error:
            log.info("report_failed", error=str(error) or "no answer")

    def _history(self) -> Request:
        return reports.history_row(self.process, self.points(), self._clock.wall().timestamp())
