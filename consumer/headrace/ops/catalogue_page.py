"""docs/metrics.md, made from the catalogue: `python -m headrace.ops.catalogue_page > docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.ops.catalogue import CATALOGUE, Metric

_INTRODUCTION: Final = """\
# Metrics

Served at `/metrics` of every worker (`HEADRACE_OPS_PORT`), in the text format of Prometheus or as OpenMetrics. Base units: seconds,
bytes, records. Counters begin at 0, so that the first event is an increase.

- A series with the label `shard` is there while this worker runs the shard, and goes with its lease; two workers never show
  one shard for longer than a scrape. Boards take `max by (stream, shard)`.
- What must not be lost when a shard moves (records settled, dead letters) has no shard label, and no histogram has one.
- Gauges are computed at each scrape: the lag of a shard that is stuck grows, though nothing happens.
- Gauges of the fleet are shown by every worker; take the maximum over them.
- With `HEADRACE_PROCESSES` the supervising process serves the metrics of all of its workers, each with the label `process`.

Beside these are the process's own (`process_*`, `python_gc_*`). What to alert on and what to do then: [runbooks](runbooks.md).

This page is made from the catalogue: `python -m headrace.ops.catalogue_page > docs/metrics.md`.
"""

_KINDS: Final = {"gauge": "Gauges", "counter": "Counters", "histogram": "Histograms"}


def markdown() -> str:
    """The page."""
    return "\n".join([_INTRODUCTION, *(line for kind in _KINDS for line in _section(kind))])


def _section(kind: str) -> Iterator[str]:
    yield from (f"## {_KINDS[kind]}", "", "| name | labels | meaning |", "| --- | --- | --- |")
    for metric in CATALOGUE:
        if metric.kind == kind:
            yield f"| `{metric.name}` | {_labels(metric)} | {metric.meaning}{_buckets(metric)} |"
    yield ""


def _labels(metric: Metric) -> str:
    if not metric.values:
        return ", ".join(f"`{label}`" for label in metric.labels)
    *others, last = metric.labels
    values = ", ".join(f"`{value}`" for value in metric.values)
    return f"{', '.join(f'`{label}`' for label in others)}, `{last}`: {values}"


def _buckets(metric: Metric) -> str:
    return f" Buckets up to {', '.join(f'{bound:g}' for bound in metric.buckets)}." if metric.buckets else ""


if __name__ == "__main__":
    import sys

    sys.stdout.write(markdown())
