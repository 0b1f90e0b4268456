"""Where a shard stands after a seek, inside of aggregates and among generations: a replay is whole, and newer stays newer."""

from __future__ import annotations

from collections import Counter

import pytest
from flow.fleet import FAST_RETRY, fleet, put_item
from flow.test_aggregates import put_aggregates
from flow.test_aggregates import put_item as put_user_record
from flow.test_operators import QUICK, desk, running, sought

from headrace.core.pacing import PaceRules
from headrace.core.record_order import order_of
from headrace.core.story import Verdict
from headrace.flow.operate import shards
from headrace.flow.operate.explain import explain_record
from headrace.flow.workplace import ShardRules
from headrace.model import AtSequence, Checkpoint, TrimHorizon

pytestmark = pytest.mark.looptime

SMALL = ShardRules(pace=PaceRules(0.4), retry=FAST_RETRY, checkpoint_interval_s=0.2)


async def test_an_aggregate_that_is_sought_is_read_with_all_of_its_records():
    """The checkpoint stood at its last record, whose number is that of all the others."""
    async with fleet() as f:
        put_aggregates(f, 100)
        f.start(handle=put_user_record, shard=SMALL)
        await f.until(f.all_written)
        await f.until(lambda: all(x.checkpoint.sub_sequence_number == 19 for x in f.leases().values()))
        (shard,) = f.leases()
        last = f.newest[shard]
        f.calls.clear()
        await sought(f, shard, AtSequence(last))
        await f.until(lambda: len(f.calls) >= 20)
        await f.until(lambda: f.leases()[shard].checkpoint == Checkpoint.at(last, 19))

        assert Counter(int(call.record.data) for call in f.calls) == Counter(range(80, 100))


async def test_one_record_of_an_aggregate_is_skipped_and_the_others_are_written():
    """NUMBER.SUB names one, the number alone all of them."""
    async with fleet() as f:
        f.start(handle=put_user_record, shard=SMALL)
        await f.until(lambda: any(lease.owner for lease in f.leases().values()))
        (shard,) = f.leases()
        await shards.pause(desk(f), shard)
        await f.until(lambda: f.leases()[shard].owner is None)
        put_aggregates(f, 40)
        first, second = (record.sequence_number for record in f.stream._logs[shard].records)
        await shards.skip(desk(f), shard, Checkpoint.at(first, 3))
        await shards.skip(desk(f), shard, Checkpoint.at(second))
        await shards.resume(desk(f), shard)
        await f.until(f.all_written)

        assert sorted(f.written) == sorted(set(range(20)) - {3})
        assert sorted(int(letter.record.data) for letter in f.letters.letters) == [3, *range(20, 40)]


async def test_a_record_of_an_aggregate_is_explained_by_its_place():
    """Asked about as a whole, the story says how many there are."""
    from flow.test_explain import witnesses  # noqa: PLC0415 - a test file of its own

    async with fleet() as f:
        put_aggregates(f, 20)
        f.start(handle=put_user_record, shard=SMALL)
        await f.until(f.all_written)
        await f.until(lambda: all(x.checkpoint.sub_sequence_number == 19 for x in f.leases().values()))
        (shard,) = f.leases()
        whole = await explain_record(desk(f), witnesses(f), Checkpoint.at(f.newest[shard]), None)
        one = await explain_record(desk(f), witnesses(f), Checkpoint.at(f.newest[shard], 7), None)

        assert (whole.records, whole.verdict) == (20, Verdict.WRITTEN)
        assert (one.records, one.partition_key, one.verdict) == (1, "k2", Verdict.WRITTEN)


async def test_a_replay_keeps_the_place_of_every_record_among_those_of_its_key():
    """Mode latest compares by generation and number: neither is touched, so an old record never looks newer."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=20)
        (parent,) = f.leases()
        f.stream.split(parent)
        f.put(20)
        await f.until(lambda: f.leases()[parent].done and f.all_written())
        await f.until(f.last_checkpoints_reached)
        child = next(shard for shard, lease in f.leases().items() if not lease.done)
        before = f.leases()[child]
        newest = f.stream._logs[child].records[-1]
        old = f.stream._logs[parent].records[-1]
        await sought(f, child, TrimHorizon())
        await f.until(f.last_checkpoints_reached)
        after = f.leases()[child]

        assert after.generation == before.generation == 1
        assert order_of(after.generation, newest) == order_of(before.generation, newest)
        assert order_of(0, old) < order_of(after.generation, f.stream._logs[child].records[0])


async def test_a_place_that_was_sought_survives_a_handoff_before_anything_was_settled():
    """The row says where to begin for as long as its checkpoint claims nothing."""
    async with fleet(shards=1) as f:
        f.start("a", put_item, shard=QUICK)
        f.put(10)
        await f.until(f.last_checkpoints_reached)
        (shard,) = f.leases()
        number = f.stream._logs[shard].records[4].sequence_number
        await shards.pause(desk(f), shard)
        await f.until(lambda: f.leases()[shard].owner is None)
        await sought(f, shard, AtSequence(number))
        await f.stop("a")
        f.calls.clear()
        f.start("b", put_item, shard=QUICK)
        await shards.resume(desk(f), shard)
        await f.until(f.last_checkpoints_reached, within_s=20)

        assert [int(call.record.data) for call in f.calls] == list(range(4, 10))
