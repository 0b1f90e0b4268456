"""How long calls to AWS take, by service and operation: a histogram that the clients fill, from any thread."""

from __future__ import annotations

from prometheus_client import Histogram
from prometheus_client.registry import CollectorRegistry

from headrace.ops.catalogue import AWS_REQUEST_SECONDS


class RequestTimes:
    """Of one worker. A series begins with the first call of its operation."""

    def __init__(self, registry: CollectorRegistry, stream: str) -> None:
        metric = AWS_REQUEST_SECONDS
        self._histogram = Histogram(
            metric.name, metric.meaning, metric.labels, registry=registry, buckets=metric.buckets
        )
        self._stream = stream
        self._series: dict[tuple[str, str], Histogram] = {}

    def took(self, service: str, operation: str, seconds: float) -> None:
        """A call came to its end, whatever it was."""
        name = (service, operation)
        if (series := self._series.get(name)) is None:
            series = self._series[name] = self._histogram.labels(self._stream, service, operation)
        series.observe(seconds)
