"""Spans: what they are linked to, what a sampler leaves out, what the process says of itself."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from spans import PARENTS, Recorded, linked

from headrace.model import Record
from headrace.ops.otel import MOST_LINKS, TellingExporter, ids_of_the_moment, linked_contexts

STATE = {"traceparent": PARENTS[0], "tracestate": "vendor=1"}


def record(payload, attempt=1):
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Record(data, "key", 7, 0.0, "shard", attempt=attempt)


def found(payload, path="traceparent"):
    return [
        f"00-{one.trace_id:032x}-{one.span_id:016x}-01" for one in linked_contexts([record(payload)], path.split("."))
    ]


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"traceparent": PARENTS[0]}, "traceparent"),
        (STATE, "traceparent"),
        ({"detail": {"headers": {"traceparent": PARENTS[0]}}}, "detail.headers.traceparent"),
        ({"trace": PARENTS[0]}, "trace"),
    ],
)
def test_the_context_of_a_producer_is_found_where_the_setting_says(payload, path):
    """Kinesis records have no headers: it can only be in the payload."""
    assert found(payload, path) == [PARENTS[0]]


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff traceparent", b'{"traceparent": ', b'["traceparent"]', b'"traceparent"', b"{}",
        {"traceparent": 7}, {"traceparent": "nonsense"}, {"traceparent": f"00-{'0' * 32}-{'1' * 16}-01"},
        {"other": {"traceparent": PARENTS[0]}}, b"[" * 100_000 + b"traceparent",
    ],
    ids=lambda payload: str(payload)[:30],
)  # fmt: skip
def test_a_payload_without_a_context_is_passed_over(payload):
    """Whatever it is: tracing must not be able to fail a record."""
    assert found(payload) == []


def test_a_field_within_what_is_no_object_is_passed_over():
    """The path leads nowhere."""
    assert found({"detail": ["traceparent"]}, "detail.traceparent") == []


def test_a_context_that_many_records_share_is_linked_once_and_no_more_than_a_span_takes():
    """A batch of ten thousand records must not carry ten thousand links."""
    recorded = Recorded()
    same = [record({"traceparent": PARENTS[0]})] * 3
    with recorded.traces.batch([*same, *(record({"traceparent": parent}) for parent in PARENTS)]):
        pass
    (batch,) = recorded.spans
    assert linked(batch) == PARENTS[:MOST_LINKS]


def test_the_state_of_the_context_goes_along():
    """Vendors keep their own sampling in it."""
    (linked_to,) = linked_contexts([record(STATE)], ["traceparent"])
    assert linked_to.trace_state.get("vendor") == "1"


def test_a_batch_that_is_not_sampled_is_not_looked_into(monkeypatch):
    """A sampler of one in a hundred leaves ninety-nine without their cost."""
    monkeypatch.setattr("headrace.ops.otel.linked_contexts", lambda *_: pytest.fail("it was looked into"))
    recorded = Recorded(sampler=ALWAYS_OFF)
    with recorded.traces.batch([record(STATE)]) as batch, batch.begin("handle"):
        recorded.traces.request("dynamodb", "PutItem", [batch]).end()
    assert recorded.spans == ()


def test_what_is_raised_fails_a_part_and_its_whole_and_a_cancellation_does_not():
    """A stop is no failure."""
    recorded = Recorded()
    with recorded.traces.batch([]) as batch, pytest.raises(KeyError), batch.begin("handle"):
        raise KeyError("secret")
    with pytest.raises(BaseException, match="stop"), recorded.traces.batch([]):  # noqa: PT012 - one thing is raised
        from asyncio import CancelledError  # noqa: PLC0415 - of this test alone

        raise CancelledError("stop")
    assert [span.attributes.get("error.type") for span in recorded.spans] == ["KeyError", "KeyError", None]
    assert "secret" not in "".join(span.to_json() for span in recorded.spans)


def test_what_ends_twice_ended_once_and_fails_no_more():
    """Whoever gives a batch up need not know who else did."""
    recorded = Recorded()
    batch = recorded.traces.batch([])
    part = batch.begin("handle")
    batch.end()
    part.fail("late")
    batch.end()
    assert [(span.name, span.attributes.get("error.type")) for span in recorded.spans] == [("process stream", None)]


def test_a_log_line_carries_the_ids_of_the_span_that_it_is_written_in():
    """And none where there is none."""
    from headrace.ops import logs  # noqa: PLC0415 - it is put back below

    root, out = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("info", "json", out, moment=ids_of_the_moment)
        recorded = Recorded()
        with recorded.traces.batch([]) as batch:
            structlog.get_logger("x").info("within")
            logging.getLogger("y").warning("a library")
        structlog.get_logger("x").info("outside")
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        root.setLevel(level)
    context = batch.span.get_span_context()
    ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["event"], {k: v for k, v in line.items() if k.endswith("_id")}) for line in told] == [
        ("within", ids), ("a library", ids), ("outside", {}),
    ]  # fmt: skip


@pytest.mark.process
def test_the_process_is_named_after_the_application_unless_the_environment_says_otherwise():
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are what a platform sets."""
    code = (
        "import json; from headrace.ops.otel import start_exporting;"
        "print(json.dumps(dict(start_exporting('readings', 'worker-1').provider.resource.attributes)))"
    )
    environment = {"OTEL_RESOURCE_ATTRIBUTES": "service.version=9,team=sensors"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=30, capture_output=True, env=environment, text=True
    )
    told = json.loads(done.stdout)
    assert (told["service.name"], told["service.version"], told["team"]) == ("readings", "9", "sensors")
    assert told["service.instance.id"] == "worker-1"


def test_a_collector_that_is_away_is_told_by_one_event(monkeypatch, caplog):
    """Not by lines of the exporter's own with an address in each, which nothing collapses."""

    def away(_exporter, _spans):
        own = logging.getLogger(OTLPSpanExporter.__module__)
        own.warning("Transient error %s encountered, retrying in %.2fs.", ConnectionError("at 0x7f"), 1.03)
        own.error("Failed to export %s batch due to timeout, max retries or shutdown.", "span")
        return SpanExportResult.FAILURE

    monkeypatch.setattr(OTLPSpanExporter, "export", away)
    with structlog.testing.capture_logs() as told:
        exporter = TellingExporter()
        exporter.export([])
        exporter.shutdown()
    assert [(line["event"], line["error"]) for line in told] == [("spans_not_exported", "ConnectionError")]
    assert caplog.records == []
