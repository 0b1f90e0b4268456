"""What the settings name as a destination, opened on a real local server: found, missing, down, and what arrives there."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import pytest
import pytest_asyncio
import servers
import structlog
from contract.test_dead_letters import everything, letter

from headrace.aws import letter_queue
from headrace.aws.destinations import open_destination, open_store
from headrace.aws.letter_messages import LARGEST_MESSAGE
from headrace.aws.session import Clients, open_client
from headrace.errors import SettingsError, Unavailable

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

LARGE = bytes(position * 7 % 251 for position in range(1024)) * 10 * 1024
"""10 MiB, the largest record that Kinesis takes."""

_names = (f"destination-{number}" for number in itertools.count())


@dataclass
class Place:
    """headrace's clients on the server, and a name that nobody else has there."""

    clients: Clients
    name: str
    sqs: Any
    sns: Any
    s3: Any

    async def queue(self, **attributes: str) -> str:
        return (await self.sqs.create_queue(QueueName=self.name, Attributes=attributes))["QueueUrl"]

    async def topic(self, queue: str, raw: str) -> str:
        """One that the queue is subscribed to."""
        arn = (await self.sns.create_topic(Name=self.name))["TopicArn"]
        told = await self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        await self.sns.subscribe(
            TopicArn=arn,
            Protocol="sqs",
            Endpoint=told["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": raw},
        )
        return arn

    async def keys(self) -> list[str]:
        return [found["Key"] for found in (await self.s3.list_objects_v2(Bucket=self.name)).get("Contents", [])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(aws, ministack) -> AsyncIterator[Place]:
    """The clients serve all tests."""
    with mock.patch.dict(os.environ, ministack.environment()), mock.patch.object(letter_queue, "WAIT_S", 0):
        async with (
            aws(ministack) as clients,
            open_client(clients, "sqs") as sqs,
            open_client(clients, "sns") as sns,
            open_client(clients, "s3") as s3,
        ):
            yield Place(clients, "", sqs, sns, s3)


@pytest.fixture
def place(world: Place) -> Place:
    return replace(world, name=next(_names))


@asynccontextmanager
async def opened(place: Place, destination: str, spill: str | None = None, application: str = "orders"):
    async with open_store(place.clients, destination, spill, application) as store:
        yield store


# --- what arrives ---


@pytest.mark.parametrize("raw", ["true", "false"])
async def test_a_letter_reaches_the_queue_that_subscribes_to_a_topic_and_is_read_there(place, raw):
    """With SNS's envelope and without."""
    queue = await place.queue()
    topic = await place.topic(queue, raw)
    letters = [letter(number) for number in range(100, 115)]
    async with open_destination(place.clients, f"sns:{topic}", None, "orders") as destination:
        await destination.bury(letters)
    async with opened(place, f"sqs:{queue}") as store:
        assert await everything(store) == letters


async def test_a_message_holds_the_document_of_aws_and_says_why_outside_of_it(place):
    """As a consumer of an event source mapping's queue finds it."""
    queue = await place.queue()
    async with open_destination(place.clients, f"sqs:{queue}", None, "orders") as destination:
        await destination.bury([letter()])
    answer = await place.sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])
    (message,) = answer["Messages"]
    assert list(json.loads(message["Body"])) == [
        *("requestContext", "responseContext", "version", "timestamp", "KinesisBatchInfo", "headrace")
    ]
    assert message["MessageAttributes"]["condition"]["StringValue"] == "RetryAttemptsExhausted"


@pytest.mark.parametrize("service", ["sqs", "sns"])
async def test_the_largest_record_goes_to_s3_and_its_message_is_small(place, service):
    """And it comes back whole; when it is removed nothing is left."""
    await place.s3.create_bucket(Bucket=place.name)
    queue = await place.queue()
    destination = f"sqs:{queue}" if service == "sqs" else f"sns:{await place.topic(queue, 'true')}"
    spill = f"s3://{place.name}/spill"
    async with open_destination(place.clients, destination, spill, "orders") as burying:
        await burying.bury([letter(data=LARGE), letter(7)])
    async with opened(place, f"sqs:{queue}", spill) as store:
        assert await everything(store) == [letter(7), letter(data=LARGE)]
        (key,) = await place.keys()
        assert key.startswith("spill/payload/aws/lambda/")
        await store.remove([letter(data=LARGE)])
        assert await everything(store) == [letter(7)]
    assert await place.keys() == []


async def test_the_largest_record_without_a_spill_leaves_a_message_that_says_what_is_missing(place):
    """It is no letter that could be delivered again."""
    queue = await place.queue()
    async with opened(place, f"sqs:{queue}") as store:
        await store.bury([letter(data=LARGE)])
        assert await everything(store) == []
    (message,) = (await place.sqs.receive_message(QueueUrl=queue))["Messages"]
    assert len(message["Body"]) < LARGEST_MESSAGE
    document = json.loads(message["Body"])["headrace"]
    assert (document["payloadCut"], document["payloadBytes"]) == (True, len(LARGE))


async def test_an_object_holds_the_largest_record(place):
    """S3 has no limit that matters."""
    await place.s3.create_bucket(Bucket=place.name)
    async with opened(place, f"s3://{place.name}/letters") as store:
        await store.bury([letter(data=LARGE)])
        assert await everything(store) == [letter(data=LARGE)]
        await store.remove([letter(data=LARGE)])
    assert await place.keys() == []


async def test_applications_and_event_source_mappings_share_a_bucket_without_seeing_each_other(place):
    """Their objects stand side by side under one prefix."""
    await place.s3.create_bucket(Bucket=place.name)
    where = f"s3://{place.name}/letters"
    mapping = (
        "letters/aws/lambda/b7a3c1d0-0000-4000-8000-000000000000/shardId-000000000000/2026/05/04/2026-05-04T00.00.00-x"
    )
    await place.s3.put_object(Bucket=place.name, Key=mapping, Body=b'{"requestContext": {}}')
    async with opened(place, where) as mine, opened(place, where, application="clicks") as theirs:
        await mine.bury([letter(1)])
        await theirs.bury([letter(1), letter(2)])
        assert await everything(mine) == [letter(1)]
        assert await everything(theirs) == [letter(1), letter(2)]
        await mine.remove([letter(1)])
        assert await everything(theirs) == [letter(1), letter(2)]
    assert len(await place.keys()) == 3


# --- at the start ---


@pytest.mark.parametrize(
    "destination",
    [
        "sqs:{endpoint}/000000000000/nowhere",
        "sns:arn:aws:sns:us-east-1:000000000000:nowhere",
        "s3://nowhere-at-all/x",
    ],
)
async def test_a_destination_that_is_not_there_is_told_with_its_setting_and_mend(place, ministack, destination):
    """Before a record is read."""
    text = destination.format(endpoint=ministack.endpoint)
    with pytest.raises(SettingsError, match=r"is not there\. Create it, or check the name, AWS_REGION") as caught:
        async with open_destination(place.clients, text, None, "orders"):
            pass
    assert (caught.value.setting, caught.value.value) == ("HEADRACE_DEAD_LETTERS_DESTINATION", text)


async def test_a_spill_that_is_not_there_is_told_by_its_own_name(place):
    """The queue is fine."""
    with pytest.raises(SettingsError, match="is not there") as caught:
        async with open_destination(place.clients, f"sqs:{await place.queue()}", "s3://nowhere-at-all", "orders"):
            pass
    assert caught.value.setting == "HEADRACE_DEAD_LETTERS_SPILL"


async def test_a_queue_for_small_messages_is_refused(place):
    """Else the first large record would hold its shard for ever."""
    queue = await place.queue(MaximumMessageSize="1024")
    with pytest.raises(SettingsError, match="its MaximumMessageSize is 1,024 bytes, and 262,144 are needed"):
        async with open_destination(place.clients, f"sqs:{queue}", None, "orders"):
            pass


async def test_a_topic_cannot_be_read_and_the_error_says_what_can(place):
    """Not even asked for."""
    with pytest.raises(SettingsError, match=r"keeps nothing to be read\. Subscribe a queue to it"):
        async with opened(place, "sns:arn:aws:sns:us-east-1:000000000000:any"):
            pass


@pytest.fixture
def nobody_there() -> dict[str, str]:
    """An endpoint where connections are refused."""
    endpoint = f"http://127.0.0.1:{servers.free_port()}"
    return {f"AWS_ENDPOINT_URL_{service}": endpoint for service in ("SQS", "SNS", "S3")}


@pytest.mark.parametrize(
    "destination",
    [
        "sqs:http://127.0.0.1/000000000000/queue",
        "sns:arn:aws:sns:us-east-1:000000000000:topic",
        "s3://a-bucket",
    ],
)
async def test_a_server_that_is_down_keeps_nobody_from_starting_and_every_burial_fails(
    place, nobody_there, destination
):
    """Records that need no burial are handled meanwhile; the shard that needs one waits."""
    with mock.patch.dict(os.environ, nobody_there), structlog.testing.capture_logs() as logs:
        async with open_destination(place.clients, destination, None, "orders") as burying:
            for _ in range(2):
                with pytest.raises(Unavailable, match="Could not connect"):
                    await burying.bury([letter()])
    assert [entry["event"] for entry in logs] == ["destination_not_checked"]


@pytest.mark.parametrize("destination", ["sqs:http://127.0.0.1/000000000000/queue", "s3://a-bucket"])
async def test_letters_of_a_server_that_is_down_cannot_be_read_and_that_is_an_error(place, nobody_there, destination):
    """None is not the same as none that can be seen."""
    with mock.patch.dict(os.environ, nobody_there), pytest.raises(Unavailable):
        async with opened(place, destination):
            pass
