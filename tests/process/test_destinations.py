"""Dead letters in SQS, SNS and S3, also while they cannot be reached: nothing is lost, the shard waits, then goes on."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from unittest import mock

import pytest
from process.conftest import Stage, until
from process.gate import Gate

from headrace.aws.session import open_client

pytestmark = [pytest.mark.process, pytest.mark.servers]

DOWN_S = float(os.environ.get("DOWN_S", "4"))
"""How long the destination is away. A minute shows the same, and takes a minute."""

HANDLER = """
from headrace import Put, Record

def handle(record: Record) -> Put:
    n = record.json()["n"]
    if n % 100 == 7:
        raise ValueError("poison")
    return Put({"pk": str(record.sequence_number), "n": n})
"""

POISON = set(range(7, 400, 100))


class Place:
    """One kind of destination on the local server, and what arrived there."""

    def __init__(self, s: Stage, service: str) -> None:
        self.s = s
        self.service = service
        self.name = s.stream
        self.url = ""

    async def make(self) -> str:
        """Create it; the setting that names it."""
        async with self.client("sqs") as sqs, self.client("sns") as sns, self.client("s3") as s3:
            if self.service == "s3":
                await s3.create_bucket(Bucket=self.name)
                return f"s3://{self.name}/letters"
            self.url = (await sqs.create_queue(QueueName=self.name))["QueueUrl"]
            if self.service == "sqs":
                return f"sqs:{self.url}"
            topic = (await sns.create_topic(Name=self.name))["TopicArn"]
            queue = await sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
            await sns.subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=queue["Attributes"]["QueueArn"],
                Attributes={"RawMessageDelivery": "true"},
            )
            return f"sns:{topic}"

    def client(self, service: str):
        return open_client(self.s.clients, service)

    async def arrived(self) -> list[dict]:
        """Every document that is there."""
        if self.service == "s3":
            return await self.objects()
        found = []
        async with self.client("sqs") as sqs:
            while messages := (await sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)).get("Messages"):
                found += [json.loads(message["Body"]) for message in messages]
        return found

    async def objects(self) -> list[dict]:
        async with self.client("s3") as s3:
            listed = await s3.list_objects_v2(Bucket=self.name, Prefix="letters/aws/lambda/")
            found = []
            for entry in listed.get("Contents", []):
                answer = await s3.get_object(Bucket=self.name, Key=entry["Key"])
                async with answer["Body"] as body:
                    found.append(json.loads(await body.read()))
            return found


@pytest.mark.parametrize("service", ["sqs", "sns", "s3"])
async def test_a_destination_that_is_down_holds_the_shard_and_loses_nothing(stage, ministack, service):
    """It is cut off before the first record has to be buried, and comes back later."""
    async with stage(shards=1) as s, Gate(ministack.endpoint) as gate:
        local = {f"AWS_ENDPOINT_URL_{name}": ministack.endpoint for name in ("SQS", "SNS", "S3")}
        with mock.patch.dict(os.environ, local):
            place = Place(s, service)
            destination = await place.make()
            (s.folder / "app.py").write_text(HANDLER)
            worker = s.start(
                **{f"AWS_ENDPOINT_URL_{service.upper()}": gate.endpoint},
                HEADRACE_HANDLER="app:handle",
                HEADRACE_DEAD_LETTERS_DESTINATION=destination,
                HEADRACE_RETRY_MAXIMUM_ATTEMPTS="1",
                HEADRACE_CHECKPOINT_INTERVAL="100ms",
            )
            await worker.ready()
            gate.close()
            await s.put(0, 400)
            await until(lambda: any(e["call"] == "bury" for e in worker.events("call_failed")), 30)
            await asyncio.sleep(DOWN_S)
            assert worker.events("record_buried") == []
            (lease,) = await s.leases()
            assert lease["ck"]["S"] == "000" or len(await s.written()) < 400 - len(POISON), "the checkpoint waits"
            gate.open()
            await s.all_written_but(400, POISON)
            await until(lambda: len(worker.events("record_buried")) == len(POISON), 60)

            documents = await place.arrived()
            assert {json.loads(payload(one))["n"] for one in documents} == POISON
            assert {one["requestContext"]["condition"] for one in documents} == {"RetryAttemptsExhausted"}
            assert all(one["responseContext"]["functionError"] == "Unhandled" for one in documents)
            if service == "s3":
                events = [json.loads(one["payload"])["Records"] for one in documents]
                assert all(len(records) == 1 and len(records[0]) == 8 for records in events)


def payload(document: dict) -> bytes:
    return base64.b64decode(document["headrace"]["payload"])


@pytest.mark.parametrize(
    ("destination", "problem"),
    [
        ("sqs:{endpoint}/000000000000/nowhere", "is not there. Create it"),
        ("sns:arn:aws:sns:eu-central-1:000000000000:nowhere", "is not there. Create it"),
        ("s3://nowhere-at-all/x", "is not there. Create it"),
        ("sqs:nonsense", "does not name a queue's URL. Write dynamodb:TABLE"),
    ],
)
async def test_a_destination_that_is_not_there_is_told_before_anything_starts(stage, ministack, destination, problem):
    """One line, exit code 2."""
    async with stage(shards=1) as s:
        process = s.start(
            HEADRACE_DEAD_LETTERS_DESTINATION=destination.format(endpoint=ministack.endpoint),
            **{f"AWS_ENDPOINT_URL_{name}": ministack.endpoint for name in ("SQS", "SNS", "S3")},
        )
        assert await process.exit_code(within_s=30) == 2, process.log.read_text()
        said = [line for line in process.log.read_text().splitlines() if not line.startswith("{")]
        assert len(said) == 1, said
        assert said[0].startswith("HEADRACE_DEAD_LETTERS_DESTINATION = ")
        assert problem in said[0]
