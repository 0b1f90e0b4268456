"""Takes PromQL apart as far as these tests need: which series it names, with which labels."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headrace.ops.catalogue import CATALOGUE, Metric

BY_NAME = {metric.name: metric for metric in CATALOGUE}
NAME = re.compile(r"\b(?:headrace|process|python)_\w+")
SELECTED = re.compile(r"\b(headrace_\w+)\s*\{([^}]*)\}")
LABEL = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
OF_THE_SCRAPE = {"job", "instance", "process", "le", "__name__"}
"""Labels that Prometheus, the supervising process or a histogram adds."""


def metric_of(series: str) -> Metric | None:
    """The metric of the catalogue that a series belongs to."""
    return BY_NAME.get(series) or BY_NAME.get(re.sub(r"_(bucket|sum|count)$", "", series))


def troubles(expression: str) -> Iterator[str]:
    """What is wrong: a series nobody exposes, a label it does not have, a value that never occurs."""
    for series in NAME.findall(expression):
        if series.startswith("headrace_") and metric_of(series) is None:
            yield f"{series} is exposed by nobody"
    for series, selector in SELECTED.findall(expression):
        metric = metric_of(series)
        if metric is not None:
            yield from _wrong_labels(metric, selector)


def _wrong_labels(metric: Metric, selector: str) -> Iterator[str]:
    for label, operator, text in LABEL.findall(selector):
        if label not in {*metric.labels, *OF_THE_SCRAPE}:
            yield f"{metric.name} has no label {label}"
        elif metric.values and label == metric.labels[-1]:
            words = text.split("|") if operator == "=~" else [text]
            yield from (f"{metric.name} never has {label}={word}" for word in words if word not in metric.values)
