"""The fleet as text for a terminal: the verdict, the figures, the shards that matter first, the workers."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from headrace.core.fleet_view import FleetFigures, FleetView, ShardView, WorkerView
from headrace.core.membership import is_alive
from headrace.core.spans import ago
from headrace.core.state_words import State
from headrace.ops.fleet import Reading

STYLES: Final = {
    State.NOT_KNOWN: "dim",
    State.OK: "green",
    State.LAGGING: "yellow",
    State.UNOWNED: "magenta",
    State.STALLED: "bold red",
    State.LOSING_DATA: "bold white on red",
}

FRAME: Final = 12
"""Lines of a picture that are neither shards nor workers."""

NOTHING: Final = "-"


def picture(reading: Reading, height: int | None = None) -> RenderableType:
    """Everything; on a screen of `height` lines the worst shards, as many as fit."""
    view = reading.view
    room = None if height is None else max(3, height - FRAME - len(view.workers))
    problem = [Text(reading.problem, style="red")] if reading.problem else []
    return Group(*problem, _verdict(view), _figures(view.figures), Text(), _shards(view, room), Text(), _workers(view))


def _verdict(view: FleetView) -> Text:
    judged = view.verdict
    text = Text.assemble((f" {judged.state.value} ", f"{STYLES[judged.state]} reverse"), "  ", judged.why)
    if judged.todo:
        text.append(f"\n-> {judged.todo}", style="bold")
    return text


def _figures(figures: FleetFigures) -> Text:
    parts = [
        f"worst lag {ago(figures.worst_lag_s)}{_catch_up(figures)}",
        f"in {figures.read:,.1f}/s",
        f"out {figures.settled:,.1f}/s",
        f"failures {figures.failed:,.1f}/s",
        f"retrying {figures.retrying:,}",
        f"dead letters {figures.buried:,} in the last hour",
        f"unowned {figures.unowned}",
    ]
    return Text("   ".join(parts))


def _catch_up(figures: FleetFigures) -> str:
    if figures.catch_up_s == 0:
        return ""
    return " (not shrinking)" if figures.catch_up_s is None else f" (caught up in {ago(figures.catch_up_s)})"


def _shards(view: FleetView, room: int | None) -> Table:
    shown = [shard for shard in view.shards if not shard.hidden]
    finished = len(view.shards) - len(shown)
    if room is not None and len(shown) > room:
        shown = sorted(shown, key=_badness, reverse=True)[:room]
    table = _table("state", "shard", "owner", ">lag", ">progress", ">open", ">retrying", ">epoch", "why")
    for shard in shown:
        table.add_row(*_shard_cells(shard))
    left_out = len(view.shards) - finished - len(shown)
    notes = [f"{left_out} more" if left_out else "", f"{finished} finished" if finished else ""]
    table.caption = ", ".join(note for note in notes if note) or None
    table.caption_justify = "left"
    return table


def _badness(shard: ShardView) -> tuple[int, float]:
    return shard.judged.state.badness, 0.0 if shard.figures is None else shard.figures.lag_s


def _shard_cells(shard: ShardView) -> tuple[Text | str, ...]:
    figures, state = shard.figures, shard.judged.state
    known = (
        (NOTHING,) * 4
        if figures is None
        else (
            ago(figures.lag_s),
            f"{ago(figures.since_progress_s)} ago",
            f"{figures.open_records:,}",
            f"{figures.retrying_records:,}",
        )
    )
    return (
        Text(state.value, style=STYLES[state]),
        f"{'  ' * shard.depth}{shard.shard_id}",
        shard.owner_name or shard.owner or "nobody",
        *known,
        str(shard.epoch),
        "" if state is State.OK else shard.judged.why,
    )


def _workers(view: FleetView) -> Table:
    table = _table("worker", "state", ">shards", ">in/s", ">out/s", ">failures/s", ">CPU", ">up", ">heard")
    for worker in view.workers:
        table.add_row(*_worker_cells(worker, view.at_s))
    return table


def _worker_cells(worker: WorkerView, now_s: float) -> tuple[str, ...]:
    row, report = worker.row, worker.report
    rates = (NOTHING,) * 4
    if report is not None:
        told = report.rates
        rates = (f"{told.read:,.1f}", f"{told.settled:,.1f}", f"{told.failed:,.1f}", f"{told.processors:.0%}")
    up = ago(max(0.0, now_s - row.began_s)) if is_alive(row) and row.began_s else NOTHING
    heard = NOTHING if worker.silent_s is None else f"{ago(worker.silent_s)} ago"
    return (row.name or row.worker_id, row.state, str(row.held), *rates, up, heard)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(
            title.removeprefix(">"), justify="right" if title.startswith(">") else "left", no_wrap=title != "why"
        )
    return table
