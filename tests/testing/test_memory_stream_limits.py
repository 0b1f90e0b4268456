"""The limits and lifetimes of the in-memory stream, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from headrace.errors import IteratorExpired, NotFound, Rejected, Throttled, Unavailable
from headrace.model import SHARD_END, AtTimestamp, Checkpoint, Page, ShardId, TrimHorizon
from headrace.testing.clock import LoopClock
from headrace.testing.stream import MemoryStream

pytestmark = pytest.mark.looptime

FIRST = ShardId("shardId-000000000000")
SECOND = ShardId("shardId-000000000001")
MIB = 1024 * 1024


async def start(stream: MemoryStream, shard: ShardId = FIRST) -> str:
    return await stream.iterator(shard, TrimHorizon())


async def read(stream: MemoryStream, shard: ShardId = FIRST, limit: int = 10_000) -> Page:
    return await stream.get_records(await start(stream, shard), limit, shard)


async def test_the_sixth_call_within_a_second_is_throttled_and_a_second_later_it_is_not():
    """Five GetRecords calls a second and shard, whoever makes them."""
    stream = MemoryStream(LoopClock())
    for _ in range(5):
        await read(stream)
    with pytest.raises(Throttled):
        await read(stream)
    await asyncio.sleep(1)
    await read(stream)


async def test_a_call_every_fifth_of_a_second_is_never_throttled():
    """The limit allows what it promises, also after many sums of 0.2."""
    stream = MemoryStream(LoopClock())
    for _ in range(200):
        await read(stream)
        await asyncio.sleep(0.2)


async def test_shards_do_not_share_their_limits():
    """The fifth call of one shard does not count against another."""
    stream = MemoryStream(LoopClock(), shards=2)
    for _ in range(5):
        await read(stream)
    await read(stream, SECOND)


async def test_after_two_mebibytes_the_shard_rests_for_a_second():
    """The payload of the last second counts, not the number of calls."""
    stream = MemoryStream(LoopClock())
    for _ in range(2):
        stream.put("k", bytes(MIB))
    assert (await read(stream)).size == 2 * MIB
    with pytest.raises(Throttled):
        await read(stream)
    await asyncio.sleep(1)
    await read(stream)


async def test_after_a_full_page_the_shard_rests_for_five_seconds():
    """An answer of 10 MiB uses up five seconds of 2 MiB/s."""
    stream = MemoryStream(LoopClock())
    for _ in range(12):
        stream.put("k", bytes(MIB))
    assert (await read(stream)).size == 10 * MIB
    await asyncio.sleep(4.9)
    with pytest.raises(Throttled):
        await read(stream)
    await asyncio.sleep(0.1)
    await read(stream)


async def test_a_page_ends_before_ten_mebibytes_and_the_next_one_goes_on():
    """The record that does not fit opens the next page."""
    stream = MemoryStream(LoopClock(), enforce_limits=False)
    numbers = [stream.put("k", bytes(4 * MIB)).sequence_number for _ in range(3)]
    page = await read(stream)
    assert [record.sequence_number for record in page.records] == numbers[:2]
    assert page.next_iterator is not None
    following = await stream.get_records(page.next_iterator, 10_000, FIRST)
    assert [record.sequence_number for record in following.records] == numbers[2:]


async def test_a_page_has_at_most_the_records_asked_for_and_never_asks_for_more_than_ten_thousand():
    """Limit is 1 to 10,000."""
    stream = MemoryStream(LoopClock(), enforce_limits=False)
    for number in range(10_001):
        stream.put("k", b"%d" % number)
    assert len((await read(stream, limit=3)).records) == 3
    assert len((await read(stream)).records) == 10_000
    for limit in (0, 10_001):
        with pytest.raises(Rejected):
            await read(stream, limit=limit)


async def test_without_enforced_limits_nothing_is_throttled():
    """The switch for tests that are about something else."""
    stream = MemoryStream(LoopClock(), enforce_limits=False)
    for _ in range(20):
        await read(stream)


async def test_an_iterator_older_than_five_minutes_is_refused():
    """Five minutes are still good, a moment more is not."""
    stream = MemoryStream(LoopClock())
    iterator = await start(stream)
    await asyncio.sleep(300)
    await stream.get_records(iterator, 1, FIRST)
    await asyncio.sleep(0.001)
    with pytest.raises(IteratorExpired):
        await stream.get_records(iterator, 1, FIRST)


async def test_an_iterator_of_another_shard_or_of_nothing_is_refused():
    """A reader that mixes up its shards must not read on quietly."""
    stream = MemoryStream(LoopClock(), shards=2)
    for iterator in (await start(stream, SECOND), "garbage"):
        with pytest.raises(Rejected):
            await stream.get_records(iterator, 1, FIRST)


async def test_a_position_of_another_shard_or_behind_the_end_is_refused():
    """Numbers of two shards are not comparable; nothing can be read behind SHARD_END."""
    stream = MemoryStream(LoopClock(), shards=2)
    foreign = stream.put("k", b"x", explicit_hash_key=2**128 - 1)
    with pytest.raises(Rejected):
        await stream.iterator(FIRST, Checkpoint.at(foreign.sequence_number))
    with pytest.raises(ValueError, match="end of a shard"):
        await stream.iterator(FIRST, SHARD_END)


async def test_a_timestamp_in_the_future_is_refused():
    """As the service does."""
    clock = LoopClock()
    with pytest.raises(Rejected):
        await MemoryStream(clock).iterator(FIRST, AtTimestamp(clock.wall() + timedelta(seconds=1)))


async def test_records_older_than_the_retention_are_gone_and_reading_goes_on_at_the_trim_horizon():
    """A checkpoint that was trimmed away skips silently, so lag must be watched."""
    stream = MemoryStream(LoopClock(), retention_s=60)
    old = stream.put("k", b"old")
    await asyncio.sleep(50)
    young = stream.put("k", b"young")
    await asyncio.sleep(20)
    iterator = await stream.iterator(FIRST, Checkpoint.at(old.sequence_number - (1 << 80)))
    page = await stream.get_records(iterator, 10, FIRST)
    assert [record.sequence_number for record in page.records] == [young.sequence_number]


async def test_a_closed_shard_is_listed_until_its_last_record_has_expired():
    """Then it is gone from the list and from every other call."""
    stream = MemoryStream(LoopClock(), retention_s=60)
    stream.split(FIRST)
    await asyncio.sleep(60)
    assert len(await stream.list_shards()) == 3
    await asyncio.sleep(1)
    assert FIRST not in {shard.shard_id for shard in await stream.list_shards()}
    with pytest.raises(NotFound):
        await start(stream)


async def test_behind_is_the_age_of_the_next_unread_record():
    """0 at the tip, whatever the age of the last record."""
    stream = MemoryStream(LoopClock())
    for _ in range(3):
        stream.put("k", b"x")
        await asyncio.sleep(10)
    assert (await read(stream, limit=1)).behind_s == pytest.approx(20)
    assert (await read(stream)).behind_s == 0


async def test_children_count_above_their_parents_even_within_one_second():
    """The creation second leads the number, and a child's is later by at least one."""
    stream = MemoryStream(LoopClock())
    parent = stream.put("k", b"x").sequence_number
    stream.split(FIRST)
    child = stream.put("k", b"x").sequence_number
    stream.merge(SECOND, ShardId("shardId-000000000002"))
    grandchild = stream.put("k", b"x").sequence_number
    assert parent < child < grandchild


async def test_reshards_that_the_service_refuses_are_refused():
    """A closed shard, shards that are not neighbours, a split point outside."""
    stream = MemoryStream(LoopClock(), shards=3)
    with pytest.raises(Rejected):
        stream.merge(FIRST, ShardId("shardId-000000000002"))
    with pytest.raises(Rejected):
        stream.split(FIRST, at=0)
    stream.split(FIRST)
    with pytest.raises(Rejected):
        stream.split(FIRST)


async def test_scripted_failures_come_in_order_and_then_the_call_works():
    """Also for several of one operation; other operations are not touched."""
    stream = MemoryStream(LoopClock())
    stream.fail_next("describe", Unavailable("a"))
    stream.fail_next("describe", Throttled("b"), times=2)
    assert len(await stream.list_shards()) == 1
    for error in (Unavailable, Throttled, Throttled):
        with pytest.raises(error):
            await stream.describe()
    assert (await stream.describe()).name == stream.name


async def test_latency_is_taken_from_the_script():
    """A call of the slow operation takes its time, the others none."""
    clock = LoopClock()
    stream = MemoryStream(clock)
    stream.latency = lambda operation: 2.0 if operation == "describe" else 0.0
    began = clock.now()
    await stream.describe()
    await stream.list_shards()
    assert clock.now() - began == pytest.approx(2)


async def test_what_a_reader_does_to_a_record_stays_with_that_reader():
    """Two readers of one shard do not see each other's attempts."""
    stream = MemoryStream(LoopClock())
    stream.put("k", b"x")
    (await read(stream)).records[0].attempt = 7
    assert (await read(stream)).records[0].attempt == 1
