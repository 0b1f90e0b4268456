"""The Observer that counts for Prometheus. Which metrics there are is told in `ops/catalogue.py`."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter, Gauge, GCCollector, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

import headrace
from headrace.core.state_words import Figures, Limits, judge_own
from headrace.loss import Loss
from headrace.model import Instant, ShardId
from headrace.ops import catalogue
from headrace.ops.catalogue import Metric
from headrace.ports import Clock, ShardStatus

UNKNOWN: Final = Limits(retention_s=0.0)
"""Where nobody says otherwise: the usual limits, of a stream that keeps records for ever."""


NO_NATIVE: Final = "none"
"""The version of the compiled transcoder where there is none."""


def process_registry(native: str = NO_NATIVE) -> CollectorRegistry:
    """A registry with what tells of the process itself: CPU time, memory, open files, garbage collection, what runs.

    `native` is the version of the compiled transcoder.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call] # those double the series and nothing asks for them
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    tell_build(registry, native)
    return registry


def tell_build(registry: CollectorRegistry, native: str = NO_NATIVE) -> None:
    """What runs, in a registry."""
    build = Gauge(*_named(catalogue.BUILD_INFO), catalogue.BUILD_INFO.labels, registry=registry)
    build.labels(headrace.__version__, platform.python_version(), native).set(1)


class Metrics:
    """Counts what the flow tells, under one stream's label; gauges of running shards are computed at scrape time."""

    def __init__(
        self,
        registry: CollectorRegistry,
        clock: Clock,
        stream: str,
        sink_counts: Callable[[], Mapping[str, int]] = dict,
        limits: Limits = UNKNOWN,
    ) -> None:
        """`sink_counts` are the sink's own, by name; those that it does not have are 0. States go by `limits`."""
        self._registry = registry
        self._clock = clock
        self._stream = stream
        self._shards: dict[ShardId, Callable[[], ShardStatus]] = {}
        counters = [metric for metric in catalogue.CATALOGUE if metric.kind == "counter" and not metric.is_asked_for]
        self._counters = {metric: self._counter(metric) for metric in counters}
        self._histograms = {
            metric: self._histogram(metric)
            for metric in catalogue.CATALOGUE
            if metric.kind == "histogram"
            and metric is not catalogue.AWS_REQUEST_SECONDS  # the clients fill it: `ops/request_times.py`
        }
        self._limits = limits
        registry.register(_RunningShards(self._shards, clock, stream, self.limits))
        registry.register(_AskedFor(sink_counts, stream))

    def limits(self) -> Limits:
        """What states go by now."""
        return self._limits

    def _counter(self, metric: Metric) -> Counter:
        counter = Counter(*_named(metric), metric.labels, registry=self._registry)
        if "shard" not in metric.labels:
            for child in _children(metric, self._stream):
                counter.labels(*child)
        return counter

    def _histogram(self, metric: Metric) -> Histogram:
        histogram = Histogram(*_named(metric), metric.labels, registry=self._registry, buckets=metric.buckets)
        return histogram.labels(self._stream)

    def _count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        self._counters[metric].labels(self._stream, *labels).inc(by)

    # --- shards -------------------------------------------------------------------------------------------------------

    def shard_opened(self, shard: ShardId, status: Callable[[], ShardStatus]) -> None:
        """Show the shard, its counters at 0."""
        self._shards[shard] = status
        for metric in _per_shard():
            for child in _children(metric, self._stream, shard):
                self._counters[metric].labels(*child)

    def shard_closed(self, shard: ShardId) -> None:
        """Remove every series of the shard."""
        if self._shards.pop(shard, None) is not None:
            for metric in _per_shard():
                for child in _children(metric, self._stream, shard):
                    self._counters[metric].remove(*child)

    def page_fetched(self, shard: ShardId, records: int, size: int) -> None:
        """Count a page."""
        if shard in self._shards:
            self._count(catalogue.FETCHES, shard, "ok" if records else "empty")
            if records:
                self._count(catalogue.FETCHED_RECORDS, shard, by=records)
                self._count(catalogue.FETCHED_BYTES, shard, by=size)

    def fetch_failed(self, shard: ShardId, reason: str) -> None:
        """Count a failed call."""
        if shard in self._shards:
            self._count(catalogue.FETCHES, shard, reason)

    # --- records ------------------------------------------------------------------------------------------------------

    def batch_handled(self, records: int, seconds: float) -> None:
        """Observe a batch."""
        self._histograms[catalogue.HANDLER_SECONDS].observe(seconds)
        self._histograms[catalogue.BATCH_RECORDS].observe(records)

    def records_settled(self, shard: ShardId, records: int, oldest_arrival_s: float) -> None:  # noqa: ARG002 - see the catalogue: these survive the shard
        """Count settled records, observe the oldest one's way."""
        self._count(catalogue.RECORDS, "settled", by=records)
        age_s = self._clock.wall().timestamp() - oldest_arrival_s
        self._histograms[catalogue.END_TO_END_SECONDS].observe(max(0.0, age_s))

    def records_filtered(self, shard: ShardId, records: int, not_json: int) -> None:  # noqa: ARG002 - likewise
        """Count what the filters did."""
        self._count(catalogue.RECORDS, "filtered", by=records)
        self._count(catalogue.NOT_JSON, by=not_json)

    def records_foreign(self, shard: ShardId, records: int) -> None:  # noqa: ARG002 - the port's
        """Count them."""
        self._count(catalogue.FOREIGN, by=records)

    def record_retried(self, shard: ShardId) -> None:  # noqa: ARG002 - likewise
        """Count an attempt that failed."""
        self._count(catalogue.RETRIES)

    def records_buried(self, shard: ShardId, records: int, reason: str) -> None:  # noqa: ARG002 - likewise
        """Count dead letters."""
        self._count(catalogue.RECORDS, "buried", by=records)
        self._count(catalogue.DEAD_LETTERS, reason, by=records)

    def checkpoint_written(self, shard: ShardId) -> None:  # noqa: ARG002 - likewise
        """Count a checkpoint."""
        self._count(catalogue.CHECKPOINTS)

    def destination_failed(self, shard: ShardId) -> None:  # noqa: ARG002 - likewise
        """Count a dead letter that could not be stored."""
        self._count(catalogue.DESTINATION_FAILURES)

    # --- leases -------------------------------------------------------------------------------------------------------

    def lease_changed(self, shard: ShardId, transition: str) -> None:  # noqa: ARG002 - likewise
        """Count a lease that came or went."""
        self._count(catalogue.TRANSITIONS, transition)

    def shard_stalled(self, shard: ShardId) -> None:  # noqa: ARG002 - likewise
        """Count it."""
        self._count(catalogue.STALLS)

    def loss_found(self, loss: Loss) -> None:
        """Count it."""
        self._count(catalogue.LOSSES, loss.value)

    def heartbeat_sent(self, seconds: float) -> None:
        """Observe a heartbeat."""
        self._histograms[catalogue.HEARTBEAT_SECONDS].observe(seconds)

    def loop_delayed(self, seconds: float) -> None:
        """Observe a pulse of the main loop."""
        self._histograms[catalogue.LOOP_DELAY_SECONDS].observe(seconds)

    def worker_fenced(self) -> None:
        """Count an own death."""
        self._count(catalogue.FENCED)

    def peer_fenced(self) -> None:
        """Count a peer's."""
        self._count(catalogue.PEERS_FENCED)


@dataclass(frozen=True, slots=True, eq=False)
class _RunningShards(Collector):
    """Gauges asked of the shards at each scrape: a stuck shard's lag grows instead of standing still."""

    shards: dict[ShardId, Callable[[], ShardStatus]]
    clock: Clock
    stream: str
    limits: Callable[[], Limits]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each gauge of the catalogue that is about shards."""
        shown = {shard: status() for shard, status in self.shards.items()}
        yield self._states(shown)
        for metric, ask in self._questions().items():
            family = GaugeMetricFamily(*_named(metric), labels=metric.labels)
            for shard, status in shown.items():
                family.add_metric([self.stream, shard], ask(status))
            yield family
        held = GaugeMetricFamily(*_named(catalogue.SHARDS_HELD), labels=catalogue.SHARDS_HELD.labels)
        held.add_metric([self.stream], len(self.shards))
        yield held

    def _states(self, shown: Mapping[ShardId, ShardStatus]) -> GaugeMetricFamily:
        now, wall_s, metric = self.clock.now(), self.clock.wall().timestamp(), catalogue.SHARD_STATE
        limits = self.limits()
        family = GaugeMetricFamily(*_named(metric), labels=metric.labels)
        for shard, status in shown.items():
            state = judge_own(figures_of(status, now, wall_s), limits).state
            for value in metric.values:
                family.add_metric([self.stream, shard, value], value == state.value)
        return family

    def _questions(self) -> dict[Metric, Callable[[ShardStatus], float]]:
        wall_s = self.clock.wall().timestamp()
        now = self.clock.now()
        return {
            catalogue.SHARD_LAG: lambda status: lag_s(status, wall_s),
            catalogue.SHARD_SOURCE_LAG: lambda status: status.behind_s,
            catalogue.SHARD_PROGRESS: lambda status: wall_s - (now - status.last_progress),
            catalogue.SHARD_OPEN: lambda status: status.open_records,
            catalogue.SHARD_RETRYING: lambda status: status.retrying_records,
            catalogue.SHARD_EPOCH: lambda status: status.epoch,
            catalogue.SHARD_HALTED: lambda status: status.halted is not None,
        }


@dataclass(frozen=True, slots=True, eq=False)
class _AskedFor(Collector):
    """Counters that the sink keeps itself, where counting costs least."""

    counts: Callable[[], Mapping[str, int]]
    stream: str

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One family for each of them."""
        counts = self.counts()
        for metric in catalogue.CATALOGUE:
            if metric.is_asked_for:
                family = CounterMetricFamily(*_named(metric), labels=metric.labels)
                for value in metric.values:
                    family.add_metric([self.stream, value], counts.get(value, 0))
                yield family


def lag_s(status: ShardStatus, wall_s: float) -> float:
    """Seconds behind: age of the oldest open record; with none open, what the source said (0 at the tip)."""
    oldest = status.oldest_open_arrival_s
    return status.behind_s if oldest is None else max(0.0, wall_s - oldest)


def figures_of(status: ShardStatus, now: Instant, wall_s: float) -> Figures:
    """What the owner of a running shard knows of it, as of now."""
    return Figures(
        lag_s=lag_s(status, wall_s),
        since_progress_s=now - status.last_progress,
        since_settled_s=now - status.last_settled,
        open_records=status.open_records,
        retrying_records=status.retrying_records,
        held_by=status.held_by,
        halted=status.halted,
    )


def _per_shard() -> list[Metric]:
    return [metric for metric in catalogue.CATALOGUE if metric.kind == "counter" and "shard" in metric.labels]


def _children(metric: Metric, *leading: str) -> list[tuple[str, ...]]:
    return [(*leading, value) for value in metric.values] or [leading]


def _named(metric: Metric) -> tuple[str, str]:
    return metric.name, metric.meaning
