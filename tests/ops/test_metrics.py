"""What Prometheus sees of a worker."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from headrace.core import verdict
from headrace.core.fleet_status import FleetStatus
from headrace.core.state_words import SHARD_STATES, Limits, State
from headrace.model import Instant, ShardId
from headrace.ops import catalogue
from headrace.ops.catalogue import CATALOGUE
from headrace.ops.event_log import EventLog
from headrace.ops.fleet_gauges import FleetGauges
from headrace.ops.metrics import Metrics, process_registry, tell_build
from headrace.ops.request_times import RequestTimes
from headrace.ops.tally import Tally
from headrace.ports import Observer, ShardStatus
from headrace.testing.observer import RecordingObserver

WALL_S = 1_800_000_000.0
ONE, TWO = ShardId("shardId-1"), ShardId("shardId-2")


FLEET = FleetStatus(
    owned=2, unowned=1, waiting=4, paused=5, unowned_lag_s=33.0, workers=3, retention_s=86_400.0, is_leaving=True
)


class StillClock:
    def __init__(self):
        self.passed = 0.0

    def now(self):
        return Instant(50.0 + self.passed)

    def wall(self):
        return datetime.fromtimestamp(WALL_S + self.passed, UTC)


class FakeShard:
    """A running shard whose facts a test sets."""

    oldest = None
    behind = 0.0

    def status(self):
        return ShardStatus(
            shard_id=ONE,
            epoch=7,
            checkpoint="000",
            open_records=3,
            retrying_records=1,
            oldest_open_arrival_s=self.oldest,
            behind_s=self.behind,
            last_progress=Instant(40.0),
            last_settled=Instant(40.0),
        )


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry, clock):
    return Metrics(registry, clock, "orders")


def value(registry, name, **labels):
    return registry.get_sample_value(name, {"stream": "orders", **labels})


def shards_shown(registry):
    return {
        sample.labels["shard"] for family in registry.collect() for sample in family.samples if "shard" in sample.labels
    }


def test_both_observers_have_every_method_of_the_port(metrics):
    """Typed assignment, checked by mypy, and by name here."""
    methods = {name for name in vars(Observer) if not name.startswith("_")}
    assert methods <= set(dir(metrics))
    assert methods <= set(dir(RecordingObserver()))


def test_every_metric_of_the_catalogue_is_exposed_and_no_other(registry, metrics):
    """The documented table is the truth."""
    metrics.shard_opened(ONE, FakeShard().status)
    limits = {catalogue.LEASE_DURATION: 10.0, catalogue.HANDLER_TIMEOUT: 60.0}
    registry.register(FleetGauges("orders", lambda: FLEET, limits))
    RequestTimes(registry, "orders")
    tell_build(registry)
    exposed = {family.name for family in registry.collect()}
    assert exposed == {metric.name.removesuffix("_total") for metric in CATALOGUE}


def test_the_catalogue_keeps_the_naming_rules():
    """Prefix, base units, _total for counters, no shard on histograms."""
    for metric in CATALOGUE:
        assert metric.name.startswith("headrace_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not metric.name.endswith(("_ms", "_milliseconds", "_minutes"))
        assert metric.meaning.endswith(".")
        if metric.kind == "histogram":
            assert "shard" not in metric.labels
            assert metric.buckets == tuple(sorted(set(metric.buckets)))


def test_counters_start_at_zero_so_that_the_first_event_is_an_increase(registry, metrics):
    """An alert on increase() must see the first dead letter."""
    assert value(registry, "headrace_dead_letters_total", reason=verdict.REJECTED) == 0
    assert value(registry, "headrace_records_total", outcome="buried") == 0
    assert value(registry, "headrace_destination_failures_total") == 0
    metrics.shard_opened(ONE, FakeShard().status)
    assert value(registry, "headrace_fetch_total", shard=ONE, result="throttled") == 0


def test_the_lag_of_a_stuck_shard_grows_while_nothing_happens(registry, metrics, clock):
    """It is computed at each scrape from the oldest open record."""
    shard = FakeShard()
    shard.oldest = WALL_S - 30
    metrics.shard_opened(ONE, shard.status)
    assert value(registry, "headrace_shard_lag_seconds", shard=ONE) == 30
    clock.passed = 600
    assert value(registry, "headrace_shard_lag_seconds", shard=ONE) == 630


def test_the_lag_is_zero_at_the_tip_and_the_sources_word_otherwise(registry, metrics):
    """Nothing open at the tip is no lag; nothing open behind it is what the last page said."""
    shard = FakeShard()
    metrics.shard_opened(ONE, shard.status)
    assert value(registry, "headrace_shard_lag_seconds", shard=ONE) == 0
    shard.behind = 12.5
    assert value(registry, "headrace_shard_lag_seconds", shard=ONE) == 12.5
    shard.oldest = WALL_S + 5  # the stream's clock is ahead of ours
    assert value(registry, "headrace_shard_lag_seconds", shard=ONE) == 0


def test_progress_is_shown_as_a_time_of_day(registry, metrics):
    """Ten monotonic seconds ago."""
    metrics.shard_opened(ONE, FakeShard().status)
    assert value(registry, "headrace_shard_last_progress_timestamp_seconds", shard=ONE) == WALL_S - 10


def test_what_a_worker_knows_of_the_fleet_is_shown_once_it_has_looked(registry):
    """Shards that nobody reads have no series of their own: these gauges are how they are seen."""
    seen = []
    registry.register(FleetGauges("orders", lambda: seen[0] if seen else None, {catalogue.LEASE_DURATION: 10.0}))
    assert value(registry, "headrace_stream_shards", state="unowned") is None
    assert value(registry, "headrace_lease_duration_seconds") == 10
    assert value(registry, "headrace_handler_timeout_seconds") is None
    seen.append(FLEET)
    states = ("owned", "unowned", "waiting", "paused")
    assert [value(registry, "headrace_stream_shards", state=state) for state in states] == [2, 1, 4, 5]
    assert value(registry, "headrace_stream_unowned_lag_seconds") == 33
    assert value(registry, "headrace_stream_retention_seconds") == 86_400
    assert value(registry, "headrace_workers") == 3
    assert value(registry, "headrace_worker_leaving") == 1


def test_what_is_told_is_counted(registry, metrics):
    """Each event reaches its metric."""
    metrics.shard_opened(ONE, FakeShard().status)
    metrics.page_fetched(ONE, 10, 4096)
    metrics.page_fetched(ONE, 0, 0)
    metrics.fetch_failed(ONE, "throttled")
    metrics.batch_handled(10, 0.02)
    metrics.records_settled(ONE, 9, WALL_S - 2)
    metrics.records_buried(ONE, 1, verdict.REJECTED)
    metrics.record_retried(ONE)
    metrics.checkpoint_written(ONE)
    metrics.destination_failed(ONE)
    metrics.lease_changed(ONE, "claimed")
    metrics.heartbeat_sent(0.01)
    metrics.loop_delayed(0.2)
    metrics.worker_fenced()
    metrics.peer_fenced()
    seen = {
        "fetched": value(registry, "headrace_records_fetched_total", shard=ONE),
        "bytes": value(registry, "headrace_bytes_fetched_total", shard=ONE),
        "empty": value(registry, "headrace_fetch_total", shard=ONE, result="empty"),
        "throttled": value(registry, "headrace_fetch_total", shard=ONE, result="throttled"),
        "settled": value(registry, "headrace_records_total", outcome="settled"),
        "buried": value(registry, "headrace_records_total", outcome="buried"),
        "dead": value(registry, "headrace_dead_letters_total", reason=verdict.REJECTED),
        "retries": value(registry, "headrace_record_retries_total"),
        "checkpoints": value(registry, "headrace_checkpoints_total"),
        "failures": value(registry, "headrace_destination_failures_total"),
        "claimed": value(registry, "headrace_lease_transitions_total", transition="claimed"),
        "handled": value(registry, "headrace_handler_seconds_count"),
        "batch": value(registry, "headrace_batch_records_sum"),
        "way": value(registry, "headrace_end_to_end_seconds_sum"),
        "heartbeat": value(registry, "headrace_heartbeat_seconds_count"),
        "late": value(registry, "headrace_event_loop_delay_seconds_sum"),
        "fenced": value(registry, "headrace_worker_fenced_total"),
        "peers": value(registry, "headrace_peers_fenced_total"),
        "held": value(registry, "headrace_leases_held"),
        "epoch": value(registry, "headrace_shard_epoch", shard=ONE),
    }
    assert seen == {
        "fetched": 10, "bytes": 4096, "empty": 1, "throttled": 1, "settled": 9, "buried": 1, "dead": 1, "retries": 1,
        "checkpoints": 1, "failures": 1, "claimed": 1, "handled": 1, "batch": 10, "way": 2, "heartbeat": 1, "late": 0.2, "fenced": 1,
        "peers": 1, "held": 1, "epoch": 7,
    }  # fmt: skip


def test_a_closed_shard_leaves_no_series_behind(registry, metrics):
    """Two workers that show one shard make lag lie; reshards would add series for good."""
    for shard in (ONE, TWO):
        metrics.shard_opened(shard, FakeShard().status)
        metrics.page_fetched(shard, 1, 1)
    metrics.shard_closed(ONE)
    assert shards_shown(registry) == {TWO}


def test_an_event_after_the_close_does_not_bring_the_series_back(registry, metrics):
    """A late page of a lost shard is none of ours."""
    metrics.shard_opened(ONE, FakeShard().status)
    metrics.shard_closed(ONE)
    metrics.shard_closed(ONE)
    metrics.page_fetched(ONE, 1, 1)
    metrics.fetch_failed(ONE, "error")
    metrics.records_settled(ONE, 1, WALL_S)
    assert shards_shown(registry) == set()
    assert value(registry, "headrace_records_total", outcome="settled") == 1


def test_totals_survive_the_shard_that_they_came_from(registry, metrics):
    """A dead letter just before a handoff must not vanish with the series."""
    metrics.shard_opened(ONE, FakeShard().status)
    metrics.records_buried(ONE, 1, verdict.WRITE_REFUSED)
    metrics.shard_closed(ONE)
    assert value(registry, "headrace_dead_letters_total", reason=verdict.WRITE_REFUSED) == 1


def test_the_process_registry_shows_memory_and_cpu_and_no_created_series(clock):
    """What the memory limit of a container is compared with."""
    registry = process_registry("1.2")
    Metrics(registry, clock, "orders")
    text = generate_latest(registry).decode()
    assert "process_resident_memory_bytes" in text
    assert 'native="1.2"' in next(line for line in text.splitlines() if line.startswith("headrace_build_info{"))
    assert "_created" not in text


def test_the_recording_observer_keeps_what_it_was_told_in_order():
    """For tests of flows and handlers."""
    observer = RecordingObserver()
    observer.shard_opened(ONE, FakeShard().status)
    observer.page_fetched(ONE, 2, 10)
    observer.shard_closed(ONE)
    assert observer.calls == [("shard_opened", ONE), ("page_fetched", ONE, 2, 10), ("shard_closed", ONE)]
    assert observer.named("page_fetched") == [(ONE, 2, 10)]
    assert observer.running == {}


def test_the_sink_s_own_counts_are_asked_for_at_each_scrape(registry):
    """And those it has none of are 0, so that the first one is an increase."""
    counts = {"requests": 3, "written": 70}
    Metrics(registry, StillClock(), "orders", lambda: counts)
    read = lambda name, result: registry.get_sample_value(name, {"stream": "orders", "result": result})  # noqa: E731

    assert read("headrace_sink_requests_total", "requests") == 3
    counts["written"] = 95
    assert read("headrace_sink_writes_total", "written") == 95
    assert read("headrace_sink_writes_total", "refused") == 0


def test_the_state_of_each_shard_is_one_word_of_four(registry):
    """What alerts go by is what the page says: of a running shard, with the limits of the settings."""
    clock = StillClock()
    limits = Limits(retention_s=86_400, lagging_s=20, stalled_s=30)
    metrics = Metrics(registry, clock, "orders", limits=limits)
    shard = FakeShard()
    metrics.shard_opened(ONE, shard.status)

    def states():
        names = [state.value for state in SHARD_STATES if state is not State.UNOWNED]
        labels = {"stream": "orders", "shard": ONE}
        return [registry.get_sample_value("headrace_shard_state", {**labels, "state": name}) for name in names]

    assert states() == [1, 0, 0, 0]
    shard.oldest = WALL_S - 21
    assert states() == [0, 1, 0, 0]
    clock.passed = 20.0
    assert states() == [0, 0, 1, 0]
    shard.oldest = WALL_S - 43_200
    assert states() == [0, 0, 0, 1]


def test_a_state_goes_by_the_retention_as_the_stream_has_it_now(registry):
    """To raise it is what the page tells an operator to do about records at risk, and the alert has to see that it was done."""
    clock = StillClock()
    limits = Limits(retention_s=86_400, lagging_s=20, stalled_s=30)
    tally = Tally(registry, clock, "orders", limits=limits, events=EventLog("w", clock))
    shard = FakeShard()
    shard.oldest = WALL_S - 50_000
    tally.shard_opened(ONE, shard.status)
    is_losing = lambda: registry.get_sample_value(  # noqa: E731
        "headrace_shard_state", {"stream": "orders", "shard": ONE, "state": State.LOSING_DATA.value}
    )

    assert is_losing() == 1
    tally.fleet = lambda: replace(FLEET, retention_s=7 * 86_400.0)
    assert is_losing() == 0
