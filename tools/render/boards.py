"""The boards of Grafana: Fleet (how is the stream?) and Shard (what is this one doing?), as Grafana's JSON.

Which data source, job and stream is looked at is chosen on the board; both link to each other. Of gauges that two workers
may show for one shard, or every worker for the fleet, the maximum is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

SOURCE: Json = {"type": "prometheus", "uid": "${source}"}
FLEET = 'job=~"$job", stream=~"$stream"'
SHARD = f'{FLEET}, shard=~"$shard"'
RATE = "$__rate_interval"
LAG = f'{{__name__=~"headrace_shard_lag_seconds|headrace_stream_unowned_lag_seconds", {FLEET}}}'

GREEN, AMBER, RED = "green", "orange", "red"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: `queries` are pairs of expression and legend; `steps` the values from which it is amber and red."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    steps: tuple[float, float] | None = None
    about: str = ""
    is_stacked: bool = False


def boards() -> dict[str, Json]:
    """Both, by the name of their file."""
    return {
        "fleet": _board("headrace-fleet", "headrace: fleet", [*_verdict(), *_flow(), *_shards(), *_around()], []),
        "shard": _board("headrace-shard", "headrace: shard", _one_shard(), [_variable("shard", f"label_values(headrace_shard_epoch{{{FLEET}}}, shard)")]),
    }  # fmt: skip


# --- fleet ---------------------------------------------------------------------------------------------------------------


def _verdict() -> list[Panel]:
    outgoing = f"sum(rate(headrace_records_total{{{FLEET}}}[{RATE}]))"
    incoming = f"sum(rate(headrace_records_fetched_total{{{FLEET}}}[{RATE}]))"
    retried = f"sum(rate(headrace_record_retries_total{{{FLEET}}}[{RATE}]))"
    catching_up = f"-max({LAG}) / (deriv((max({LAG}))[10m:30s]) < 0)"
    return [
        _figure("Worst lag", f"max({LAG})", "s", (60, 600), "Age of the oldest record that is not settled."),
        _figure("Caught up in", catching_up, "s", None, "At the pace of the last ten minutes; nothing while the lag does not fall."),
        _figure("Read", incoming, "cps"),
        _figure("Done", outgoing, "cps", None, "Settled, buried or filtered."),
        _figure("Failed attempts", retried, "cps", (0.1, 10)),
        _figure("Retrying now", f"sum(max by (shard) (headrace_shard_retrying_records{{{FLEET}}}))", "short", (1, 1000)),
        _figure("Buried", f'sum(increase(headrace_records_total{{outcome="buried", {FLEET}}}[$__range]))', "short", (1, 1000), "Within the time that is shown."),
        _figure("Unowned shards", f'max(headrace_stream_shards{{state="unowned", {FLEET}}})', "short", (1, 1)),
        _figure("Held shards", f"sum(max by (shard) (headrace_shard_halted{{{FLEET}}}))", "short", (1, 1), "Not read, because records may be lost."),
        _figure("Workers", f"max(headrace_workers{{{FLEET}}})", "short"),
    ]  # fmt: skip


def _flow() -> list[Panel]:
    done = f"sum by (outcome) (rate(headrace_records_total{{{FLEET}}}[{RATE}]))"
    return [
        Panel("Lag of each shard", [(f"max by (shard) (headrace_shard_lag_seconds{{{FLEET}}})", "{{shard}}"), (f"max(headrace_stream_unowned_lag_seconds{{{FLEET}}})", "unowned")], "s", width=12, height=9),
        Panel("Records", [(f"sum(rate(headrace_records_fetched_total{{{FLEET}}}[{RATE}]))", "read"), (done, "{{outcome}}")], "cps", width=12, height=9),
        Panel("From arrival to durable", _quantiles("headrace_end_to_end_seconds"), "s", about="Of the oldest record of each batch."),
        Panel("Handler, a batch", _quantiles("headrace_handler_seconds"), "s"),
        Panel("Records in a batch", _quantiles("headrace_batch_records"), "short"),
    ]  # fmt: skip


def _shards() -> list[Panel]:
    columns = [
        (f"max by (shard) (headrace_shard_lag_seconds{{{FLEET}}})", "lag (s)"),
        (f"time() - max by (shard) (headrace_shard_last_progress_timestamp_seconds{{{FLEET}}})", "since progress (s)"),
        (f"max by (shard) (headrace_shard_open_records{{{FLEET}}})", "open"),
        (f"max by (shard) (headrace_shard_retrying_records{{{FLEET}}})", "retrying"),
        (f"max by (shard) (headrace_shard_epoch{{{FLEET}}})", "epoch"),
    ]
    return [Panel("Shards", columns, kind="table", width=24, height=9)]


def _around() -> list[Panel]:
    def rate(name: str, by: str) -> list[tuple[str, str]]:
        return [(f"sum by ({by}) (rate({name}{{{FLEET}}}[{RATE}]))", f"{{{{{by}}}}}")]

    return [
        Panel("Dead letters", rate("headrace_dead_letters_total", "reason"), "cps", is_stacked=True),
        Panel("Reads", rate("headrace_fetch_total", "result"), "cps", is_stacked=True),
        Panel("Write requests", rate("headrace_sink_requests_total", "result"), "cps"),
        Panel("Writes", rate("headrace_sink_writes_total", "result"), "cps"),
        Panel("Leases come and go", rate("headrace_lease_transitions_total", "transition"), "cps", is_stacked=True),
        Panel("Leases of each worker", [(f"headrace_leases_held{{{FLEET}}}", "{{instance}} {{process}}")], is_stacked=True),
        Panel("Heartbeats", _quantiles("headrace_heartbeat_seconds"), "s"),
        Panel("Main loop late by", _quantiles("headrace_event_loop_delay_seconds"), "s"),
        Panel("Calls to AWS take", [(f"histogram_quantile(0.99, sum by (operation, le) (rate(headrace_aws_request_seconds_bucket{{{FLEET}}}[{RATE}])))", "{{operation}}")], "s", about="One in a hundred takes longer."),
        Panel("Calls to AWS", [(f"sum by (operation) (rate(headrace_aws_request_seconds_count{{{FLEET}}}[{RATE}]))", "{{operation}}")], "cps", is_stacked=True),
        Panel("Trouble", [
            (f"sum(increase(headrace_destination_failures_total{{{FLEET}}}[{RATE}]))", "dead letter not stored"),
            (f"sum(increase(headrace_shard_stalls_total{{{FLEET}}}[{RATE}]))", "shard stalled"),
            (f"sum(increase(headrace_losses_total{{{FLEET}}}[{RATE}]))", "loss"),
            (f"sum(increase(headrace_worker_fenced_total{{{FLEET}}}[{RATE}]))", "worker declared dead"),
        ]),
        Panel("Processors", [(f'rate(process_cpu_seconds_total{{job=~"$job"}}[{RATE}])', "{{instance}} {{process}}")]),
        Panel("Memory", [('process_resident_memory_bytes{job=~"$job"}', "{{instance}} {{process}}")], "bytes"),
        Panel("Versions", [('count by (version, python) (headrace_build_info{job=~"$job"})', "{{version}} on Python {{python}}")]),
    ]  # fmt: skip


# --- shard ---------------------------------------------------------------------------------------------------------------


def _one_shard() -> list[Panel]:
    def top(name: str) -> str:
        return f"max by (shard) ({name}{{{SHARD}}})"

    return [
        _figure("Lag now", f"max(headrace_shard_lag_seconds{{{SHARD}}})", "s", (60, 600)),
        _figure("Since progress", f"time() - max(headrace_shard_last_progress_timestamp_seconds{{{SHARD}}})", "s", (60, 300)),
        _figure("Open records", f"max(headrace_shard_open_records{{{SHARD}}})"),
        _figure("Retrying", f"max(headrace_shard_retrying_records{{{SHARD}}})", "short", (1, 1000)),
        _figure("Held", f"max(headrace_shard_halted{{{SHARD}}})", "short", (1, 1)),
        _figure("Epoch", f"max(headrace_shard_epoch{{{SHARD}}})"),
        Panel("Lag", [(top("headrace_shard_lag_seconds"), "{{shard}}"), (top("headrace_shard_source_lag_seconds"), "{{shard}}, as the stream says")], "s", width=12, height=9),
        Panel("Without progress", [(f"time() - {top('headrace_shard_last_progress_timestamp_seconds')}", "{{shard}}")], "s", width=12, height=9),
        Panel("Open and retrying", [(top("headrace_shard_open_records"), "{{shard}} open"), (top("headrace_shard_retrying_records"), "{{shard}} retrying")]),
        Panel("Records read", [(f"sum by (shard) (rate(headrace_records_fetched_total{{{SHARD}}}[{RATE}]))", "{{shard}}")], "cps"),
        Panel("Bytes read", [(f"sum by (shard) (rate(headrace_bytes_fetched_total{{{SHARD}}}[{RATE}]))", "{{shard}}")], "Bps"),
        Panel("Reads", [(f"sum by (shard, result) (rate(headrace_fetch_total{{{SHARD}}}[{RATE}]))", "{{shard}} {{result}}")], "cps", width=12, is_stacked=True),
        Panel("Who reads it", [(f"headrace_shard_epoch{{{SHARD}}}", "{{instance}} {{process}}: {{shard}}")], width=12, about="One line for each worker that shows the shard; it rises with each change of owner."),
    ]  # fmt: skip


# --- Grafana's form --------------------------------------------------------------------------------------------------------


def _figure(
    title: str, query: str, unit: str = "short", steps: tuple[float, float] | None = None, about: str = ""
) -> Panel:
    return Panel(title, [(query, "")], unit, "stat", width=4, height=4, steps=steps, about=about)


def _quantiles(name: str) -> list[tuple[str, str]]:
    rate = f"sum by (le) (rate({name}_bucket{{{FLEET}}}[{RATE}]))"
    return [(f"histogram_quantile({share}, {rate})", f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)]


def _board(uid: str, title: str, panels: Sequence[Panel], more: list[Json]) -> Json:
    return {
        "uid": uid,
        "title": title,
        "tags": ["headrace"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "links": [{"type": "dashboards", "tags": ["headrace"], "title": "headrace", "includeVars": True, "keepTime": True}],
        "templating": {"list": [_source(), *_choices(), *more]},
        "panels": _placed(panels),
    }  # fmt: skip


def _source() -> Json:
    return {"name": "source", "label": "data source", "type": "datasource", "query": "prometheus"}


def _choices() -> list[Json]:
    jobs = _variable("job", "label_values(headrace_build_info, job)")
    return [jobs, _variable("stream", 'label_values(headrace_leases_held{job=~"$job"}, stream)')]


def _variable(name: str, query: str) -> Json:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "includeAll": name != "stream",
        "multi": name != "stream",
        "current": {"text": "All", "value": "$__all"} if name != "stream" else {},
    }


def _placed(panels: Sequence[Panel]) -> list[Json]:
    """From left to right, a new row where one is full."""
    placed: list[Json] = []
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > 24 or (height and panel.height != height):  # noqa: PLR2004 - Grafana's columns
            x, y = 0, y + height
        height = panel.height
        placed.append({"id": number, "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height}, **_panel(panel)})
        x += panel.width
    return placed


def _panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "targets": [_target(panel, number, *query) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
        **({"transformations": _columns(panel)} if panel.kind == "table" else {}),
    }


def _target(panel: Panel, number: int, expression: str, legend: str) -> Json:
    is_table = panel.kind == "table"
    shape = {"format": "table", "instant": True} if is_table else {"legendFormat": legend, "range": True}
    return {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expression, **shape}


def _field(panel: Panel) -> Json:
    amber, red = panel.steps or (None, None)
    steps = [{"color": GREEN, "value": None}]
    if amber is not None and amber != red:
        steps.append({"color": AMBER, "value": amber})
    if red is not None:
        steps.append({"color": RED, "value": red})
    custom = {"fillOpacity": 10, "showPoints": "never", "stacking": {"mode": "normal" if panel.is_stacked else "none"}}
    return {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
        **({"custom": custom} if panel.kind == "timeseries" else {}),
    }


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        calculated = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": calculated, "graphMode": "area", "colorMode": "value"}
    if panel.kind == "table":
        return {"sortBy": [{"displayName": panel.queries[0][1], "desc": True}]}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}


def _columns(panel: Panel) -> list[Json]:
    named = {f"Value #{chr(ord('A') + number)}": name for number, (_, name) in enumerate(panel.queries)}
    return [
        {"id": "joinByField", "options": {"byField": "shard", "mode": "outer"}},
        {"id": "filterFieldsByName", "options": {"include": {"names": ["shard", *named]}}},
        {"id": "organize", "options": {"renameByName": named}},
    ]
