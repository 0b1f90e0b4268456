"""Dead letters as messages of limited size: a payload too large for one goes to S3, or is cut, with a mark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import structlog

from headrace.aws.session import translated
from headrace.core.failure_document import (
    Cut,
    Elsewhere,
    Inline,
    failure_document,
    identity_of,
    letter_of,
    object_key,
    payload_of,
)
from headrace.errors import NotFound, Rejected, Unavailable
from headrace.model import DeadLetter

log = structlog.get_logger(__name__)

NEEDED_BYTES: Final = 262_144
"""What a queue or topic has to take: SNS's limit and SQS's before 2025, with attributes (quotas; 1 MiB can be had now).

Every queue and topic takes that much unless somebody has set its MaximumMessageSize lower.
"""

LARGEST_MESSAGE: Final = 250_000
"""Bytes of a message's text, which leaves room for its attributes."""

LARGEST_BATCH: Final = 250_000
"""Bytes of all messages of one call: for SNS, and SQS before 2025, the same limit holds for their sum."""

MOST_MESSAGES: Final = 10
"""In one call (SQS and SNS API references)."""

SHORTENED: Final = 1024
"""Characters of each text that are kept where even a document without its payload is too large."""


@dataclass(frozen=True, slots=True)
class Message:
    """The text of one message, and attributes that subscribers and consumers may filter by."""

    body: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A letter that was in a message, and the S3 object (`s3://bucket/key`) of its payload, where there is one."""

    letter: DeadLetter
    location: str | None = None


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
        body = failure_document(letter, Inline()) if len(letter.record.data) < LARGEST_MESSAGE else None
        if body is None or len(body) > LARGEST_MESSAGE:
            payload = await self._put_elsewhere(letter)
            body = failure_document(letter, payload)
            if len(body) > LARGEST_MESSAGE:
                body = failure_document(_shortened(letter), payload)
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in {"condition": letter.reason, "shardId": letter.record.shard_id}.items()
            if value
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

    async def unpack(self, text: str) -> Found | None:
        """The letter of a message, also as SNS wraps it; None, and a line in the log, for one that cannot be delivered again.

        Raises what S3 does, and NotFound where the settings don't say how to get to the payload.
        """
        try:
            document = _unwrapped(text)
            match payload_of(document):
                case Inline():
                    return Found(letter_of(document))
                case Elsewhere(location):
                    return await self._fetched(letter_of(document, b""), location)
                case Cut():
                    log.warning("dead_letter_without_payload")
        except ValueError as error:
            log.warning("dead_letter_not_readable", error=str(error))
        return None

    async def _fetched(self, letter: DeadLetter, location: str) -> Found | None:
        # whoever can write messages must not choose what is read for them
        key = self._key_of(location)
        if not key.endswith(f"-{identity_of(letter)}"):
            raise ValueError(f"{location} is not the payload of this letter")
        try:
            data = await self._get(key)
        except NotFound:
            log.warning("dead_letter_payload_gone", location=location)
            return None
        return Found(replace(letter, record=msgspec.structs.replace(letter.record, data=data)), location)

    async def _get(self, key: str) -> bytes:
        spill = self._insist()
        with translated("s3", "GetObject"):
            answer = await spill.client.get_object(Bucket=spill.bucket, Key=key)
            async with answer["Body"] as body:
                return bytes(await body.read())

    async def discard(self, location: str) -> None:
        """Delete a payload that was put elsewhere; one that is gone is no error. Raises what S3 does."""
        spill = self._insist()
        with translated("s3", "DeleteObject"):
            await spill.client.delete_object(Bucket=spill.bucket, Key=self._key_of(location))

    def _key_of(self, location: str) -> str:
        bucket, _, key = location.removeprefix("s3://").partition("/")
        if self._spill is None or bucket != self._spill.bucket:
            raise NotFound(f"a payload is at {location}: set HEADRACE_DEAD_LETTERS_SPILL to that bucket to read it")
        return key

    def _insist(self) -> Spill:
        assert self._spill is not None, "a location was looked at first"  # noqa: S101 - for the type checker
        return self._spill


async def batches(packer: Packer, letters: Sequence[DeadLetter]) -> AsyncIterator[list[Message]]:
    """The messages of the letters, as many at a time as one call takes, by number and bytes; of one letter, the last."""
    batch: list[Message] = []
    size = 0
    for letter in {identity_of(letter): letter for letter in letters}.values():
        message = await packer.pack(letter)
        weight = len(message.body.encode())
        if batch and (len(batch) == MOST_MESSAGES or size + weight > LARGEST_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += weight
    if batch:
        yield batch


def insist_on_all(what: str, answer: Mapping[str, Any], wanted: int) -> None:
    """Raises Unavailable where a batch call left some of its entries out, Rejected where those are wrong in themselves."""
    if failed := answer.get("Failed"):
        told = f"{what}: {len(failed)} of {wanted} failed: {failed[0].get('Code', '')} {failed[0].get('Message', '')}"
        raise Rejected(told) if all(one.get("SenderFault") for one in failed) else Unavailable(told)


def insist_on_size(what: str, attributes: Mapping[str, str]) -> None:
    """Raises Rejected where a queue or topic takes only smaller messages than are sent to it."""
    if (most := int(attributes.get("MaximumMessageSize", NEEDED_BYTES))) < NEEDED_BYTES:
        raise Rejected(f"{what}: its MaximumMessageSize is {most:,} bytes, and {NEEDED_BYTES:,} are needed")


def _unwrapped(text: str) -> bytes:
    """SNS puts a message into an envelope unless the subscription asks for raw delivery (SNS developer guide)."""
    document = text.encode(errors="replace")
    try:
        return msgspec.json.decode(document, type=_Envelope).message.encode()
    except (msgspec.DecodeError, RecursionError):
        return document


class _Envelope(msgspec.Struct, tag_field="Type", tag="Notification"):
    message: str = msgspec.field(name="Message")


def _shortened(letter: DeadLetter) -> DeadLetter:
    """Texts of every other field are bounded by AWS."""
    return replace(
        letter,
        error=letter.error[:SHORTENED],
        message=letter.message[:SHORTENED],
        traceback=letter.traceback[-SHORTENED:],
        handler=letter.handler[:SHORTENED],
        log=tuple(replace(one, error=one.error[:SHORTENED]) for one in letter.log),
    )
