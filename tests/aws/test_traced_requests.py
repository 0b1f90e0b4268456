"""Requests to AWS as parts of what they are made for."""

from __future__ import annotations

import asyncio

import pytest
from aws.scripted_server import bad, good, scripted_server
from aws.sinks import always, names, puts, running
from aws.test_clients import KEYS, REGION, environment
from opentelemetry.trace import SpanKind, StatusCode
from spans import Recorded

from headrace.aws.request_hooks import TracedCalls
from headrace.aws.session import aws_clients
from headrace.errors import Throttled


@pytest.mark.looptime
async def test_a_request_of_the_sink_is_below_the_first_batch_in_it_and_linked_to_the_others(dynamo, client):
    """Writes of several batches and shards share a request."""
    recorded = Recorded()
    async with running(dynamo, client, traces=recorded.traces) as sink:
        answers = []
        for key in ("a", "b", "c"):
            with recorded.traces.batch([]) as batch:
                answers.append(sink.submit(puts(key), always))
        await asyncio.wait(answers)
    batches = [span.context.span_id for span in recorded.named("process stream")]
    (request,) = recorded.named("dynamodb.BatchWriteItem")
    assert request.kind is SpanKind.CLIENT
    assert request.parent.span_id == batches[0]
    assert [link.context.span_id for link in request.links] == batches[1:]
    assert batch.span.get_span_context().span_id == batches[2]


@pytest.mark.looptime
async def test_a_request_that_fails_is_a_failed_part_of_a_batch_that_goes_on(dynamo, client):
    """The sink tries again: the batch has not failed."""
    recorded = Recorded()
    dynamo.script.append(Throttled("slow"))
    async with running(dynamo, client, traces=recorded.traces) as sink:
        with recorded.traces.batch([]):
            await sink.submit(puts(*names(2)), always)
    told = [(span.status.status_code, span.attributes.get("error.type")) for span in recorded.named("dynamodb.BatchWriteItem")]  # fmt: skip
    assert told == [(StatusCode.ERROR, "Throttled"), (StatusCode.UNSET, None)]
    (batch,) = recorded.named("process stream")
    assert batch.status.status_code is StatusCode.UNSET


@pytest.mark.looptime
async def test_a_sink_that_is_used_in_no_trace_traces_no_part(dynamo, client):
    """Its requests are then traces of their own."""
    recorded = Recorded()
    async with running(dynamo, client, traces=recorded.traces) as sink:
        await sink.submit(puts("a"), always)
    (request,) = recorded.spans
    assert request.parent is None


async def test_a_call_of_an_ordinary_client_is_a_part_of_the_trace_that_it_is_made_in():
    """A dead letter's PutItem stands below the batch that it comes from; a poll stands nowhere."""
    recorded = Recorded()
    async with scripted_server(good(), good(), bad("ValidationException")) as server:
        with environment(**KEYS, **REGION, AWS_ENDPOINT_URL=server.url):
            async with aws_clients(TracedCalls(recorded.traces)) as clients:
                await clients.leases.list_tables()
                with recorded.traces.batch([]) as batch:
                    await clients.leases.list_tables()
                    with pytest.raises(clients.leases.exceptions.ClientError):
                        await clients.leases.list_tables()
    told = [
        (span.name, span.parent.span_id, span.attributes.get("error.type"))
        for span in recorded.spans
        if span.kind is SpanKind.CLIENT
    ]
    mine = batch.span.get_span_context().span_id
    assert told == [("dynamodb.ListTables", mine, None), ("dynamodb.ListTables", mine, "ValidationException")]


async def test_a_call_without_an_answer_ends_as_a_failure():
    """A span that stays open would never be seen."""
    recorded = Recorded()
    with environment(**KEYS, **REGION, AWS_ENDPOINT_URL="http://127.0.0.1:9"):
        async with aws_clients(TracedCalls(recorded.traces)) as clients:
            with recorded.traces.batch([]), pytest.raises(OSError, match="connect"):
                await _refused(clients)
    (call,) = recorded.named("dynamodb.ListTables")
    assert call.attributes["error.type"] == "EndpointConnectionError"


async def _refused(clients):
    from botocore.exceptions import EndpointConnectionError  # noqa: PLC0415 - of this test alone

    try:
        await clients.leases.list_tables()
    except EndpointConnectionError as error:
        raise OSError(f"cannot connect: {error}") from error
