"""A worker as a process of its own, whose spans arrive at a collector: a small receiver of OTLP over HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from process.conftest import until

pytestmark = [pytest.mark.process, pytest.mark.servers]

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

HANDLER = '''
"""Traces a call of its own, as an instrumented client does."""
import structlog
from opentelemetry import trace
from headrace import Put, Record

log = structlog.get_logger("readings")

def handle(record: Record) -> Put:
    with trace.get_tracer("readings").start_as_current_span("own"):
        log.info("handled")
        payload = record.json()
        if payload["n"] == 1:
            raise ValueError("secret-of-the-payload")
        return Put({"pk": str(record.sequence_number), "n": payload["n"]})
'''


@dataclass
class Collector:
    """Where spans arrive."""

    url: str = ""
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append(ExportTraceServiceRequest.FromString(await request.read()))
        self.headers.append(request.headers.get("x-tenant", ""))
        return web.Response(content_type="application/x-protobuf")

    def spans(self, name: str):
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.name == name
        ]

    def resources(self):
        return [
            {one.key: one.value.string_value for one in resource.resource.attributes}
            for request in self.requests
            for resource in request.resource_spans
        ]


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    found, app = Collector(), web.Application()
    app.router.add_post("/v1/traces", found.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = "http://{}:{}".format(*runner.addresses[0][:2])
        yield found
    finally:
        await runner.cleanup()


async def test_batches_arrive_at_the_collector_with_what_is_below_them_and_log_lines_tell_their_ids(stage):
    """From a record's producer to the write in DynamoDB and to the dead letter, and no payload on the way."""
    async with stage(shards=1) as s, collector() as there:
        (s.folder / "traced_handler.py").write_text(HANDLER)
        for n in range(3):
            data = json.dumps({"n": n, "meta": {"traceparent": PARENT}}).encode()
            await s.clients.kinesis.put_record(StreamName=s.stream, Data=data, PartitionKey=f"k{n}")
        worker = s.start(
            HEADRACE_HANDLER="traced_handler:handle",
            HEADRACE_TRACES_ENABLED="true",
            HEADRACE_TRACES_FIELD="meta.traceparent",
            HEADRACE_RETRY_MAXIMUM_ATTEMPTS="0",
            OTEL_EXPORTER_OTLP_ENDPOINT=there.url,
            OTEL_EXPORTER_OTLP_HEADERS="x-tenant=sensors",
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
        await s.all_written_but(3, {1})
        await until(lambda: worker.events("record_buried"), 20, worker.log.read_text)
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(within_s=15) == 0, worker.log.read_text()

        batches = there.spans(f"process {s.stream}")
        trace_ids = {span.trace_id for span in batches}
        assert {link.trace_id.hex() for span in batches for link in span.links} == {PARENT.split("-")[1]}
        for below in ("handle", "dynamodb.BatchWriteItem"):
            assert there.spans(below), below
            assert {span.trace_id for span in there.spans(below)} <= trace_ids
        handles = {span.span_id for span in there.spans("handle")}
        assert {span.parent_span_id for span in there.spans("own")} <= handles
        (letter,) = [span for span in batches if any(one.key == "error.type" for one in span.attributes)]
        puts = there.spans("dynamodb.PutItem") + there.spans("dynamodb.BatchWriteItem")
        assert letter.span_id in {span.parent_span_id for span in puts}
        (buried,) = worker.events("record_buried")
        assert (buried["trace_id"], buried["span_id"]) == (letter.trace_id.hex(), letter.span_id.hex())
        assert {line["trace_id"] for line in worker.events("handled")} <= {one.hex() for one in trace_ids}
        assert "trace_id" not in worker.events("worker_started")[0]
        assert set(there.headers) == {"sensors"}
        assert {one["service.name"] for one in there.resources()} == {s.environment["HEADRACE_APPLICATION"]}
        ours = [*batches, *there.spans("handle"), *puts]
        assert not any(b"secret-of-the-payload" in span.SerializeToString() for span in ours)


async def test_a_collector_that_is_away_holds_up_neither_records_nor_the_stop(stage):
    """Spans are thrown away before anything else suffers."""
    async with stage(shards=1) as s:
        await s.put(0, 50)
        worker = s.start(HEADRACE_TRACES_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
        await s.all_written(50)
        began = asyncio.get_running_loop().time()
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(within_s=15) == 0, worker.log.read_text()
        assert asyncio.get_running_loop().time() - began < 8
        assert "Traceback" not in worker.log.read_text()
