"""An SQS queue, an SNS topic and an S3 bucket in memory that fail as they are told, and letters for them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from headrace.model import DeadLetter, FailedAttempt, Record, WorkerId

STREAM = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders"


def letter(number: int, data: bytes = b'{"n": 1}', message: str = "bad") -> DeadLetter:
    record = Record(data, "key", number, 1_795_562_074.045, "shardId-000000000003")
    when = datetime(2026, 5, 4, tzinfo=UTC)
    return DeadLetter(
        *("orders", record, "RetryAttemptsExhausted", "ValueError", message, 6, when, WorkerId("w"), 1),
        stream_arn=STREAM,
        handler="app:handle",
        log=(FailedAttempt(when, 1, "ValueError"),),
    )


def refusal(code: str, status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


class FakeQueue:
    """Hands a message out again when its visibility timeout is over; takes the last receipt handle only, as SQS does.

    `script` holds what the next batch calls answer instead: an exception, or the ids that fail (mapped to SenderFault).
    """

    def __init__(self, **attributes: str) -> None:
        self.attributes = attributes
        self.messages: dict[str, str] = {}
        self.hidden_until: dict[str, float] = {}
        self.handles: dict[str, str] = {}
        self.script: list[Exception | dict[str, bool]] = []
        self.calls: list[tuple[str, list[dict[str, Any]]]] = []
        self.count = 0

    def _answer(self, call: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The entries that do not fail."""
        self.calls.append((call, entries))
        told = self.script.pop(0) if self.script else {}
        if isinstance(told, Exception):
            raise told
        self.failed = [{"Id": i, "SenderFault": fault, "Code": "Told"} for i, fault in told.items()]
        return [entry for entry in entries if entry["Id"] not in told]

    def _result(self) -> dict[str, Any]:
        return {"Failed": self.failed} if self.failed else {}

    async def send_message_batch(self, QueueUrl, Entries):  # noqa: N803 - botocore's names
        for entry in self._answer("send", Entries):
            self.put(entry["MessageBody"])
        return self._result()

    def put(self, body: str) -> None:
        self.count += 1
        self.messages[f"m{self.count}"] = body

    async def receive_message(self, QueueUrl, MaxNumberOfMessages, VisibilityTimeout, WaitTimeSeconds):  # noqa: N803
        now = asyncio.get_running_loop().time()
        visible = [name for name in self.messages if self.hidden_until.get(name, 0.0) <= now][:MaxNumberOfMessages]
        for name in visible:
            self.count += 1
            self.handles[name] = f"{name}/{self.count}"
            self.hidden_until[name] = now + VisibilityTimeout
        return {
            "Messages": [{"MessageId": n, "ReceiptHandle": self.handles[n], "Body": self.messages[n]} for n in visible]
        }

    async def change_message_visibility_batch(self, QueueUrl, Entries):  # noqa: N803
        now = asyncio.get_running_loop().time()
        for entry in self._answer("show", Entries):
            name = entry["ReceiptHandle"].partition("/")[0]
            if self.handles.get(name) == entry["ReceiptHandle"]:
                self.hidden_until[name] = now + entry["VisibilityTimeout"]
        return self._result()

    async def delete_message_batch(self, QueueUrl, Entries):  # noqa: N803
        for entry in self._answer("delete", Entries):
            name = entry["ReceiptHandle"].partition("/")[0]
            if self.handles.get(name) == entry["ReceiptHandle"]:
                self.messages.pop(name, None)
        return self._result()

    async def get_queue_attributes(self, QueueUrl, AttributeNames):  # noqa: N803
        now = asyncio.get_running_loop().time()
        hidden = sum(self.hidden_until.get(name, 0.0) > now for name in self.messages)
        counted = {"ApproximateNumberOfMessagesNotVisible": str(hidden)}
        return {
            "Attributes": {
                name: value for name, value in {**self.attributes, **counted}.items() if name in AttributeNames
            }
        }


class FakeTopic:
    """Keeps what is published; `failed` entries are answered once."""

    def __init__(self, **attributes: str) -> None:
        self.attributes = attributes
        self.batches: list[list[dict[str, Any]]] = []
        self.failed: list[dict[str, Any]] = []

    async def publish_batch(self, TopicArn, PublishBatchRequestEntries):  # noqa: N803
        self.batches.append(PublishBatchRequestEntries)
        failed, self.failed = self.failed, []
        return {"Failed": failed}

    async def get_topic_attributes(self, TopicArn):  # noqa: N803
        return {"Attributes": self.attributes}


class FakeBucket:
    """Objects by key; raises what `failure` holds."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.failure: Exception | None = None

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def put_object(self, Bucket, Key, Body, **_):  # noqa: N803
        self._fail()
        self.objects[Key] = Body

    async def get_object(self, Bucket, Key):  # noqa: N803
        self._fail()
        if Key not in self.objects:
            raise refusal("NoSuchKey", 404)
        return {"Body": _Body(self.objects[Key])}

    async def delete_object(self, Bucket, Key):  # noqa: N803
        self._fail()
        self.objects.pop(Key, None)


class _Body:
    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def read(self) -> bytes:
        return self.data
