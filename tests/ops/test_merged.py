"""Metrics of several processes on one page."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from headrace.ops.merged import merged


def page(settled: float) -> str:
    registry = CollectorRegistry()
    Counter("headrace_records_total", "Records done with.", ["outcome"], registry=registry).labels("settled").inc(
        settled
    )
    Histogram("headrace_handler_seconds", "Time.", registry=registry, buckets=(1.0, 2.0)).observe(settled)
    Gauge("headrace_leases_held", "Shards.", registry=registry).set(2)
    return generate_latest(registry).decode()


def test_every_sample_keeps_its_labels_and_tells_its_process():
    """Counters, histograms and gauges alike; each family once."""
    text = merged({"0": page(1.5), "1": page(0.5)}).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    assert families["headrace_records"].type == "counter"
    totals = {s.labels["process"]: s.value for s in families["headrace_records"].samples if s.name.endswith("_total")}
    assert totals == {"0": 1.5, "1": 0.5}
    assert families["headrace_handler_seconds"].type == "histogram"
    buckets = [s for s in families["headrace_handler_seconds"].samples if s.name.endswith("_bucket")]
    assert {(s.labels["process"], s.labels["le"]) for s in buckets} == {
        (process, le) for process in "01" for le in ("1.0", "2.0", "+Inf")
    }
    assert text.count("# TYPE headrace_leases_held gauge") == 1


def test_no_process_is_an_empty_page():
    """At the start nobody has anything to tell."""
    assert merged({}) == b""
