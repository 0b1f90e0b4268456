"""Dead letters in an SQS queue: one message a record. They can be read again, though only by taking them out of sight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Final

from headrace.aws.letter_messages import Message, Packer, batches, letter_in
from headrace.aws.session import translated
from headrace.core.failure_document import identity_of
from headrace.errors import AwsError, Rejected, Unavailable
from headrace.model import DeadLetter, ShardId

VISIBILITY_S: Final = 300
"""How long a message that is being read is out of others' sight; it is back sooner when the reading ends."""

MOST_MESSAGES: Final = 10
"""In one call (SQS API reference)."""

WAIT_S: Final = 1
"""A queue that gives nothing for so long is taken to be empty; only a wait asks all of its servers (long polling)."""


class LetterQueue:
    """Implements `ports.DeadLetterStore` on a standard queue.

    SQS may keep the same letter twice when a burial is repeated: `read` gives it once, and `remove` removes both. One
    reader at a time: what one sees, others don't.
    """

    def __init__(self, client: Any, url: str, packer: Packer) -> None:
        self._client = client
        self._url = url
        self._packer = packer
        self._receipts: dict[str, list[str]] = {}
        """By a letter's identity: what it takes to delete its messages."""

    async def check(self) -> None:
        """Whether it is there. Raises NotFound, Denied."""
        with translated("sqs", "GetQueueAttributes"):
            await self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Durable when it returns. Raises Unavailable where SQS took some and not others: all are sent again then."""
        messages = [await self._packer.pack(letter) for letter in letters]
        for batch in batches(messages):
            await self._send(batch)

    async def _send(self, batch: Sequence[Message]) -> None:
        entries = [
            {"Id": str(number), "MessageBody": message.body, "MessageAttributes": message.attributes}
            for number, message in enumerate(batch)
        ]
        with translated("sqs", "SendMessageBatch"):
            answer = await self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        if failed := answer.get("Failed"):
            told = f"sqs SendMessageBatch: {len(failed)} of {len(batch)} not taken: {failed[0].get('Code', '')}"
            raise Rejected(told) if all(one.get("SenderFault") for one in failed) else Unavailable(told)

    async def read(self, stream: str | None = None, shard: ShardId | None = None) -> AsyncIterator[DeadLetter]:
        """Every letter of the queue, of a stream, or of one shard of it, in no order; what is no letter is left alone."""
        seen: set[str] = set()
        kept_back: list[str] = []
        try:
            while messages := await self._receive():
                for message in messages:
                    kept_back.append(message["ReceiptHandle"])
                    letter = await letter_in(message["Body"], self._packer)
                    if letter is None:
                        continue
                    identity = str(identity_of(letter))
                    self._receipts.setdefault(identity, []).append(message["ReceiptHandle"])
                    wanted = stream in {None, letter.stream} and shard in {None, letter.record.shard_id}
                    if identity not in seen and wanted:
                        seen.add(identity)
                        yield letter
        finally:
            await self._show(kept_back)

    async def _receive(self) -> list[Any]:
        with translated("sqs", "ReceiveMessage"):
            answer = await self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=MOST_MESSAGES,
                VisibilityTimeout=VISIBILITY_S,
                WaitTimeSeconds=WAIT_S,
            )
        return list(answer.get("Messages", []))

    async def _show(self, receipts: Sequence[str]) -> None:
        """Let others see again what was read; if that fails, time does it."""
        for start in range(0, len(receipts), MOST_MESSAGES):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for number, receipt in enumerate(receipts[start : start + MOST_MESSAGES])
            ]
            with suppress(AwsError), translated("sqs", "ChangeMessageVisibilityBatch"):
                await self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    async def remove(self, letters: Sequence[DeadLetter]) -> None:
        """Delete the messages of letters that `read` gave."""
        receipts = [r for letter in letters for r in self._receipts.pop(str(identity_of(letter)), [])]
        for start in range(0, len(receipts), MOST_MESSAGES):
            batch = receipts[start : start + MOST_MESSAGES]
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(batch)]
            with translated("sqs", "DeleteMessageBatch"):
                answer = await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
            if failed := answer.get("Failed"):
                raise Unavailable(f"sqs DeleteMessageBatch: {len(failed)} of {len(batch)} not deleted")
