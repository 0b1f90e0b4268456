"""What a worker tells of itself in the lease table, for whoever shows the fleet, and nobody else.

Lag, rates and retries are known to the owner of a shard alone. It writes them into a row of its own every few seconds:
one write a worker, whatever the number of its shards, and read only while somebody looks. Heartbeat rows, which every
worker polls, stay small, and nothing of the lease protocol depends on these rows: they may be lost, late or wrong.

Three rows a worker, each with a body in JSON and an expiry: figures (partition `F`), the last hour (`H`), the last
events (`E`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from headrace.core.history import Point
from headrace.model import WorkerId
from headrace.rows import DeleteRow, Key, PutRow, Row

FIGURES: Final = "F"
HISTORY: Final = "H"
EVENTS: Final = "E"

REPORT_EVERY_S: Final = 5.0
"""A report is 1 KB for about 15 shards: 17,280 writes a day and worker, a cent."""

KEEP_FIGURES_S: Final = 3600
KEEP_HISTORY_S: Final = 2 * 3600
KEEP_EVENTS_S: Final = 2 * 24 * 3600
"""DynamoDB's TTL removes the rows of workers that are gone, some time after this."""


class ShardFigures(msgspec.Struct, frozen=True, array_like=True):
    """One shard of a report. `gain` is how many seconds of lag it made good in a second, negative where it falls back."""

    shard: str
    lag_s: float
    since_progress_s: float
    since_settled_s: float
    open: int
    retrying: int
    gain: float = 0.0
    held_by: str = ""
    halted: str = ""


class Rates(msgspec.Struct, frozen=True, array_like=True):
    """Per second, over the last moments: records read and settled, failed attempts, records buried, processors used."""

    read: float = 0.0
    settled: float = 0.0
    failed: float = 0.0
    buried: float = 0.0
    processors: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """What one worker tells. `at_s` is its time of day.

    `buried` counts the records it buried in the last hour.
    """

    at_s: float
    version: str
    rates: Rates
    shards: tuple[ShardFigures, ...]
    buried: int = 0


class Event(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened, in a past-tense word; `text` says more where there is more, never a payload."""

    at_s: float
    kind: str
    worker: str
    shard: str = ""
    text: str = ""


T = TypeVar("T")


def report_row(worker: WorkerId, report: Report) -> PutRow:
    """The figures of one incarnation."""
    return _put(FIGURES, worker, report, report.at_s + KEEP_FIGURES_S)


def withdrawn(worker: WorkerId) -> DeleteRow:
    """An incarnation that ended has no figures."""
    return DeleteRow(Key(FIGURES, worker), ())


def history_row(process: str, points: Sequence[Point], wall_s: float) -> PutRow:
    """The last hour of one process."""
    return _put(HISTORY, process, points, wall_s + KEEP_HISTORY_S)


def events_row(process: str, events: Sequence[Event], wall_s: float) -> PutRow:
    """The last events of one process."""
    return _put(EVENTS, process, events, wall_s + KEEP_EVENTS_S)


def report_of(row: Row) -> Report | None:
    """The report in a row; None for one that another version wrote and this one cannot read."""
    return _read(row, Report)


def points_of(row: Row) -> list[Point]:
    """The points in a row, likewise."""
    return _read(row, list[Point]) or []


def events_of(row: Row) -> list[Event]:
    """The events in a row, likewise."""
    return _read(row, list[Event]) or []


def newest(events: Sequence[Event], most: int) -> list[Event]:
    """The last of them, newest first."""
    return sorted(events, key=lambda event: event.at_s, reverse=True)[:most]


def _put(pk: str, sk: str, body: Any, until_s: float) -> PutRow:
    return PutRow(Key(pk, sk), {"body": msgspec.json.encode(body).decode(), "exp": int(until_s)})


def _read(row: Row, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(str(row.get("body", "")), type=kind)
    except msgspec.DecodeError:
        return None
