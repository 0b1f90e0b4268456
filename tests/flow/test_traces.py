"""Batches as spans: what belongs to them, what they are linked to, how they fail."""

from __future__ import annotations

import asyncio
import json

import pytest
from flow.fleet import RULES, fleet, put_item
from opentelemetry import trace as otel
from opentelemetry.trace import StatusCode
from spans import PARENTS, Recorded, linked

from headrace.core.batching import BatchRules
from headrace.errors import Reject
from headrace.flow.workplace import LaneRules, ShardRules
from headrace.operations import Put
from headrace.ports import BatchHandler

pytestmark = pytest.mark.looptime


def put_traced(f, count, first=0):
    """Records whose producers were traced."""
    for number in range(first, first + count):
        f.stream.put(f"k{number}", json.dumps({"n": number, "traceparent": PARENTS[number]}).encode())


def item(record):
    return Put({"pk": str(record.sequence_number), "n": record.json()["n"]})


async def test_a_batch_is_one_span_with_the_shard_the_count_and_a_link_to_each_producer():
    """The messaging conventions of OpenTelemetry; a batch has many producers, and so no one parent."""
    recorded = Recorded()
    async with fleet() as f:
        put_traced(f, 3)
        f.start(handle=item, traces=recorded.traces)
        await f.until(lambda: len(f.sink.items) == 3 and recorded.named("process stream"))
    (batch,) = recorded.named("process stream")
    first, *_, last = [call.record for call in f.calls]
    assert batch.attributes == {
        "messaging.system": "aws_kinesis",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "stream",
        "messaging.destination.partition.id": first.shard_id,
        "messaging.consumer.group.name": "readings-writer",
        "messaging.batch.message_count": 3,
        "aws.kinesis.stream_name": "stream",
        "headrace.first_sequence_number": str(first.sequence_number),
        "headrace.last_sequence_number": str(last.sequence_number),
    }
    assert batch.kind is otel.SpanKind.CONSUMER
    assert batch.parent is None
    assert linked(batch) == PARENTS[:3]
    assert batch.status.status_code is StatusCode.UNSET
    assert recorded.parts_of(batch) == ["handle"]


async def test_what_the_handler_traces_itself_is_a_part_of_its_batch():
    """Plain, `async def` and batch handlers alike: their own calls to elsewhere show where they belong."""
    recorded = Recorded()

    def plain(record):
        with recorded.tracer.start_as_current_span("own"):
            return item(record)

    async def by_key(record):
        with recorded.tracer.start_as_current_span("own"):
            await asyncio.sleep(0.1)
            return item(record)

    async def batch(records, _context):
        with recorded.tracer.start_as_current_span("own"):
            await asyncio.sleep(0.1)
            return [item(record) for record in records]

    for way in ({"handle": plain}, {"handle": by_key, "is_async": True}, {"handle_batch": BatchHandler("b", batch)}):
        async with fleet() as f:
            put_traced(f, 1)
            f.start(traces=recorded.traces, **way)
            await f.until(lambda f=f: f.sink.items)
    assert len(recorded.named("process stream")) == 3
    assert [recorded.parts_of(handle) for handle in recorded.named("handle")] == [["own"]] * 3


async def test_a_record_that_fails_fails_its_batch_and_each_further_attempt_has_a_span_of_its_own():
    """With the class of the error and never its text, which may quote the payload."""
    recorded = Recorded()

    def handle(record):
        if record.json()["n"] == 1 and record.attempt < 3:
            raise ValueError("the secret of the payload")
        return item(record)

    async with fleet() as f:
        put_traced(f, 3)
        f.start(handle=handle, traces=recorded.traces)
        await f.until(lambda: len(f.sink.items) == 3 and len(recorded.named("process stream")) == 3)
    spans = sorted(recorded.named("process stream"), key=lambda span: span.start_time)
    told = [(s.attributes["messaging.batch.message_count"], s.attributes.get("headrace.attempt"), s.attributes.get("error.type")) for s in spans]  # fmt: skip
    assert told == [(3, None, "ValueError"), (1, 2, "ValueError"), (1, 3, None)]
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert linked(spans[2]) == [PARENTS[1]]
    assert "secret" not in "".join(span.to_json() for span in recorded.spans)


async def test_each_record_of_an_async_handler_has_a_span():
    """Each key goes its own way, and so does each trace."""
    recorded = Recorded()

    async def handle(record):
        await asyncio.sleep(0.1)
        if record.json()["n"] == 1:
            raise Reject("no")
        return item(record)

    async with fleet() as f:
        put_traced(f, 3)
        f.start(handle=handle, is_async=True, traces=recorded.traces)
        await f.until(lambda: len(f.sink.items) == 2 and f.letters.letters)
    spans = recorded.named("process stream")
    assert sorted(linked(span)[0] for span in spans) == PARENTS[:3]
    assert [span.attributes.get("error.type") for span in spans].count("Reject") == 1


async def test_a_call_of_a_batch_handler_is_a_span_that_tells_of_partial_failures():
    """Each attempt with a part of the batch is a call."""
    recorded, calls = Recorded(), []

    async def handle(records, _context):
        calls.append(records)
        if len(calls) == 1:
            return {"batchItemFailures": [{"itemIdentifier": str(records[1].sequence_number)}]}
        return None

    rules = ShardRules(batch=BatchRules(100), retry=RULES.retry, lanes=LaneRules())
    async with fleet() as f:
        put_traced(f, 3)
        f.start(handle_batch=BatchHandler("b", handle), traces=recorded.traces, shard=rules)
        await f.until(lambda: len(recorded.named("process stream")) == 2)
    told = [(s.attributes["messaging.batch.message_count"], s.attributes.get("error.type")) for s in recorded.named("process stream")]  # fmt: skip
    assert told == [(3, "BatchItemFailure"), (2, None)]


async def test_a_transaction_is_below_the_batch_that_it_was_begun_for_and_linked_to_the_others_in_it():
    """Batches share transactions, which are cut by size and not by batch."""
    recorded = Recorded()
    async with fleet() as f:
        put_traced(f, 6)
        f.start(handle=item, transactional=True, traces=recorded.traces, shard=ShardRules(batch=BatchRules(2)))
        await f.until(lambda: len(f.sink.items) == 6)
    batches = {span.context.span_id for span in recorded.named("process stream")}
    assert len(batches) == 3
    below = [{one.parent.span_id, *(link.context.span_id for link in one.links)} for one in recorded.named("dynamodb.TransactWriteItems")]  # fmt: skip
    assert set.union(*below) == batches
    assert sum(map(len, below)) == 3, "each batch is in one"


async def test_a_batch_that_is_given_up_with_its_lease_ends_too():
    """A span that never ends is never sent: the batch would be missing just where something went wrong."""
    recorded = Recorded()
    async with fleet() as f:
        put_traced(f, 4)
        f.sink.fail_next(1000)
        f.start(handle=item, traces=recorded.traces, shard=ShardRules(batch=BatchRules(2)))
        await f.until(lambda: len(recorded.named("handle")) == 2)
        assert not recorded.named("process stream")
        await f.kill("w")
    assert len(recorded.named("process stream")) == 2


async def test_nothing_is_traced_where_tracing_is_off():
    """And the records are written as ever."""
    async with fleet() as f:
        f.put(3)
        f.start(handle=put_item)
        await f.until(f.all_written)
        assert otel.get_current_span() is otel.INVALID_SPAN
