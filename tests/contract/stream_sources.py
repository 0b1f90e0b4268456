"""A stream in memory and streams on local servers behind one face, for the suite that they all have to pass."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias

from headrace.aws.kinesis import KinesisStream
from headrace.model import Checkpoint, Page, Record, Shard, ShardId, TrimHorizon
from headrace.ports import Stream
from headrace.testing.clock import LoopClock
from headrace.testing.stream import MemoryStream

if TYPE_CHECKING:
    from types_aiobotocore_kinesis import KinesisClient

PUT_LIMIT = 500

_names = (f"contract-{number}" for number in itertools.count())


class Source(Protocol):
    """A stream under test with the producer's and the operator's side of it."""

    stream: Stream
    name: str

    def reopen(self) -> Stream:
        """The same stream, seen by a reader that has just started."""

    async def put(self, key: str, data: bytes, explicit: int | None = None) -> tuple[str, int]:
        """Where the record went: shard and sequence number."""

    async def split(self, shard: ShardId, at: int) -> None: ...

    async def merge(self, shard: ShardId, adjacent: ShardId) -> None: ...


OpenSource: TypeAlias = Callable[[int], AbstractAsyncContextManager[Source]]


class MemorySource:
    def __init__(self, shards: int) -> None:
        self.name = "stream"
        self.stream = MemoryStream(LoopClock(), shards, name=self.name, enforce_limits=False)

    def reopen(self) -> Stream:
        return self.stream

    async def put(self, key: str, data: bytes, explicit: int | None = None) -> tuple[str, int]:
        return self.stream.put(key, data, explicit)

    async def split(self, shard: ShardId, at: int) -> None:
        self.stream.split(shard, at)

    async def merge(self, shard: ShardId, adjacent: ShardId) -> None:
        self.stream.merge(shard, adjacent)


class ServerSource:
    def __init__(self, client: KinesisClient, name: str) -> None:
        self.client = client
        self.name = name
        self.stream = KinesisStream(client, name)

    def reopen(self) -> Stream:
        return KinesisStream(self.client, self.name)

    async def put(self, key: str, data: bytes, explicit: int | None = None) -> tuple[str, int]:
        place = {} if explicit is None else {"ExplicitHashKey": str(explicit)}
        answer = await self.client.put_record(StreamName=self.name, PartitionKey=key, Data=data, **place)
        return answer["ShardId"], int(answer["SequenceNumber"])

    async def split(self, shard: ShardId, at: int) -> None:
        await self.client.split_shard(StreamName=self.name, ShardToSplit=shard, NewStartingHashKey=str(at))
        await self.active()

    async def merge(self, shard: ShardId, adjacent: ShardId) -> None:
        await self.client.merge_shards(StreamName=self.name, ShardToMerge=shard, AdjacentShardToMerge=adjacent)
        await self.active()

    async def active(self) -> None:
        while True:
            answer = await self.client.describe_stream_summary(StreamName=self.name)
            if answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def memory_source(shards: int) -> AsyncIterator[Source]:
    yield MemorySource(shards)


@asynccontextmanager
async def server_source(client: KinesisClient, shards: int) -> AsyncIterator[Source]:
    source = ServerSource(client, next(_names))
    await client.create_stream(StreamName=source.name, ShardCount=shards)
    try:
        await source.active()
        yield source
    finally:
        await client.delete_stream(StreamName=source.name, EnforceConsumerDeletion=True)


async def read_on(stream: Stream, iterator: str | None, shard: ShardId) -> list[Page]:
    """Pages until the tip, or until the end of the shard."""
    pages: list[Page] = []
    while iterator is not None:
        pages.append(await stream.get_records(iterator, 1000, shard))
        iterator = pages[-1].next_iterator
        if not pages[-1].records and iterator is not None:
            break
    return pages


async def read_from(stream: Stream, shard: ShardId, start: Checkpoint | TrimHorizon) -> list[Record]:
    """All records from a position to the tip."""
    pages = await read_on(stream, await stream.iterator(shard, start), shard)
    return [record for page in pages for record in page.records]


def holder(shards: list[Shard], key: str) -> Shard:
    """The shard whose range holds the MD5 of the key."""
    hash_key = int.from_bytes(hashlib.md5(key.encode()).digest())
    return next(shard for shard in shards if shard.first_hash_key <= hash_key <= shard.last_hash_key)
