"""Dead letters in an SQS queue: one message a record. They can be read again, though only by taking them out of sight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final
from uuid import UUID

import structlog

from headrace.aws.letter_messages import (
    MOST_MESSAGES,
    Found,
    Message,
    Packer,
    batches,
    insist_on_all,
    insist_on_size,
)
from headrace.aws.session import translated
from headrace.core.failure_document import identity_of
from headrace.errors import AwsError, Unavailable
from headrace.model import DeadLetter, ShardId

log = structlog.get_logger(__name__)

VISIBILITY_S: Final = 60
"""How long a message that was read is out of sight; renewed while the reading lasts, over at once when it ends."""

WAIT_S: Final = 1
"""A queue that gives nothing for so long is taken to be empty; only a wait asks all of its servers (long polling)."""

LONGEST_RETENTION_S: Final = 14 * 86_400
"""What SQS keeps a message for at most; a queue keeps it for 4 days unless it is told otherwise (SQS quotas)."""


@dataclass(slots=True)
class _Known:
    """What it takes to remove a letter: by message, the handle of its last receipt; and where its payload is."""

    receipts: dict[str, str] = field(default_factory=dict)
    locations: set[str] = field(default_factory=set)


class _Reading:
    """The messages that one reading has taken out of sight."""

    def __init__(self) -> None:
        self.receipts: dict[str, str] = {}
        self.renewed_at = _now()

    @property
    def is_due(self) -> bool:
        """Whether they would be seen again soon."""
        return _now() - self.renewed_at > VISIBILITY_S / 2


class LetterQueue:
    """Implements `ports.DeadLetterStore` on a standard queue.

    SQS may keep the same letter twice when a burial is repeated: `read` gives it once, and `remove` removes both. That of a
    later reading of the shard is given as well. What was read and is buried again is replaced. One reader at a time: what
    one sees, others don't.
    """

    def __init__(self, client: Any, url: str, packer: Packer) -> None:
        self._client = client
        self._url = url
        self._packer = packer
        self._known: dict[UUID, _Known] = {}

    async def check(self) -> None:
        """Whether it is there and takes our messages. Raises NotFound, Denied, Rejected."""
        attributes = await self._attributes("MaximumMessageSize", "MessageRetentionPeriod")
        insist_on_size("sqs", attributes)
        kept_s = int(attributes.get("MessageRetentionPeriod", LONGEST_RETENTION_S))
        if kept_s < LONGEST_RETENTION_S:
            log.warning("dead_letters_expire", queue=self._url, after_days=round(kept_s / 86_400, 1))

    async def _attributes(self, *names: str) -> dict[str, str]:
        with translated("sqs", "GetQueueAttributes"):
            answer = await self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(names))
        return dict(answer.get("Attributes", {}))

    # --- bury ---

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Durable when it returns. Raises Unavailable where SQS took some and not others: all are sent again then."""
        async for batch in batches(self._packer, letters):
            await self._send(batch)
        replaced = [self._known[one] for one in map(identity_of, letters) if one in self._known]
        await self._delete(receipt for known in replaced for receipt in known.receipts.values())
        for known in replaced:
            known.receipts.clear()

    async def _send(self, batch: Sequence[Message]) -> None:
        entries = [
            {"Id": str(number), "MessageBody": message.body, "MessageAttributes": message.attributes}
            for number, message in enumerate(batch)
        ]
        with translated("sqs", "SendMessageBatch"):
            answer = await self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        insist_on_all("sqs SendMessageBatch", answer, len(batch))

    # --- read ---

    async def read(self, stream: str | None = None, shard: ShardId | None = None) -> AsyncIterator[DeadLetter]:
        """Every letter of the queue, of a stream, or of one shard of it, in no order; what is no letter is left alone.

        Raises Unavailable at the end where others keep messages out of sight: what was given is not all there is.
        """
        reading = _Reading()
        given: dict[UUID, int] = {}
        """By letter, the reading of the shard that it was of."""
        try:
            while messages := await self._receive():
                reading.receipts.update((message["MessageId"], message["ReceiptHandle"]) for message in messages)
                for message in messages:
                    if (found := await self._packer.unpack(message["Body"])) is None:
                        continue
                    letter, identity = found.letter, self._remember(found, message)
                    if (
                        letter.replay > given.get(identity, -1)
                        and stream in {None, letter.stream}
                        and shard in {None, letter.record.shard_id}
                    ):
                        given[identity] = letter.replay
                        yield letter
                    await self._renew(reading)
            await self._insist_on_all_of(reading)
        finally:
            await self._show(reading)

    async def _receive(self) -> list[Any]:
        with translated("sqs", "ReceiveMessage"):
            answer = await self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=MOST_MESSAGES,
                VisibilityTimeout=VISIBILITY_S,
                WaitTimeSeconds=WAIT_S,
            )
        return list(answer.get("Messages", []))

    def _remember(self, found: Found, message: Any) -> UUID:
        identity = identity_of(found.letter)
        known = self._known.setdefault(identity, _Known())
        known.receipts[message["MessageId"]] = message["ReceiptHandle"]  # SQS deletes by the last one only
        if found.location is not None:
            known.locations.add(found.location)
        return identity

    async def _renew(self, reading: _Reading) -> None:
        if reading.is_due:
            reading.renewed_at = _now()
            await self._set_visibility(reading.receipts.values(), VISIBILITY_S)

    async def _show(self, reading: _Reading) -> None:
        """Let others see again what was read; if that fails, time does it."""
        await self._set_visibility(reading.receipts.values(), 0)

    async def _set_visibility(self, receipts: Iterable[str], seconds: int) -> None:
        """Of messages that are still there; who has deleted one since does not miss it."""
        for some in _tens(receipts):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
                for number, receipt in enumerate(some)
            ]
            with suppress(AwsError), translated("sqs", "ChangeMessageVisibilityBatch"):
                await self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    async def _insist_on_all_of(self, reading: _Reading) -> None:
        """A letter that nobody sees now may have to go before one that was seen."""
        name = "ApproximateNumberOfMessagesNotVisible"
        hidden = int((await self._attributes(name)).get(name, 0)) - len(reading.receipts)
        if hidden > 0:
            told = f"about {hidden} messages are out of sight: another reader has them, or had them in the last minutes"
            raise Unavailable(f"sqs ReceiveMessage: {told}")

    # --- remove ---

    async def remove(self, letters: Sequence[DeadLetter]) -> None:
        """Delete the messages of letters that `read` gave, then payloads that are elsewhere."""
        identities = [one for one in map(identity_of, letters) if one in self._known]
        known = [self._known[one] for one in identities]
        await self._delete(receipt for one in known for receipt in one.receipts.values())
        for location in {location for one in known for location in one.locations}:
            await self._packer.discard(location)
        for identity in identities:
            self._known.pop(identity, None)

    async def _delete(self, receipts: Iterable[str]) -> None:
        for some in _tens(receipts):
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(some)]
            with translated("sqs", "DeleteMessageBatch"):
                answer = await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
            insist_on_all("sqs DeleteMessageBatch", answer, len(some))


def _tens(receipts: Iterable[str]) -> Iterable[list[str]]:
    left = iter(list(receipts))
    while some := list(islice(left, MOST_MESSAGES)):
        yield some


def _now() -> float:
    return asyncio.get_running_loop().time()
