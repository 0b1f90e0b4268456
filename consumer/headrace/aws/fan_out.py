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

SILENCE_S: Final = 10.0
"""A subscription without an event for so long is dead: the service sends one about every 5 s, records or not. The client's
read timeout (`session.READ_S`) is the same."""

ACTIVE_WITHIN_S: Final = 60.0
"""How long a consumer may take to be registered or, being deleted, to be gone."""

LOOK_EVERY_S: Final = 1.0
"""DescribeStreamConsumer allows 20 calls a second."""

EVENTS: Final = "Events"
"""Where the bytes of the events stand in what the client returns."""

IN_USE: Final = "ResourceInUseException"


async def registered_consumer(client: KinesisClient, stream_arn: str, name: str) -> str:
    """The ARN of the stream's consumer of this name, registered unless it is there, once it is ACTIVE.

    Raises Denied without kinesis:RegisterStreamConsumer or kinesis:DescribeStreamConsumer, Throttled when the stream has as
    many consumers as it may have (LimitExceededException: 20), Unavailable when it does not become active.
    """
    try:
        with translated("kinesis", "DescribeStreamConsumer"):
            await client.describe_stream_consumer(StreamARN=stream_arn, ConsumerName=name)
    except NotFound:
        taken = suppress(SubscriptionTaken)  # another worker was faster
        with taken, translated("kinesis", "RegisterStreamConsumer"), _told_if_taken():
            await client.register_stream_consumer(StreamARN=stream_arn, ConsumerName=name)
    for _ in range(int(ACTIVE_WITHIN_S / LOOK_EVERY_S)):
        with translated("kinesis", "DescribeStreamConsumer"):
            answer = await client.describe_stream_consumer(StreamARN=stream_arn, ConsumerName=name)
        found = answer["ConsumerDescription"]
        if found["ConsumerStatus"] == "ACTIVE":
            return found["ConsumerARN"]
        await asyncio.sleep(LOOK_EVERY_S)
    raise Unavailable(f"kinesis RegisterStreamConsumer, {name}: not active after {ACTIVE_WITHIN_S:.0f} s")


class Subscriptions:
    """Implements `ports.FanOut` for a registered consumer; `stream` knows how positions and pages are written."""

    def __init__(
        self, client: KinesisClient, stream: KinesisStream, consumer_arn: str, silence_s: float = SILENCE_S
    ) -> None:
        self._client = client
        self._stream = stream
        self._consumer = consumer_arn
        self._silence_s = silence_s
        client.meta.events.register(
            "before-parse.kinesis.SubscribeToShard", _keep_events, unique_id="headrace-keep-events"
        )

    @asynccontextmanager
    async def subscribe(
        self, shard: ShardId, after: Checkpoint | TrimHorizon | AtTimestamp
    ) -> AsyncIterator[AsyncIterator[Page]]:
        """SubscribeToShard; the connection is closed with the context, whatever is still on it."""
        kind, where = await self._stream.start(after)
        position: Any = {"Type": kind, **where}
        with translated("kinesis", "SubscribeToShard"), _told_if_taken():
            answer: Any = await self._client.subscribe_to_shard(
                ConsumerARN=self._consumer, ShardId=shard, StartingPosition=position
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
            with translated("kinesis", "SubscribeToShard"):
                async with asyncio.timeout(self._silence_s):
                    return cast("bytes", await response.content.readany())
        except TimeoutError as error:
            raise Unavailable(f"kinesis SubscribeToShard, {shard}: silent for {self._silence_s:g} s") from error


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
