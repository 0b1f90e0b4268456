"""What every implementation of `ports.FanOut` does, in memory and against the local server that has subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from conftest import Opener
from contract.stream_sources import MemorySource, Source, memory_source, server_source

from headrace.aws.fan_out import Subscriptions, registered_consumer
from headrace.aws.kinesis import KinesisStream
from headrace.errors import NotFound, SubscriptionTaken
from headrace.model import Checkpoint, Page, ShardId, TrimHorizon
from headrace.ports import FanOut
from headrace.testing.clock import LoopClock
from headrace.testing.fan_out import MemoryFanOut

MEMORY = pytest.param("memory")
MINISTACK = pytest.param("ministack", marks=pytest.mark.servers)


@pytest.fixture(params=[MEMORY, MINISTACK])
async def opened(
    request: pytest.FixtureRequest, aws: Opener
) -> AsyncIterator[tuple[Source, Callable[[], Awaitable[FanOut]]]]:
    """A stream of two shards, and what makes the subscriptions of a new consumer of it."""
    if request.param == "memory":
        async with memory_source(2) as source:
            assert isinstance(source, MemorySource)
            memory = source.stream

            async def in_memory() -> FanOut:
                return MemoryFanOut(memory, LoopClock(), every_s=0.01)

            yield source, in_memory
        return
    async with aws(request.getfixturevalue(request.param)) as clients, server_source(clients.kinesis, 2) as source:

        async def on_server() -> FanOut:
            stream = KinesisStream(clients.kinesis, source.name)
            arn = (await stream.describe()).arn
            consumer = await registered_consumer(clients.kinesis, arn, "app")
            return Subscriptions(clients.kinesis, stream, consumer)

        yield source, on_server


async def until(pages: AsyncIterator[Page], enough: Callable[[list[Page]], Any]) -> list[Page]:
    found: list[Page] = []
    async with asyncio.timeout(10):
        async for page in pages:
            found.append(page)
            if enough(found):
                break
    return found


def numbers(pages: list[Page]) -> list[int]:
    return [record.sequence_number for page in pages for record in page.records]


async def first_shard(source: Source) -> ShardId:
    return min(shard.shard_id for shard in await source.stream.list_shards())


async def test_a_subscription_brings_what_is_there_and_what_comes_later(opened):
    """Whole records in order, with the shard's name, and the position to go on from."""
    source, make = opened
    shard = await first_shard(source)
    early = [(await source.put("key", b"%d" % turn, 0))[1] for turn in range(3)]
    fan_out = await make()
    async with fan_out.subscribe(shard, TrimHorizon()) as pages:
        found = await until(pages, lambda got: len(numbers(got)) == 3)
        late = (await source.put("key", b"late", 0))[1]
        found += await until(pages, numbers)
    records = [record for page in found for record in page.records]
    assert numbers(found) == [*early, late]
    assert [record.data for record in records] == [b"0", b"1", b"2", b"late"]
    assert {record.shard_id for record in records} == {shard}
    assert [page.size for page in found if page.records][-1] == 4
    assert found[-1].continuation == late
    assert all(page.next_iterator is not None for page in found)


async def test_a_subscription_from_a_checkpoint_begins_just_behind_it(opened):
    """Nothing is skipped or sent twice."""
    source, make = opened
    shard = await first_shard(source)
    placed = [(await source.put("key", b"x", 0))[1] for _ in range(3)]
    fan_out = await make()
    async with fan_out.subscribe(shard, Checkpoint.at(placed[0])) as pages:
        assert numbers(await until(pages, lambda got: len(numbers(got)) == 2)) == placed[1:]


async def test_a_second_subscription_right_after_the_first_is_refused(opened):
    """The shard is read another way for 5 s."""
    source, make = opened
    shard = await first_shard(source)
    fan_out = await make()
    async with fan_out.subscribe(shard, TrimHorizon()):
        with pytest.raises(SubscriptionTaken):
            async with fan_out.subscribe(shard, TrimHorizon()):
                pass


async def test_the_end_of_a_shard_names_its_children(opened):
    """In the last event, after which there is nothing more."""
    source, make = opened
    shard = await first_shard(source)
    fan_out = await make()
    async with fan_out.subscribe(shard, TrimHorizon()) as pages:
        await source.split(shard, 2**125)
        found = await until(pages, lambda got: got[-1].next_iterator is None)
    assert len(found[-1].children) == 2
    assert {child.parents for child in found[-1].children} == {(shard,)}
    assert found[-1].continuation is None


async def test_a_shard_that_is_not_there_is_not_found(opened):
    """As for every other call."""
    _, make = opened
    fan_out = await make()
    with pytest.raises(NotFound):
        async with fan_out.subscribe(ShardId("shardId-000000000099"), TrimHorizon()):
            pass


async def test_a_consumer_that_exists_is_found(opened):
    """Every worker of a fleet asks for it."""
    source, make = opened
    await make()
    fan_out = await make()
    async with fan_out.subscribe(await first_shard(source), TrimHorizon()) as pages:
        assert pages is not None
