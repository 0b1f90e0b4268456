"""Enhanced fan-out: the registered consumer of a stream, and its subscriptions to shards.

The stock client sends the request; a public event, `before-parse.kinesis.SubscribeToShard`, takes the stream of events out of
its parser's hands, so that each is decoded as a GetRecords answer is.

Source of the rules: the Kinesis API reference, SubscribeToShard, RegisterStreamConsumer and DescribeStreamConsumer.
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from headrace.aws.error_codes import family
from headrace.aws.event_stream import BadEventError, Events
from headrace.aws.kinesis import KinesisStream
from headrace.aws.session import translated
from headrace.errors import AwsError, NotFound, SubscriptionTaken, Unavailable
from headrace.model import AtTimestamp, Checkpoint, Page, ShardId, TrimHorizon

if TYPE_CHECKING:
    from types_aiobotocore_kinesis import KinesisClient
    from types_aiobotocore_kinesis.type_defs import ConsumerDescriptionTypeDef

SILENCE_S: Final = 10.0
"""A subscription without an event for so long is dead: the service sends one about every 5 s, records or not. The client's
read timeout (`session.READ_S`) is the same."""

EVENTS: Final = "Events"
"""Where the bytes of the events stand in what the client returns."""

IN_USE: Final = "ResourceInUseException"
FULL: Final = "LimitExceededException"


async def registered_consumer(client: KinesisClient, stream_arn: str, name: str) -> str:
    """The ARN of the stream's consumer of this name; it is registered where it is not there. One try, without waiting.

    Raises SubscriptionTaken while it is not active (new, or being deleted), Denied without kinesis:DescribeStreamConsumer or
    kinesis:RegisterStreamConsumer, AwsError when the stream has as many consumers as it may have.
    """
    try:
        found = await _described(client, stream_arn, name)
    except NotFound:
        await _register(client, stream_arn, name)
        found = await _described(client, stream_arn, name)
    if found["ConsumerStatus"] != "ACTIVE":
        raise SubscriptionTaken(f"kinesis DescribeStreamConsumer, {name}: {found['ConsumerStatus']}, not yet ACTIVE")
    return found["ConsumerARN"]


async def _described(client: KinesisClient, stream_arn: str, name: str) -> ConsumerDescriptionTypeDef:
    with translated("kinesis", "DescribeStreamConsumer"):
        answer = await client.describe_stream_consumer(StreamARN=stream_arn, ConsumerName=name)
    return answer["ConsumerDescription"]


async def _register(client: KinesisClient, stream_arn: str, name: str) -> None:
    another_was_faster = suppress(SubscriptionTaken)
    with another_was_faster, translated("kinesis", "RegisterStreamConsumer"), _told_if_taken(), _told_if_full():
        await client.register_stream_consumer(StreamARN=stream_arn, ConsumerName=name)


class Subscriptions:
    """Implements `ports.FanOut`, once its `consumer` is known; `stream` knows how positions and pages are written."""

    def __init__(
        self, client: KinesisClient, stream: KinesisStream, consumer: str | None = None, silence_s: float = SILENCE_S
    ) -> None:
        self.consumer = consumer
        """The ARN of the registered consumer."""
        self._client = client
        self._stream = stream
        self._silence_s = silence_s
        client.meta.events.register(
            "before-parse.kinesis.SubscribeToShard", _keep_events, unique_id="headrace-keep-events"
        )

    @property
    def is_open(self) -> bool:
        """Whether there is a consumer to subscribe as."""
        return self.consumer is not None

    @asynccontextmanager
    async def subscribe(
        self, shard: ShardId, after: Checkpoint | TrimHorizon | AtTimestamp
    ) -> AsyncIterator[AsyncIterator[Page]]:
        """SubscribeToShard; the connection is closed with the context, whatever is still on it."""
        kind, where = await self._stream.start(after)
        position: Any = {"Type": kind, **where}
        with translated("kinesis", "SubscribeToShard"), _told_if_taken():
            answer: Any = await self._client.subscribe_to_shard(
                ConsumerARN=self.consumer or "", ShardId=shard, StartingPosition=position
            )
        response = answer[EVENTS]
        pages = self._pages(response, shard)
        try:
            yield pages
        finally:
            response.close()
            await pages.aclose()

    async def _pages(self, response: Any, shard: ShardId) -> AsyncGenerator[Page, None]:
        events = Events()
        while chunk := await self._chunk(response, shard):
            for payload in _payloads(events.cut(chunk), shard):
                yield _whole(self._stream.page(payload, shard), shard)

    async def _chunk(self, response: Any, shard: ShardId) -> bytes:
        try:
            async with asyncio.timeout(self._silence_s):
                with translated("kinesis", "SubscribeToShard"):
                    return await _piece(response.content)
        except TimeoutError as error:
            raise Unavailable(f"kinesis SubscribeToShard, {shard}: silent for {self._silence_s:g} s") from error


async def _piece(content: Any) -> bytes:
    """What comes next, empty at the end. A piece of HTTP's own, as long as that is: it is often just an event."""
    while True:
        piece, is_whole = await content.readchunk()
        if piece or not is_whole:
            return cast("bytes", piece)


def _whole(page: Page, shard: ShardId) -> Page:
    """Children come with the last event of a shard only (API reference); MiniStack continues even there."""
    if page.children:
        return replace(page, next_iterator=None, continuation=None)
    if page.continuation is None:
        raise Unavailable(f"kinesis SubscribeToShard, {shard}: an event without continuation or children")
    return page


def _payloads(events: Iterator[tuple[Mapping[str, Any], memoryview]], shard: ShardId) -> Iterator[memoryview]:
    try:
        for headers, payload in events:
            if headers.get(":message-type") != "event":
                raise _failure(headers, bytes(payload), shard)
            if headers.get(":event-type") == "SubscribeToShardEvent":
                yield payload
    except BadEventError as error:
        raise Unavailable(f"kinesis SubscribeToShard, {shard}: an event that cannot be read ({error})") from error


def _failure(headers: Mapping[str, Any], payload: bytes, shard: ShardId) -> AwsError:
    code = str(headers.get(":exception-type") or headers.get(":error-code") or "error")
    kind = SubscriptionTaken if code == IN_USE else family(code, 0)
    return kind(f"kinesis SubscribeToShard, {shard}: {code}: {_message(headers, payload)}")


def _message(headers: Mapping[str, Any], payload: bytes) -> str:
    try:
        told = json.loads(payload)
        return str(told.get("message") or told.get("Message") or "")
    except (ValueError, AttributeError):
        return str(headers.get(":error-message", ""))


@contextmanager
def _told_if_taken() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        problem = error.response.get("Error", {})
        if problem.get("Code") != IN_USE:
            raise
        raise SubscriptionTaken(f"kinesis: {IN_USE}: {problem.get('Message', '')}") from error


@contextmanager
def _told_if_full() -> Iterator[None]:
    """Elsewhere this code means a moment's haste; a stream without room for a consumer stays so until somebody acts."""
    try:
        yield
    except ClientError as error:
        problem = error.response.get("Error", {})
        if problem.get("Code") != FULL:
            raise
        raise AwsError(f"kinesis RegisterStreamConsumer: {FULL}: {problem.get('Message', '')}") from error


def _keep_events(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] == 200:  # noqa: PLR2004 - HTTP's own number
        customized_response_dict[EVENTS] = response_dict["body"]
        response_dict["body"] = _Greeting()


class _Greeting:
    """What botocore's parser reads in place of the events: the `initial-response` that it insists on, and no more."""

    def __init__(self) -> None:
        self.content = self

    async def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        """As aiohttp's StreamReader has it."""
        yield _GREETING, True

    def close(self) -> None:
        """Nothing is open."""


def _frame(headers: dict[str, str], payload: bytes) -> bytes:
    r"""An event of botocore's `EventStreamBuffer`: lengths, CRC of them, headers of text (type 7), payload, CRC of all."""
    raw = b"".join(
        struct.pack(f"!B{len(name)}sBH{len(text)}s", len(name), name.encode(), 7, len(text), text.encode())
        for name, text in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(raw) + len(payload), len(raw))
    head = prelude + struct.pack("!I", zlib.crc32(prelude)) + raw + payload
    return head + struct.pack("!I", zlib.crc32(head))


_GREETING: Final = _frame({":message-type": "event", ":event-type": "initial-response"}, b"{}")
