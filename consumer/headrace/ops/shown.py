"""The fleet as JSON: what `/api/v1` answers and `--json` prints. Long numbers are texts, spans are seconds."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from headrace.core.fleet_view import FleetView, ShardView, WorkerView
from headrace.core.history import STEP_S, Point
from headrace.core.membership import is_alive
from headrace.core.reports import Event
from headrace.core.state_words import Judged
from headrace.model import Checkpoint, DeadLetter
from headrace.ops.fleet import Reading


def fleet(reading: Reading) -> dict[str, Any]:
    """Verdict and figures."""
    view, figures = reading.view, reading.view.figures
    return {
        "verdict": {**_judged(view.verdict), "since": _time(reading.since_s)},
        "problem": reading.problem,
        "at": _time(view.at_s),
        "figures": {
            "worst_lag_s": round(figures.worst_lag_s, 1),
            "read_per_s": round(figures.read, 2),
            "settled_per_s": round(figures.settled, 2),
            "failed_per_s": round(figures.failed, 2),
            "retrying": figures.retrying,
            "buried": figures.buried,
            "unowned": figures.unowned,
            "catch_up_s": None if figures.catch_up_s is None else round(figures.catch_up_s, 1),
        },
        "shards_by_state": {state.value: count for state, count in view.counts.items()},
    }


def whole(reading: Reading) -> dict[str, Any]:
    """The fleet with its shards and workers."""
    return {**fleet(reading), "shards": shards(reading.view), "workers": workers(reading.view)}


def shards(view: FleetView) -> list[dict[str, Any]]:
    """Every shard, parents before children."""
    return [_shard(one) for one in view.shards]


def workers(view: FleetView) -> list[dict[str, Any]]:
    """Every worker, the living first."""
    return [_worker(one, view.at_s) for one in view.workers]


def points(history: Iterable[Point]) -> dict[str, Any]:
    """The last hour: one list for each figure, oldest first."""
    found = list(history)
    names = ("lag_s", "read", "settled", "failed", "retrying", "buried", "unowned")
    return {
        "step_s": STEP_S,
        "from": _time(found[0].step * STEP_S) if found else None,
        **{name: [getattr(point, name) for point in found] for name in names},
    }


def events(found: Iterable[Event]) -> list[dict[str, Any]]:
    """As they are given."""
    return [{"at": _time(e.at_s), "event": e.kind, "worker": e.worker, "shard": e.shard, "text": e.text} for e in found]


def letter(one: DeadLetter) -> dict[str, Any]:
    """A dead letter without what quotes the user's data: message, traceback, payload."""
    record = one.record
    return {
        "shard": record.shard_id,
        "sequence_number": str(record.sequence_number),
        "sub_sequence_number": record.sub_sequence_number,
        "position": Checkpoint.of(record).encode(),
        "partition_key": record.partition_key,
        "arrived": _time(record.arrival_s),
        "buried": _time(one.buried_at.timestamp()),
        "reason": one.reason,
        "error": one.error,
        "attempts": one.attempts,
        "bytes": len(record.data),
    }


def whole_letter(one: DeadLetter) -> dict[str, Any]:
    """All of it; the payload as text where it is one, else in base64."""
    try:
        payload, encoding = one.record.data.decode(), "text"
    except UnicodeDecodeError:
        payload, encoding = base64.b64encode(one.record.data).decode(), "base64"
    return {
        **letter(one),
        "message": one.message,
        "traceback": one.traceback,
        "handler": one.handler,
        "worker": one.worker,
        "epoch": one.epoch,
        "request_id": one.request_id,
        "log": [{"at": _time(a.at.timestamp()), "records": a.records, "error": a.error} for a in one.log],
        "payload": payload,
        "encoding": encoding,
    }


def _judged(judged: Judged) -> dict[str, Any]:
    return {"state": judged.state.value, "why": judged.why, "todo": judged.todo}


def _shard(view: ShardView) -> dict[str, Any]:
    figures = view.figures
    return {
        "shard": view.shard_id,
        **_judged(view.judged),
        "owner": view.owner,
        "owner_name": view.owner_name,
        "epoch": view.epoch,
        "lag_s": None if figures is None else round(figures.lag_s, 1),
        "since_progress_s": None if figures is None else round(figures.since_progress_s, 1),
        "since_settled_s": None if figures is None else round(figures.since_settled_s, 1),
        "open": None if figures is None else figures.open_records,
        "retrying": None if figures is None else figures.retrying_records,
        "held_by": None if figures is None or figures.held_by is None else str(figures.held_by),
        "catch_up_s": None if view.catch_up_s is None else round(view.catch_up_s, 1),
        "settled_up_to": _time(view.settled_up_to_at_s),
        "parents": list(view.parents),
        "children": list(view.children),
        "depth": view.depth,
        "finished": view.hidden,
        "paused": view.paused,
    }


def _worker(view: WorkerView, now_s: float) -> dict[str, Any]:
    row, report = view.row, view.report
    return {
        "worker": row.worker_id,
        "name": row.name,
        "state": row.state,
        "alive": is_alive(row),
        "version": None if report is None else report.version,
        "deployment": row.deployment,
        "held": row.held,
        "maximum": row.maximum,
        "stalled": row.stalled,
        "drained_by": row.drained_by,
        "up_s": round(max(0.0, now_s - row.began_s)) if row.began_s else None,
        "silent_s": None if view.silent_s is None else round(view.silent_s, 1),
        "read_per_s": None if report is None else report.rates.read,
        "settled_per_s": None if report is None else report.rates.settled,
        "failed_per_s": None if report is None else report.rates.failed,
        "processors": None if report is None else report.rates.processors,
    }


def _time(wall_s: float | None) -> str | None:
    if not wall_s:
        return None
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
