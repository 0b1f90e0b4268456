"""What becomes of GetRecords answers, through the stock client and its event, without a server."""

from __future__ import annotations

from contextlib import asynccontextmanager

import msgspec
import pytest
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.awsrequest import HeadersDict

from headrace.aws.kinesis import KinesisStream
from headrace.core.native import Native
from headrace.errors import IteratorExpired, Throttled, Unavailable
from headrace.model import Page, Record, Shard, ShardId, TrimHorizon

SHARD = ShardId("shardId-000000000000")
NUMBER = 49590338271490256608559692538361571095921575989136588898
ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self) -> bytes:
        return self._content


class Wire:
    """Answers requests in turn, before they are sent, and keeps them."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, object]] = []

    def __call__(self, request, **_):
        self.requests.append(msgspec.json.decode(request.body))
        status, body = self.answers.pop(0)
        headers = HeadersDict({"content-type": "application/x-amz-json-1.1", "date": "Mon, 04 May 2026 03:02:01 GMT"})
        return AioAWSResponse(request.url, status, headers, Body(body))


@asynccontextmanager
async def client_on(wire: Wire):
    session = get_session()
    once = AioConfig(retries={"total_max_attempts": 1})
    async with session.create_client(
        "kinesis", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y", config=once
    ) as client:
        client.meta.events.register("before-send.kinesis", wire)
        yield client


async def page_of(body: bytes, status: int = 200, native: Native | None = None) -> Page:
    async with client_on(Wire((status, body))) as client:
        return await KinesisStream(client, "orders", native).get_records("iterator", 10, SHARD)


def answer(*records: dict[str, object], **rest: object) -> bytes:
    return msgspec.json.encode({"Records": records, "NextShardIterator": "next", "MillisBehindLatest": 1500, **rest})


def wire_record(**changes: object) -> dict[str, object]:
    record = {
        "Data": b"payload",
        "PartitionKey": "key",
        "SequenceNumber": str(NUMBER),
        "ApproximateArrivalTimestamp": 1795562074.045,
        "EncryptionType": "KMS",
    }
    return {name: value for name, value in {**record, **changes}.items() if value is not None}


async def test_a_page_becomes_records_with_exact_integers(native):
    """Unknown fields are passed over."""
    page = await page_of(answer(wire_record(), wire_record(Data=b"", SequenceNumber="9" * 129)), native=native)
    first, second = page.records
    assert isinstance(first, Record)
    assert (first.data, first.partition_key, first.sequence_number) == (b"payload", "key", NUMBER)
    assert (first.arrival_s, first.shard_id, first.attempt) == (1795562074.045, SHARD, 1)
    assert (second.data, second.sequence_number) == (b"", int("9" * 129))
    assert (page.size, page.behind_s, page.next_iterator, page.children) == (7, 1.5, "next", ())


async def test_a_record_without_a_partition_key_is_read(native):
    """Record distribution strategy AUTO delivers none."""
    assert (await page_of(answer(wire_record(PartitionKey=None)), native=native)).records[0].partition_key == ""


async def test_the_last_page_of_a_closed_shard_names_the_children(native):
    """Null or absent, the missing iterator is the end."""
    child = {
        "ShardId": "shardId-000000000007",
        "ParentShards": ["shardId-000000000000", "shardId-000000000001"],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
    }
    parents = (ShardId("shardId-000000000000"), ShardId("shardId-000000000001"))
    expected = Shard(ShardId("shardId-000000000007"), parents, 0, 2**128 - 1)
    for body in (
        answer(NextShardIterator=None, ChildShards=[child]),
        msgspec.json.encode({"Records": [], "ChildShards": [child]}),
    ):
        page = await page_of(body, native=native)
        assert (page.next_iterator, page.children) == (None, (expected,))


@pytest.mark.parametrize(
    "broken",
    [
        answer(wire_record(), wire_record(Data="not base64!")),
        answer(wire_record(), wire_record(Data="YWI")),
        answer(wire_record(SequenceNumber="12x")),
        answer(wire_record(SequenceNumber=None)),
        answer(wire_record(ApproximateArrivalTimestamp=None)),
        answer(wire_record())[:-20],
        answer(wire_record(PartitionKey="@")).replace(b"@", b"\xff"),
        b"{}",
        b'{"NextShardIterator": null, "ChildShards": []}',
        b"",
        b"<html>Bad gateway, but 200</html>",
        b"\xbfgRecords\x80\xff",
    ],
)
async def test_an_answer_that_cannot_be_read_whole_is_an_outage_and_never_an_empty_page(broken, native):
    """One bad record must not be lost, nor may nonsense look like the end of the shard."""
    with pytest.raises(Unavailable, match=r"GetRecords.*orders.*shardId-000000000000") as caught:
        await page_of(broken, native=native)
    assert "payload" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "family"),
    [("ExpiredIteratorException", IteratorExpired), ("ProvisionedThroughputExceededException", Throttled)],
)
async def test_errors_stay_botocores_to_read(code, family):
    """The event leaves an unsuccessful body alone."""
    with pytest.raises(family, match="no luck"):
        await page_of(msgspec.json.encode({"__type": code, "message": "no luck"}), 400)


async def test_once_described_every_call_carries_the_arn():
    """Names do not cross accounts; two streams on one client keep apart, and the answer is decoded once."""
    summary = {
        "StreamName": "orders",
        "StreamARN": ARN,
        "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 48,
        "StreamCreationTimestamp": 1795562073.5,
        "EnhancedMonitoring": [],
        "OpenShardCount": 1,
    }
    listed = {
        "ShardId": SHARD,
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
        "SequenceNumberRange": {"StartingSequenceNumber": str(NUMBER)},
    }
    wire = Wire(
        (200, msgspec.json.encode({"StreamDescriptionSummary": summary})),
        (200, msgspec.json.encode({"Shards": [listed], "NextToken": "more"})),
        (200, msgspec.json.encode({"Shards": []})),
        (200, msgspec.json.encode({"ShardIterator": "here"})),
        (200, answer(wire_record())),
    )
    async with client_on(wire) as client:
        KinesisStream(client, "another")
        stream = KinesisStream(client, "orders")
        description = await stream.describe()
        await stream.list_shards()
        await stream.get_records(await stream.iterator(SHARD, TrimHorizon()), 5, SHARD)
    both = {"StreamName": "orders", "StreamARN": ARN}
    assert wire.requests == [
        {"StreamName": "orders"},
        both,
        {"NextToken": "more"},
        {**both, "ShardId": SHARD, "ShardIteratorType": "TRIM_HORIZON"},
        {"StreamARN": ARN, "ShardIterator": "here", "Limit": 5},
    ]
    assert (description.arn, description.retention_s) == (ARN, 48 * 3600)
    assert description.created.timestamp() == 1795562073.5
    assert description.now_s == 1777863721.0
