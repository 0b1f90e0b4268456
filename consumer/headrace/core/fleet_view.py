"""The whole fleet at a moment, out of the rows of the lease table: what page, API and command line show.

Pure: whoever can read the table sees the same, be it a worker, the process that supervises several, or a person with
nothing but permission to read. What an owner wrote a few seconds ago is carried forward to now, so that a worker that
fell silent shows lag that grows, not the last good news of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from headrace.core.lineage import missing_leases
from headrace.core.membership import is_alive
from headrace.core.reports import REPORT_EVERY_S, Report, ShardFigures
from headrace.core.state_words import SHARD_STATES, Facts, Figures, Judged, Limits, State, judge, judge_fleet
from headrace.loss import Loss
from headrace.model import Lease, Shard, ShardId, TrimHorizon, WorkerId, WorkerRow

KEEPS_UP_S: Final = 5.0
"""Of lag: what is in flight of a shard that keeps up may be this old."""

GAINING: Final = 0.01
"""Seconds of lag made good in a second from which on a time to catch up can be told."""

RECENT_S: Final = 3600.0
"""How long a worker that left or was declared dead is still shown."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read: `listed` are the shards that the stream lists, None where it was not asked.

    `paused_by` is the operator who paused all of them.
    """

    workers: Mapping[WorkerId, WorkerRow]
    leases: Mapping[ShardId, Lease]
    reports: Mapping[WorkerId, Report]
    listed: tuple[Shard, ...] | None = None
    paused_by: str | None = None


@dataclass(frozen=True, slots=True)
class ShardView:
    """One shard. Times in seconds, epoch seconds where they end in `_at_s`; None is not known.

    `depth` is how many reshards above it are shown, `hidden` that it is finished.
    """

    shard_id: ShardId
    judged: Judged
    owner: WorkerId | None = None
    owner_name: str = ""
    epoch: int = 0
    figures: Figures | None = None
    catch_up_s: float | None = None
    settled_up_to_at_s: float | None = None
    parents: tuple[ShardId, ...] = ()
    children: tuple[ShardId, ...] = ()
    depth: int = 0
    hidden: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker; `report` is what it told last and `silent_s` how long ago that was, None where it never did."""

    row: WorkerRow
    report: Report | None
    silent_s: float | None


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """The figures of the fleet; rates per second, `buried` in the last hour.

    `catch_up_s` is 0 where nothing lags, None where it does not shrink.
    """

    worst_lag_s: float = 0.0
    read: float = 0.0
    settled: float = 0.0
    failed: float = 0.0
    retrying: int = 0
    buried: int = 0
    unowned: int = 0
    catch_up_s: float | None = 0.0


@dataclass(frozen=True, slots=True)
class FleetView:
    """All of it; shards in the order in which they are shown, parents before their children."""

    verdict: Judged
    figures: FleetFigures
    shards: tuple[ShardView, ...]
    workers: tuple[WorkerView, ...]
    at_s: float = 0.0
    counts: Mapping[State, int] = field(default_factory=dict)


def view_of(seen: Seen, limits: Limits, now_s: float) -> FleetView:
    """The fleet as of the time of day `now_s`."""
    workers = tuple(_worker_views(seen, now_s))
    views = {shard: _shard_view(shard, seen, limits, now_s) for shard in [*seen.leases, *_unleased(seen)]}
    open_views = {shard: view for shard, view in views.items() if not view.hidden}
    lag_s = {shard: view.figures.lag_s for shard, view in open_views.items() if view.figures is not None}
    judged, paused = {s: v.judged for s, v in open_views.items()}, sum(v.paused for v in open_views.values())
    verdict = judge_fleet(judged, list(seen.workers.values()), lag_s, paused)
    counts: dict[State, int] = dict.fromkeys(SHARD_STATES, 0)
    counts.update(Counter(view.judged.state for view in open_views.values()))
    return FleetView(verdict, _figures(open_views.values(), workers), _ordered(views), workers, now_s, counts)


# --- workers ----------------------------------------------------------------------------------------------------------


def _worker_views(seen: Seen, now_s: float) -> Iterable[WorkerView]:
    rows = sorted(seen.workers.values(), key=lambda row: (not is_alive(row), row.name, row.worker_id))
    for row in rows:
        report = seen.reports.get(row.worker_id)
        silent_s = None if report is None else max(0.0, now_s - report.at_s)
        if is_alive(row) or now_s - row.began_s < RECENT_S:
            yield WorkerView(row, report, silent_s)


# --- shards -----------------------------------------------------------------------------------------------------------


def _unleased(seen: Seen) -> list[ShardId]:
    """Listed shards that should have a lease and have none; those finished so long ago that it was deleted should not."""
    return [new.shard.shard_id for new in missing_leases(seen.listed or (), seen.leases, TrimHorizon())]


def _shard_view(shard: ShardId, seen: Seen, limits: Limits, now_s: float) -> ShardView:
    lease = seen.leases.get(shard)
    if lease is None:
        listed = next(one for one in seen.listed or () if one.shard_id == shard)
        return ShardView(shard, judge(Facts(None), limits), parents=listed.parents)
    row = seen.workers.get(lease.owner) if lease.owner is not None else None
    report = seen.reports.get(lease.owner) if lease.owner is not None else None
    age_s = None if report is None else max(0.0, now_s - report.at_s)
    told = None if report is None else next((one for one in report.shards if one.shard == shard), None)
    figures = None if told is None or age_s is None else _carried(told, age_s)
    unread_s = max(0.0, now_s - lease.up_to_s) if lease.up_to_s else None
    paused_by = lease.paused_by or seen.paused_by
    judged = judge(Facts(lease, row, age_s, figures, unread_s, paused_by), limits)
    return ShardView(
        shard,
        judged,
        owner=lease.owner,
        owner_name="" if row is None else row.name,
        epoch=lease.epoch,
        figures=figures,
        catch_up_s=None if told is None or figures is None else _catch_up_s(told, figures),
        settled_up_to_at_s=lease.up_to_s or None,
        parents=lease.parents,
        children=tuple(sorted(lease.children)),
        hidden=lease.done,
        paused=paused_by is not None and not lease.done,
    )


def _carried(told: ShardFigures, age_s: float) -> Figures:
    """What was told `age_s` ago, as of now: time went on for whatever was open and got nowhere."""
    gets_on = told.since_settled_s < REPORT_EVERY_S and age_s <= 2 * REPORT_EVERY_S
    waits = told.open > 0 or told.halted != ""
    return Figures(
        lag_s=told.lag_s + (age_s if waits and not gets_on else 0.0),
        since_progress_s=told.since_progress_s + age_s,
        since_settled_s=told.since_settled_s + age_s,
        open_records=told.open,
        retrying_records=told.retrying,
        held_by=int(told.held_by) if told.held_by.isdecimal() else None,
        halted=Loss(told.halted) if told.halted in set(Loss) else None,
    )


def _catch_up_s(told: ShardFigures, figures: Figures) -> float | None:
    return figures.lag_s / told.gain if told.gain > GAINING else None


def _ordered(views: Mapping[ShardId, ShardView]) -> tuple[ShardView, ...]:
    """Parents before children, a child below its first parent that is shown; finished families without a child last."""
    children: dict[ShardId, list[ShardId]] = {}
    roots = []
    for shard in sorted(views):
        parent = next((p for p in views[shard].parents if p in views), None)
        children.setdefault(parent, []).append(shard) if parent is not None else roots.append(shard)
    placed: dict[ShardId, ShardView] = {}

    def place(shard: ShardId, depth: int) -> None:
        if shard not in placed:
            placed[shard] = _at_depth(views[shard], depth)
            for child in children.get(shard, []):
                place(child, depth + 1)

    for root in roots:
        place(root, 0)
    for shard in sorted(views):
        place(shard, 0)
    return tuple(placed.values())


def _at_depth(view: ShardView, depth: int) -> ShardView:
    return view if depth == 0 else replace(view, depth=depth)


# --- the fleet --------------------------------------------------------------------------------------------------------


def _figures(shards: Iterable[ShardView], workers: Iterable[WorkerView]) -> FleetFigures:
    shards = list(shards)
    known = [view.figures for view in shards if view.figures is not None]
    reports = [worker.report for worker in workers if worker.report is not None and is_alive(worker.row)]
    times = [view.catch_up_s for view in shards if view.figures is not None and view.figures.lag_s > KEEPS_UP_S]
    return FleetFigures(
        worst_lag_s=max((figures.lag_s for figures in known), default=0.0),
        read=sum(report.rates.read for report in reports),
        settled=sum(report.rates.settled for report in reports),
        failed=sum(report.rates.failed for report in reports),
        retrying=sum(figures.retrying_records for figures in known),
        buried=sum(report.buried for report in reports),
        unowned=sum(view.judged.state is State.UNOWNED for view in shards),
        catch_up_s=None if None in times else max((time for time in times if time is not None), default=0.0),
    )
