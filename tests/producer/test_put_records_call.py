"""What goes over the wire, and what becomes of the answer, through the stock client and its events."""

from __future__ import annotations

from contextlib import asynccontextmanager

import msgspec
import pytest
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.awsrequest import HeadersDict

from headrace.errors import Denied, Throttled, Unavailable
from headrace_producer.kinesis import KinesisWriter
from headrace_producer.put import Placed
from headrace_producer.workload import Draft

ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
DRAFTS = [
    Draft("a", 1, b'{"n":1}', poison=False),
    Draft("\u00e5\u2014\U0001f600", 7, bytes(range(256)), poison=False),
    Draft('"\\', 2, b"", poison=True),
]
PLACES = [{"SequenceNumber": f"4959{place}", "ShardId": f"shardId-{place}"} for place in range(3)]


class Body:
    def __init__(self, content):
        self._content = content

    async def read(self):
        return self._content


class Wire:
    """Answers a request before it is sent, and keeps it."""

    def __init__(self, status, body):
        self.status, self.body = status, body
        self.requests = []

    def __call__(self, request, **_):
        self.requests.append(request)
        headers = HeadersDict({"content-type": "application/x-amz-json-1.1"})
        return AioAWSResponse(request.url, self.status, headers, Body(self.body))


@asynccontextmanager
async def client_on(wire):
    once = AioConfig(retries={"total_max_attempts": 1})
    async with get_session().create_client(
        "kinesis", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y", config=once
    ) as client:
        client.meta.events.register("before-send.kinesis", wire)
        yield client


def answer(*results):
    return msgspec.json.encode({"FailedRecordCount": 0, "Records": results, "EncryptionType": "KMS"})


async def put(status, body, stream="orders"):
    wire = Wire(status, body)
    async with client_on(wire) as client:
        return await KinesisWriter(client, stream).put(DRAFTS), wire


@pytest.mark.parametrize(("stream", "address"), [("orders", {}), (ARN, {"StreamARN": ARN})])
async def test_a_call_says_what_the_stock_client_would_say(stream, address):
    """The same document, to the same place, with a length and a signature of what is really sent."""
    _, ours = await put(200, answer(*PLACES), stream)
    theirs = Wire(200, answer(*PLACES))
    async with client_on(theirs) as client:
        records = [{"Data": draft.data, "PartitionKey": draft.key} for draft in DRAFTS]
        await client.put_records(Records=records, StreamName="orders", **address)
    (mine,), (stock,) = ours.requests, theirs.requests
    assert msgspec.json.decode(mine.body) == msgspec.json.decode(stock.body)
    assert mine.url == stock.url
    assert mine.headers["X-Amz-Target"] == stock.headers["X-Amz-Target"]
    assert int(mine.headers["Content-Length"]) == len(mine.body)


async def test_a_place_or_a_code_comes_back_for_each_record():
    """In the order of the records; what is new in an answer is passed over."""
    refused = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}
    answers, _ = await put(200, answer(PLACES[0], refused, PLACES[2]))
    assert answers == [
        Placed("shardId-0", "49590"),
        "ProvisionedThroughputExceededException",
        Placed("shardId-2", "49592"),
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", answer(*PLACES[:2]), answer({}, {}, 7)])
async def test_an_answer_that_cannot_be_read_is_worth_another_try(body):
    """Nothing is known of any record; they are sent again."""
    with pytest.raises(Unavailable):
        await put(200, body)


async def test_a_result_with_neither_place_nor_code_is_a_refusal():
    """It is not acknowledged."""
    answers, _ = await put(200, answer({}, *PLACES[1:]))
    assert not isinstance(answers[0], Placed)


@pytest.mark.parametrize(
    ("code", "error"),
    [("ProvisionedThroughputExceededException", Throttled), ("AccessDeniedException", Denied)],
)
async def test_a_refused_call_is_the_error_that_it_always_was(code, error):
    """The stock parser reads those."""
    with pytest.raises(error):
        await put(400, msgspec.json.encode({"__type": code, "message": "no"}))
