"""Metrics of several processes as one page: the same families, every sample with the number of its process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL = "process"


class _Pages(Collector):
    """What the pages hold, by family."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages

    def collect(self) -> Iterator[Metric]:
        """Each family once, whoever has it."""
        families: dict[str, Metric] = {}
        for process, page in self._pages.items():
            for family in text_string_to_metric_families(page):
                merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.add_sample(sample.name, {**sample.labels, LABEL: process}, sample.value)
        yield from families.values()


def merged(pages: Mapping[str, str]) -> bytes:
    """One page in the text format of Prometheus, from those of the processes, by their numbers."""
    registry = CollectorRegistry()
    registry.register(_Pages(pages))
    return generate_latest(registry)
