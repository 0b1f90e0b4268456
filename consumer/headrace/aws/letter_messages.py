"""Dead letters as messages of limited size: a payload too large for one goes to S3, or is cut, with a mark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from headrace.aws.session import translated
from headrace.core.failure_document import (
    Cut,
    Elsewhere,
    Inline,
    failure_document,
    letter_of,
    object_key,
    payload_of,
)
from headrace.errors import NotFound
from headrace.model import DeadLetter

log = structlog.get_logger(__name__)

LARGEST_MESSAGE: Final = 250_000
"""Bytes of a message's text. SNS takes 262,144 with attributes (quotas); SQS 1 MiB since 2025, and that much before."""

LARGEST_BATCH: Final = 250_000
"""Bytes of all messages of one call: for SNS, and SQS before 2025, the same limit holds for their sum."""

MOST_MESSAGES: Final = 10
"""In one call (SQS and SNS API references)."""

SHORTENED: Final = 1024
"""Characters of message and traceback that are kept where even a document without its payload is too large."""


@dataclass(frozen=True, slots=True)
class Message:
    """The text of one message, and attributes that subscribers and consumers may filter by."""

    body: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spill:
    """Where payloads go that are too large for a message."""

    client: Any
    bucket: str
    prefix: str


class Packer:
    """Makes messages of letters, and finds payloads again."""

    def __init__(self, application: str, spill: Spill | None) -> None:
        self._application = application
        self._spill = spill

    async def pack(self, letter: DeadLetter) -> Message:
        """One message. Raises what S3 does where the payload has to go there."""
        body = failure_document(letter, Inline())
        if len(body) > LARGEST_MESSAGE:
            body = failure_document(letter, await self._put_elsewhere(letter))
        if len(body) > LARGEST_MESSAGE:
            short = replace(letter, message=letter.message[:SHORTENED], traceback=letter.traceback[-SHORTENED:])
            body = failure_document(short, payload_of(body))
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in {"condition": letter.reason, "shardId": letter.record.shard_id}.items()
        }
        return Message(body.decode(), attributes)

    async def _put_elsewhere(self, letter: DeadLetter) -> Elsewhere | Cut:
        if self._spill is None:
            log.warning("dead_letter_payload_cut", sequence_number=str(letter.record.sequence_number))
            return Cut()
        key = f"{self._spill.prefix}payload/{object_key(self._application, letter)}"
        with translated("s3", "PutObject"):
            await self._spill.client.put_object(Bucket=self._spill.bucket, Key=key, Body=letter.record.data)
        return Elsewhere(f"s3://{self._spill.bucket}/{key}")

    async def payload(self, where: Elsewhere) -> bytes:
        """What was put elsewhere. Raises NotFound where it is not there, or nothing says how to get there."""
        bucket, _, key = where.location.removeprefix("s3://").partition("/")
        if self._spill is None:
            raise NotFound(f"the payload is at {where.location}: set HEADRACE_DEAD_LETTERS_SPILL to read it")
        with translated("s3", "GetObject"):
            answer = await self._spill.client.get_object(Bucket=bucket, Key=key)
            async with answer["Body"] as body:
                return bytes(await body.read())


async def letter_in(text: str, packer: Packer) -> DeadLetter | None:
    """The letter of a message; None for what is none, or whose payload was cut. Raises what S3 does."""
    document = text.encode()
    try:
        where = payload_of(document)
        if isinstance(where, Cut):
            log.warning("dead_letter_without_payload")
            return None
        return letter_of(document, await packer.payload(where) if isinstance(where, Elsewhere) else None)
    except ValueError as error:
        log.warning("dead_letter_not_readable", error=str(error))
        return None


def batches(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """As many in one call as it takes, by number and bytes."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        weight = len(message.body.encode())
        if batch and (len(batch) == MOST_MESSAGES or size + weight > LARGEST_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += weight
    if batch:
        yield batch
