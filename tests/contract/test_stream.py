"""What every implementation of `ports.Stream` does, in memory and against local servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from conftest import Opener
from contract.stream_sources import (
    OpenSource,
    ServerSource,
    Source,
    holder,
    memory_source,
    read_from,
    read_on,
    server_source,
)

from headrace.aws.kinesis import KinesisStream
from headrace.errors import NotFound
from headrace.model import AtTimestamp, Checkpoint, ShardId, TrimHorizon

MEMORY = pytest.param("memory")
MINISTACK = pytest.param("ministack", marks=pytest.mark.servers)
KINESIS_LOCAL = pytest.param("kinesis_local", marks=pytest.mark.servers)
EVERYWHERE = [MEMORY, MINISTACK, KINESIS_LOCAL]
WHERE_RESHARDS_WORK = [MEMORY, KINESIS_LOCAL]
"""MiniStack deletes the parents of a reshard together with their records."""


@pytest.fixture(params=EVERYWHERE)
async def open_source(request: pytest.FixtureRequest, aws: Opener) -> AsyncIterator[OpenSource]:
    """Opens a stream with so many shards, for as long as a context lasts."""
    if request.param == "memory":
        yield memory_source
        return
    async with aws(request.getfixturevalue(request.param)) as clients:
        yield lambda shards: server_source(clients.kinesis, shards)


async def keyed(source: Source, count: int) -> dict[str, tuple[str, int]]:
    return {f"key-{number}": await source.put(f"key-{number}", b"value-%d" % number) for number in range(count)}


async def test_a_record_goes_to_the_shard_that_holds_the_md5_of_its_key(open_source):
    """And comes back whole: payload, key, shard, number and time."""
    async with open_source(3) as source:
        placed = await keyed(source, 12)
        shards = await source.stream.list_shards()
        before = (await source.stream.describe()).now_s
        for shard in shards:
            for record in await read_from(source.stream, shard.shard_id, TrimHorizon()):
                assert placed.pop(record.partition_key) == (shard.shard_id, record.sequence_number)
                assert holder(shards, record.partition_key) == shard
                assert record.data == b"value-" + record.partition_key.removeprefix("key-").encode()
                assert record.shard_id == shard.shard_id
                assert record.arrival_s == pytest.approx(before, abs=30)
                assert record.attempt == 1
        assert placed == {}


async def test_an_explicit_hash_key_decides_up_to_both_ends_of_a_range(open_source):
    """The ranges that ListShards names are inclusive, adjacent and cover everything."""
    async with open_source(2) as source:
        low, high = sorted(await source.stream.list_shards(), key=lambda shard: shard.first_hash_key)
        assert (low.first_hash_key, high.last_hash_key) == (0, 2**128 - 1)
        assert low.last_hash_key + 1 == high.first_hash_key
        for shard in (low, high):
            for edge in (shard.first_hash_key, shard.last_hash_key):
                assert (await source.put("key", b"x", edge))[0] == shard.shard_id


async def test_records_of_a_shard_come_in_the_order_of_exact_integers(open_source):
    """Numbers grow strictly, and are the very ones that the producer was given."""
    async with open_source(1) as source:
        numbers = [(await source.put("key", b"%d" % turn))[1] for turn in range(20)]
        (shard,) = await source.stream.list_shards()
        records = await read_from(source.stream, shard.shard_id, TrimHorizon())
        assert [record.sequence_number for record in records] == numbers
        assert all(earlier < later for earlier, later in pairwise(numbers))
        assert [record.data for record in records] == [b"%d" % turn for turn in range(20)]


async def test_a_reader_that_has_just_started_resumes_exactly_behind_its_checkpoint(open_source):
    """From every position, through the checkpoint's text, without having listed the shards."""
    async with open_source(1) as source:
        numbers = [(await source.put("key", b"%d" % turn))[1] for turn in range(5)]
        (shard,) = await source.stream.list_shards()
        for done, number in enumerate(numbers, 1):
            stored = Checkpoint.decode(Checkpoint.at(number).encode())
            records = await read_from(source.reopen(), shard.shard_id, stored)
            assert [record.sequence_number for record in records] == numbers[done:]


async def test_a_checkpoint_inside_an_aggregate_reads_the_aggregate_again(open_source):
    """The rest of it is not settled yet."""
    async with open_source(1) as source:
        numbers = [(await source.put("key", b"%d" % turn))[1] for turn in range(3)]
        (shard,) = await source.stream.list_shards()
        records = await read_from(source.stream, shard.shard_id, Checkpoint.at(numbers[1], 0))
        assert [record.sequence_number for record in records] == numbers[1:]


async def test_the_trim_horizon_checkpoint_reads_from_the_oldest_record(open_source):
    """A lease without progress starts like a fresh one."""
    async with open_source(1) as source:
        _, number = await source.put("key", b"x")
        (shard,) = await source.stream.list_shards()
        records = await read_from(source.stream, shard.shard_id, Checkpoint.decode("000"))
        assert [record.sequence_number for record in records] == [number]


async def test_a_timestamp_starts_at_the_first_record_that_did_not_arrive_before_it(open_source):
    """To the millisecond."""
    async with open_source(1) as source:
        for turn in range(10):
            await source.put("key", b"%d" % turn)
        (shard,) = await source.stream.list_shards()
        everything = await read_from(source.stream, shard.shard_id, TrimHorizon())
        start = everything[6].arrival
        records = await read_from(source.stream, shard.shard_id, AtTimestamp(start))
        expected = [record.data for record in everything if record.arrival >= start]
        assert [record.data for record in records] == expected


async def test_an_empty_page_is_not_the_end_and_its_iterator_sees_what_comes_later(open_source):
    """An open shard has always a next iterator."""
    async with open_source(1) as source:
        (shard,) = await source.stream.list_shards()
        empty = await source.stream.get_records(
            await source.stream.iterator(shard.shard_id, TrimHorizon()), 10, shard.shard_id
        )
        assert (empty.records, empty.size, empty.children) == ([], 0, ())
        assert empty.next_iterator is not None
        await source.put("key", b"later")
        page = await source.stream.get_records(empty.next_iterator, 10, shard.shard_id)
        assert [record.data for record in page.records] == [b"later"]
        assert page.size == 5


async def test_a_page_holds_no_more_than_the_limit_and_the_next_one_goes_on_behind_it(open_source):
    """Nothing twice, nothing left out."""
    async with open_source(1) as source:
        for turn in range(7):
            await source.put("key", b"%d" % turn)
        (shard,) = await source.stream.list_shards()
        iterator = await source.stream.iterator(shard.shard_id, TrimHorizon())
        seen = []
        for expected in (3, 3, 1):
            page = await source.stream.get_records(iterator, 3, shard.shard_id)
            assert len(page.records) == expected
            seen += [record.data for record in page.records]
            iterator = page.next_iterator
        assert seen == [b"%d" % turn for turn in range(7)]


async def test_every_shard_of_a_large_stream_is_listed_once(open_source):
    """More than one page of ListShards where the server cuts at 100."""
    async with open_source(130) as source:
        shards = await source.stream.list_shards()
        assert len({shard.shard_id for shard in shards}) == len(shards) == 130
        assert all(shard.parents == () for shard in shards)


async def test_the_description_names_the_stream_its_age_and_the_clock_of_the_service(open_source):
    """The creation time is the identity of the stream; the clock resolves LATEST."""
    async with open_source(1) as source:
        description = await source.stream.describe()
        assert description.name == source.name
        assert description.arn.endswith(f":stream/{source.name}")
        assert description.retention_s == 24 * 3600
        assert description.created.tzinfo is UTC
        assert 0 <= description.now_s - description.created.timestamp() + 1 < 60
        assert (await source.reopen().describe()).created == description.created


async def test_a_shard_that_is_not_there_is_not_found(open_source):
    """A missing shard is an error of its own, not an empty one."""
    async with open_source(1) as source:
        with pytest.raises(NotFound):
            await source.stream.iterator(ShardId("shardId-000000000999"), TrimHorizon())


@pytest.mark.parametrize("open_source", [MINISTACK, KINESIS_LOCAL], indirect=True)
async def test_a_stream_that_is_not_there_is_not_found(open_source):
    """With its name in the message."""
    async with open_source(1) as source:
        assert isinstance(source, ServerSource)
        with pytest.raises(NotFound, match="nowhere"):
            await KinesisStream(source.client, "nowhere").describe()


@pytest.mark.parametrize("open_source", [MINISTACK, KINESIS_LOCAL], indirect=True)
async def test_a_stream_can_be_named_by_its_arn(open_source):
    """Every operation works with it from the first call on."""
    async with open_source(1) as source:
        assert isinstance(source, ServerSource)
        await source.put("key", b"x")
        stream = KinesisStream(source.client, (await source.stream.describe()).arn)
        (shard,) = await stream.list_shards()
        assert len(await read_from(stream, shard.shard_id, TrimHorizon())) == 1
        assert (await stream.describe()).name == source.name


@pytest.mark.parametrize("open_source", WHERE_RESHARDS_WORK, indirect=True)
async def test_a_split_shard_is_read_to_its_end_and_names_its_children(open_source):
    """All its records, then no iterator but two children; later records are the children's, with greater numbers."""
    async with open_source(1) as source:
        (parent,) = await source.stream.list_shards()
        before = [(await source.put(f"k{turn}", b"%d" % turn))[1] for turn in range(10)]
        await source.split(parent.shard_id, 2**127)
        after = [await source.put(f"k{turn}", b"%d" % turn) for turn in range(10)]
        iterator = await source.stream.iterator(parent.shard_id, TrimHorizon())
        pages = await read_on(source.stream, iterator, parent.shard_id)
        assert [record.sequence_number for page in pages for record in page.records] == before
        assert pages[-1].next_iterator is None
        children = sorted(pages[-1].children, key=lambda shard: shard.first_hash_key)
        assert [child.parents for child in children] == [(parent.shard_id,)] * 2
        assert [child.first_hash_key for child in children] == [0, 2**127]
        assert {shard for shard, _ in after} == {child.shard_id for child in children}
        assert min(number for _, number in after) > max(before)
        listed = {shard.shard_id: shard for shard in await source.stream.list_shards()}
        assert [listed[child.shard_id] for child in children] == children


@pytest.mark.parametrize("open_source", WHERE_RESHARDS_WORK, indirect=True)
async def test_merged_shards_both_end_in_the_one_child(open_source):
    """Which knows both as its parents; an iterator at the tip of a closed shard ends too."""
    async with open_source(2) as source:
        low, high = await source.stream.list_shards()
        tips = {}
        for shard in (low, high):
            await source.put("key", b"x", shard.first_hash_key)
            iterator = await source.stream.iterator(shard.shard_id, TrimHorizon())
            tips[shard.shard_id] = (await source.stream.get_records(iterator, 10, shard.shard_id)).next_iterator
        await source.merge(low.shard_id, high.shard_id)
        for shard in (low, high):
            last = (await read_on(source.stream, tips[shard.shard_id], shard.shard_id))[-1]
            assert last.next_iterator is None
            (child,) = last.children
            assert set(child.parents) == {low.shard_id, high.shard_id}
            assert (child.first_hash_key, child.last_hash_key) == (0, 2**128 - 1)
        listed = await source.stream.list_shards()
        assert [shard.parents for shard in listed if shard.parents] == [(low.shard_id, high.shard_id)]


@pytest.mark.parametrize("open_source", WHERE_RESHARDS_WORK, indirect=True)
async def test_a_checkpoint_at_the_last_record_of_a_closed_shard_leads_to_its_end(open_source):
    """Where a worker died between the last record and the end of the shard."""
    async with open_source(1) as source:
        (parent,) = await source.stream.list_shards()
        _, number = await source.put("key", b"x")
        await source.split(parent.shard_id, 2**127)
        iterator = await source.stream.iterator(parent.shard_id, Checkpoint.at(number))
        pages = await read_on(source.stream, iterator, parent.shard_id)
        assert [page.records for page in pages] == [[]] * len(pages)
        assert pages[-1].next_iterator is None
        assert len(pages[-1].children) == 2


@pytest.mark.parametrize("open_source", [MEMORY], indirect=True)
async def test_times_of_records_are_aware(open_source):
    """A handler sees an aware UTC datetime."""
    async with open_source(1) as source:
        await source.put("key", b"x")
        (shard,) = await source.stream.list_shards()
        (record,) = await read_from(source.stream, shard.shard_id, TrimHorizon())
        assert isinstance(record.arrival, datetime)
        assert record.arrival.tzinfo is UTC
