"""A stream of the Kinesis Producer Library: user records with keys and positions of their own."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from flow.fleet import FAST_RETRY, fleet

from headrace.core.batching import BatchRules
from headrace.core.filters import compile_filters
from headrace.flow.workplace import LaneRules, ShardRules
from headrace.model import Record
from headrace.operations import Put
from headrace.ports import BatchHandler

pytestmark = pytest.mark.looptime

SMALL = ShardRules(batch=BatchRules(7), retry=FAST_RETRY, checkpoint_interval_s=0.1)


def put_aggregates(f, records: int, each: int = 20, keys: int = 5) -> None:
    """Records that hold their number, so many in one; every container has the same key."""
    for start in range(0, records, each):
        made = RecordAggregator()
        for n in range(start, min(start + each, records)):
            made.add_user_record(f"k{n % keys}", str(n).encode(), None)
        placed = f.stream.put("a", made.clear_and_get().get_contents()[2])
        f.newest[placed.shard_id] = placed.sequence_number
    f.produced += records


def put_item(record: Record) -> Put:
    return Put({"pk": f"{record.sequence_number}.{record.sub_sequence_number}", "n": int(record.data)})


def in_order(f) -> bool:
    orders: dict[int, list[int]] = defaultdict(list)
    for n in f.written:
        orders[n % 5].append(n)
    return all(order == sorted(order) for order in orders.values())


async def test_every_user_record_is_handled_once_under_its_own_key():
    """And the checkpoint stands at the last of them."""
    async with fleet() as f:
        put_aggregates(f, 400)
        f.start(handle=put_item, shard=SMALL)
        await f.until(f.all_written)
        await f.until(lambda: all(lease.checkpoint.sub_sequence_number == 19 for lease in f.leases().values()))

        assert Counter(f.written) == Counter(range(400))
        assert in_order(f)
        assert {call.record.partition_key for call in f.calls} == {f"k{n}" for n in range(5)}


async def test_a_poison_user_record_holds_back_its_own_key_alone():
    """Not its container, and not the container's key."""

    def handle(record: Record) -> Put:
        if record.data == b"3":
            raise ValueError("bad")
        return put_item(record)

    async with fleet() as f:
        put_aggregates(f, 100)
        f.start(handle=handle, shard=SMALL)
        await f.until(f.all_written)

        (letter,) = f.letters.letters
        assert (letter.record.data, letter.record.sub_sequence_number, letter.record.partition_key) == (b"3", 3, "k3")
        assert Counter(f.written) == Counter(set(range(100)) - {3})


async def test_a_takeover_in_the_middle_of_an_aggregate_goes_on_in_the_middle():
    """What is behind the checkpoint comes again, what is before it does not."""
    async with fleet() as f:
        put_aggregates(f, 300, each=100)
        f.sink._latency_s = lambda: 0.3
        f.start("a", handle=put_item, shard=SMALL)
        await f.until(lambda: any(lease.checkpoint.sub_sequence_number > 0 for lease in f.leases().values()))
        await f.kill("a")
        (lease,) = f.leases().values()
        settled = lease.checkpoint.sub_sequence_number
        assert 0 < settled < 99
        before = len(f.calls)
        f.start("b", handle=put_item, shard=SMALL)
        await f.until(f.all_written)

        first = f.calls[before].record
        assert (first.sequence_number, first.sub_sequence_number) == (lease.checkpoint.sequence_number, settled + 1)
        assert set(f.written) == set(range(300))


@pytest.mark.parametrize("count", [1, 4])
async def test_lanes_and_bisect_work_on_user_records(count):
    """Lanes go by the user's keys; one of a container's records is buried alone."""

    async def call(records, _):
        if any(record.data == b"42" for record in records):
            raise ValueError("bad")
        return [put_item(record) for record in records]

    async with fleet() as f:
        put_aggregates(f, 200)
        rules = ShardRules(batch=BatchRules(50), retry=FAST_RETRY, lanes=LaneRules(count=count))
        f.start(handle_batch=BatchHandler("test", call), shard=rules)
        await f.until(f.all_written)
        await f.until(lambda: all(lease.checkpoint.sub_sequence_number == 19 for lease in f.leases().values()))

        assert [letter.record.data for letter in f.letters.letters] == [b"42"]
        assert set(f.written) == set(range(200)) - {42}
        assert in_order(f)


async def test_filters_look_at_the_user_s_records():
    """The event source mapping would look at the container."""
    filters = compile_filters(('{"partitionKey": ["k1"]}',), "drop")
    async with fleet() as f:
        put_aggregates(f, 100)
        f.start(handle=put_item, shard=ShardRules(retry=FAST_RETRY, filters=filters))
        await f.until(lambda: len(f.written) == 20)

        assert f.written == list(range(1, 100, 5))


async def test_a_handler_that_wants_them_as_they_are_gets_containers():
    """As a Lambda handler does."""
    seen = []
    async with fleet() as f:
        put_aggregates(f, 40)
        f.start(handle=seen.append, shard=ShardRules(expands_aggregates=False))
        await f.until(f.last_checkpoints_reached)

        assert [(record.partition_key, record.sub_sequence_number) for record in seen] == [("a", -1)] * 2


async def test_user_records_of_another_shard_are_left_out_and_told():
    """After a split: their producer sends them again to where they belong."""
    async with fleet() as f:
        made = RecordAggregator()
        made.add_user_record("k0", b"0", None)
        made.add_user_record("k1", b"1", str(2**128 - 1))
        (shard,) = await f.stream.list_shards()
        left, _ = f.stream.split(shard.shard_id)
        f.stream.put("a", made.clear_and_get().get_contents()[2], explicit_hash_key=left.first_hash_key)
        member = f.start(handle=put_item, shard=SMALL)
        await f.until(lambda: member.observer.named("records_foreign"))

        ((told, count),) = member.observer.named("records_foreign")
        assert told == left.shard_id
        assert count >= 1
        assert 1 not in f.written
