"""A stream consumer and its subscriptions, through the stock client, without a server."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aws.event_stream import event, exception, frame
from botocore.awsrequest import HeadersDict

from headrace.aws.fan_out import Subscriptions, registered_consumer
from headrace.aws.kinesis import KinesisStream
from headrace.errors import AwsError, Denied, NotFound, Rejected, Retryable, SubscriptionTaken, Throttled, Unavailable
from headrace.model import Page, ShardId, TrimHorizon

SESSION = get_session()
"""One for all: it remembers the service's model."""

SHARD = ShardId("shardId-000000000000")
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
CONSUMER = f"{STREAM}/consumer/app:1"
GREETING = event({}, "initial-response")
LISTED = (
    200,
    {
        "Shards": [
            {
                "ShardId": SHARD,
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
                "SequenceNumberRange": {"StartingSequenceNumber": "1"},
            }
        ]
    },
)
RECORD = {"SequenceNumber": "7", "Data": "eA==", "PartitionKey": "k", "ApproximateArrivalTimestamp": 1.5}
FULL = {"Records": [RECORD], "ContinuationSequenceNumber": "8", "MillisBehindLatest": 1500}
CHILDREN = [
    {
        "ShardId": "shardId-000000000001",
        "ParentShards": [SHARD],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
    }
]


class Body:
    """What an answer brings, in the pieces in which it comes; None is silence for ever."""

    def __init__(self, *chunks: bytes | None) -> None:
        self.chunks = list(chunks)
        self.content = self
        self.closed = False

    async def read(self) -> bytes:
        return b"".join(chunk or b"" for chunk in self.chunks)

    async def readchunk(self) -> tuple[bytes, bool]:
        """As aiohttp's StreamReader has it: empty and False at the end, empty and True between two."""
        if not self.chunks:
            return b"", False
        chunk = self.chunks.pop(0)
        if chunk is None:
            await asyncio.sleep(3600)
        return chunk or b"", True

    def close(self) -> None:
        self.closed = True


class Wire:
    """Answers requests in turn, before they are sent, and keeps their operations."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, request, **_):
        self.asked.append(request.headers["X-Amz-Target"].decode().partition(".")[2])
        status, said = self.answers.pop(0)
        body = said if isinstance(said, Body) else Body(json.dumps(said).encode())
        return AioAWSResponse(request.url, status, HeadersDict({"content-type": "application/x-amz-json-1.1"}), body)


@asynccontextmanager
async def client_on(*answers: tuple[int, Any]):
    wire = Wire(*answers)
    once = AioConfig(retries={"total_max_attempts": 1})
    async with SESSION.create_client(
        "kinesis", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y", config=once
    ) as client:
        client.meta.events.register("before-send.kinesis", wire)
        yield client, wire


async def pages_of(*chunks: bytes | None, status: int = 200, said: Any = None) -> tuple[list[Page], Body]:
    body = Body(GREETING, *chunks)
    async with client_on(LISTED, (status, said or body)) as (client, _):
        subscriptions = Subscriptions(client, KinesisStream(client, STREAM), CONSUMER, silence_s=0.05)
        async with subscriptions.subscribe(SHARD, TrimHorizon()) as pages:
            return [page async for page in pages], body


# --- the consumer -----------------------------------------------------------------------------------------------------


def consumer(status: str) -> tuple[int, Any]:
    found = {"ConsumerName": "app", "ConsumerARN": CONSUMER, "ConsumerStatus": status, "ConsumerCreationTimestamp": 1}
    return 200, {"ConsumerDescription": found}


def refusal(code: str) -> tuple[int, Any]:
    return 400, {"__type": code, "message": "no"}


MISSING = refusal("ResourceNotFoundException")
REGISTERED = 200, {"Consumer": consumer("CREATING")[1]["ConsumerDescription"]}
FIND, MAKE = "DescribeStreamConsumer", "RegisterStreamConsumer"


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ([consumer("ACTIVE")], [FIND]),
        ([MISSING, REGISTERED, consumer("ACTIVE")], [FIND, MAKE, FIND]),
        ([MISSING, refusal("ResourceInUseException"), consumer("ACTIVE")], [FIND, MAKE, FIND]),
    ],
    ids=["it is there", "it is not", "another worker registers it just then"],
)
async def test_the_consumer_is_found_or_registered(answers, asked):
    """Every worker of a fleet does so at its start."""
    async with client_on(*answers) as (client, wire):
        assert await registered_consumer(client, STREAM, "app") == CONSUMER
        assert wire.asked == asked


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([MISSING, REGISTERED, consumer("CREATING")], SubscriptionTaken),
        ([consumer("DELETING")], SubscriptionTaken),
        ([refusal("AccessDeniedException")], Denied),
        ([MISSING, refusal("AccessDeniedException")], Denied),
        ([refusal("LimitExceededException")], Throttled),
        ([MISSING, refusal("ThrottlingException")], Throttled),
    ],
)
async def test_a_consumer_that_cannot_be_had_now_is_told_by_the_reason(answers, error):
    """What is to be mended and what passes are different errors."""
    async with client_on(*answers) as (client, _):
        with pytest.raises(error):
            await registered_consumer(client, STREAM, "app")


async def test_a_stream_without_room_for_a_consumer_is_no_passing_trouble():
    """It is asked for slowly and loudly: somebody has to deregister one."""
    async with client_on(MISSING, refusal("LimitExceededException")) as (client, _):
        with pytest.raises(AwsError) as caught:
            await registered_consumer(client, STREAM, "app")
        assert not isinstance(caught.value, Retryable)


# --- a subscription ---------------------------------------------------------------------------------------------------


async def test_events_become_pages_wherever_they_are_torn_apart():
    """With the position to go on from, also of an event without records."""
    sent = event(FULL) + event({**FULL, "Records": [], "ContinuationSequenceNumber": "9"})
    pages, body = await pages_of(sent[:5], b"", sent[5:100], sent[100:])
    assert [(len(page.records), page.continuation, page.behind_s) for page in pages] == [(1, 8, 1.5), (0, 9, 1.5)]
    record = pages[0].records[0]
    assert (record.data, record.sequence_number, record.partition_key, record.shard_id) == (b"x", 7, "k", SHARD)
    assert body.closed


async def test_the_last_event_of_a_shard_names_its_children():
    """There is no going on behind it, even where a server says so."""
    for continuation in ({}, {"ContinuationSequenceNumber": None}, {"ContinuationSequenceNumber": "8"}):
        pages, _ = await pages_of(event({"Records": [RECORD], "ChildShards": CHILDREN, **continuation}))
        assert [child.shard_id for child in pages[0].children] == ["shardId-000000000001"]
        assert (pages[0].next_iterator, pages[0].continuation) == (None, None)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([event(FULL), None], "silent for 0.05 s"),
        ([event(FULL)[:-1] + b"!"], "cannot be read"),
        ([event({"Records": []})], "without continuation or children"),
        ([event({"ContinuationSequenceNumber": "8"})], "unreadable answer"),
        ([frame({":message-type": "event", ":event-type": "SubscribeToShardEvent"}, b"{")], "unreadable answer"),
    ],
)
async def test_events_that_cannot_be_trusted_end_the_subscription(chunks, words):
    """No record is passed over: what comes next begins where the last whole event ended."""
    with pytest.raises(Unavailable, match=words):
        await pages_of(*chunks)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ResourceInUseException", SubscriptionTaken),
        ("ResourceNotFoundException", NotFound),
        ("InternalFailureException", Unavailable),
        ("KMSThrottlingException", Throttled),
        ("KMSAccessDeniedException", Denied),
    ],
)
async def test_an_error_has_its_meaning_before_the_events_and_among_them(code, error):
    """The exceptions of SubscribeToShard, as its API reference has them."""
    with pytest.raises(error, match=code):
        await pages_of(event(FULL), exception(code, "taken"))
    with pytest.raises(error, match=code):
        await pages_of(status=400, said={"__type": code, "message": "taken"})


async def test_an_error_without_words_is_one_too():
    """A fault of the service itself comes as `error`, with headers instead of a payload."""
    headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "oh"}
    with pytest.raises(Unavailable, match="InternalFailure: oh"):
        await pages_of(frame(headers, b""))


async def test_a_wrong_position_is_the_requests_own_fault():
    """As for every other call."""
    with pytest.raises(Rejected):
        await pages_of(status=400, said={"__type": "InvalidArgumentException", "message": "no"})
