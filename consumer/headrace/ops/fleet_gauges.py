"""Gauges of what a worker knows of the whole fleet, asked at each scrape, and of the settings that alerts compare with.

Every worker shows them, so boards and alerts take the maximum over the workers: one that was cut off may still show what
it saw last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from headrace.core.fleet_status import FleetStatus
from headrace.ops import catalogue
from headrace.ops.catalogue import Metric


@dataclass(frozen=True, slots=True, eq=False)
class FleetGauges(Collector):
    """`ask` gives None while the worker has not registered; `limits` are the settings shown, in seconds."""

    stream: str
    ask: Callable[[], FleetStatus | None]
    limits: Mapping[Metric, float]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each."""
        seen = self.ask()
        if seen is not None:
            shards = {
                "owned": seen.owned,
                "unowned": seen.unowned,
                "waiting": seen.waiting,
                "paused": seen.paused,
            }
            yield self._family(catalogue.STREAM_SHARDS, {(state,): shards[state] for state in shards})
            yield self._one(catalogue.UNOWNED_LAG, seen.unowned_lag_s)
            yield self._one(catalogue.RETENTION, seen.retention_s)
            yield self._one(catalogue.WORKERS, seen.workers)
            yield self._one(catalogue.LEAVING, seen.is_leaving)
        for metric, seconds in self.limits.items():
            yield self._one(metric, seconds)

    def _one(self, metric: Metric, value: float) -> GaugeMetricFamily:
        return self._family(metric, {(): value})

    def _family(self, metric: Metric, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for labels, value in values.items():
            family.add_metric([self.stream, *labels], value)
        return family
