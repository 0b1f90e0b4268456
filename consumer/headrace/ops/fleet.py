"""Reads the fleet out of the lease table, for page, API and command line: by a worker, its supervisor, or a person.

Nobody reads while nobody looks. Several who look at once share one reading, and what was read stays good for a moment.
A table that cannot be read leaves the last reading standing, with how old it is and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

import structlog

from headrace.core import audit, lease_rows, leases, membership, reports
from headrace.core.fleet_view import FleetView, Seen, view_of
from headrace.core.history import Point, together
from headrace.core.reports import Event, Report
from headrace.core.state_words import Judged, Limits, State
from headrace.errors import AwsError
from headrace.model import Instant, Lease, Shard, ShardId, WorkerId
from headrace.ports import Clock, LeaseTable, Stream
from headrace.rows import Row
from headrace.tasks import all_of

log = structlog.get_logger(__name__)

FRESH_S: Final = 1.5
"""How long a reading of the rows is good: 18 queries of a partition each."""

STREAM_FRESH_S: Final = 60.0
"""The same of the stream's listing and retention."""

HISTORY_FRESH_S: Final = 15.0
EVENTS_FRESH_S: Final = 4.0
MOST_EVENTS: Final = 200


class Teller(Protocol):
    """What this process itself would tell just now, newer than its rows."""

    @property
    def process(self) -> str:
        """The name of its rows of history and events."""

    def report(self) -> tuple[WorkerId, Report] | None:
        """Its figures, and the incarnation that they are of."""

    def points(self) -> list[Point]:
        """Its last hour."""

    def events(self) -> list[Event]:
        """Its last events."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """The fleet, since when it has its state, and what is wrong with the reading, if anything is.

    `since_s` is a time of day, 0 where it was so before anybody looked.
    """

    view: FleetView
    since_s: float
    problem: str = ""


@dataclass(slots=True)
class _Kept:
    """Something that was read, and when."""

    value: object = None
    at: Instant | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a fleet is read: the table, the stream, and its name."""

    table: LeaseTable
    stream: Stream
    name: str
    clock: Clock


class FleetReader:
    """Reads one fleet."""

    def __init__(self, source: Source, limits: Limits, own: Teller | None = None) -> None:
        self._source = source
        self._limits = limits
        self._own = own
        self._rows, self._shards, self._points, self._events = _Kept(), _Kept(), _Kept(), _Kept()
        self._state: State | None = None
        self._since_s = 0.0

    async def read(self) -> Reading:
        """The fleet now. Raises what the table raises when there is no earlier reading to fall back on."""
        problem = ""
        try:
            seen = await self._fresh(self._rows, FRESH_S, self._read_rows)
        except AwsError as error:
            if not isinstance(self._rows.value, Seen):
                raise
            log.info("fleet_not_read", error=str(error))
            seen, problem = self._rows.value, f"The lease table cannot be read: {error}"
        wall_s = self._source.clock.wall().timestamp()
        view = view_of(self._with_own(seen), self._limits, wall_s)
        if view.verdict.state is not self._state:
            self._since_s = 0.0 if self._state is None else wall_s
            self._state = view.verdict.state
        return Reading(view, self._since_s, problem)

    async def history(self) -> list[Point]:
        """The last hour of all workers. Raises Throttled, Unavailable, Denied, NotFound."""
        rows = await self._fresh(self._points, HISTORY_FRESH_S, lambda: self._source.table.query(reports.HISTORY))
        found = {str(row["sk"]): reports.points_of(row) for row in rows}
        if self._own is not None:
            found[self._own.process] = self._own.points()
        return together(found.values(), self._source.clock.wall().timestamp())

    async def events(self) -> list[Event]:
        """The last events, newest first. Raises as `history` does."""
        rows, acts = await self._fresh(self._events, EVENTS_FRESH_S, self._read_events)
        found = {str(row["sk"]): reports.events_of(row) for row in rows}
        found[audit.events_partition("")] = [_act(audit.event_of(row)) for row in acts]
        if self._own is not None:
            found[self._own.process] = self._own.events()
        return reports.newest([event for events in found.values() for event in events], MOST_EVENTS)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _fresh(self, kept: _Kept, good_s: float, read: Callable[[], Awaitable[T]]) -> T:
        async with kept.lock:
            if kept.at is None or self._source.clock.now() - kept.at >= good_s:
                kept.value = await read()
                kept.at = self._source.clock.now()
            return kept.value  # type: ignore[return-value] # of one reader each

    async def _read_rows(self) -> Seen:
        table, name = self._source.table, self._source.name
        meta = await table.get(leases.meta_key(name))
        label = name if meta is None else lease_rows.remembered_label(meta)
        async with all_of() as queries:
            workers = queries.create_task(table.query(membership.WORKERS), name="query-workers")
            told = queries.create_task(table.query(reports.FIGURES), name="query-reports")
            partitions = [
                queries.create_task(table.query(partition), name=f"query-{partition}")
                for partition in leases.lease_partitions(label)
            ]
        found = [lease_rows.lease_of(row) for partition in partitions for row in partition.result()]
        return Seen(
            workers={worker.worker_id: worker for worker in map(lease_rows.worker_of, workers.result())},
            leases={lease.shard_id: lease for lease in found},
            reports=_reports(told.result()),
            listed=await self._listed({lease.shard_id: lease for lease in found}),
            paused_by=None if meta is None else lease_rows.paused_by(meta),
        )

    async def _read_events(self) -> tuple[list[Row], list[Row]]:
        """Those of the workers, and those of operators."""
        table = self._source.table
        meta = await table.get(leases.meta_key(self._source.name))
        label = self._source.name if meta is None else lease_rows.remembered_label(meta)
        return await table.query(reports.EVENTS), await table.query(audit.events_partition(label))

    async def _listed(self, found: dict[ShardId, Lease]) -> tuple[Shard, ...] | None:
        """The stream's shards; what cannot be listed just now is not known."""
        if not found:  # before the application's first start nothing is missing
            return None
        try:
            return await self._fresh(self._shards, STREAM_FRESH_S, self._read_stream)
        except AwsError as error:
            log.info("stream_not_seen", error=str(error))
            return None

    async def _read_stream(self) -> tuple[Shard, ...]:
        description = await self._source.stream.describe()
        self._limits = replace(self._limits, retention_s=description.retention_s)
        return tuple(await self._source.stream.list_shards())

    def _with_own(self, seen: Seen) -> Seen:
        own = None if self._own is None else self._own.report()
        return seen if own is None else replace(seen, reports={**seen.reports, own[0]: own[1]})


def _act(event: audit.Event) -> Event:
    """What an operator did, as an event like the others."""
    changed = " → ".join(text for text in (event.before, event.after) if text)
    text = ", ".join(text for text in (changed, event.why) if text)
    return Event(event.at.timestamp(), event.act, event.by, event.target, text)


def _reports(rows: list[Row]) -> dict[WorkerId, Report]:
    read = ((WorkerId(str(row["sk"])), reports.report_of(row)) for row in rows)
    return {worker: report for worker, report in read if report is not None}


def nothing_known(problem: str) -> Reading:
    """What to show where nothing could be read yet."""
    view = view_of(Seen({}, {}, {}), Limits(0.0), 0.0)
    return Reading(
        replace(view, verdict=Judged(State.NOT_KNOWN, problem, "See whether the table can be reached.")), 0.0
    )
