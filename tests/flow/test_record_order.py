"""The place of its record that every write carries to the sink, on which mode `latest` relies."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from flow.fleet import FAST_RETRY, fleet, put_item

from headrace.core.batching import BatchRules
from headrace.core.record_order import order_of
from headrace.flow.workplace import LaneRules, ShardRules
from headrace.model import ShardId
from headrace.ports import BatchHandler
from headrace.testing.sink import MemorySink

pytestmark = pytest.mark.looptime


class OrderedSink(MemorySink):
    """Remembers the order that each write came with."""

    def __init__(self):
        super().__init__()
        self.orders: dict[str, list[str]] = defaultdict(list)
        """By the writes' partition key."""
        self.by_number: dict[int, str] = {}

    def submit(self, writes, permit, order):
        for index, effect in writes:
            self.orders[effect.item["key"]].append(order(index))
            self.by_number[effect.item["n"]] = order(index)
        return super().submit(writes, permit, order)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_write_carries_the_order_of_its_own_record_also_when_it_is_tried_again(is_async):
    """With the generation of the shard, which a reshard makes greater."""
    failed, records = set(), {}

    def handle(record):
        records[int(record.data)] = record
        if int(record.data) % 7 == 0 and record.data not in failed:
            failed.add(record.data)
            raise ValueError
        return put_item(record)

    async def later(record):
        await asyncio.sleep(0.01)
        return handle(record)

    async with fleet() as f:
        f.sink = OrderedSink()
        f.put(50)
        f.stream.split(ShardId("shardId-000000000000"))
        f.put(50)
        f.start(handle=later if is_async else handle, is_async=is_async, shard=ShardRules(retry=FAST_RETRY))
        await f.until(f.all_written)

        for number, record in records.items():
            generation = 0 if record.shard_id == "shardId-000000000000" else 1
            assert f.sink.by_number[number] == order_of(generation, record)
        assert {order[:7] for order in f.sink.by_number.values()} == {"000000:", "000001:"}


async def test_the_batches_of_a_key_carry_growing_orders_however_far_other_lanes_are_ahead():
    """One lane is slow: the next write of its keys must not look like the one before."""

    async def handle(records, _context):
        await asyncio.sleep(1.0 if records[0].partition_key in {"k0", "k1", "k2"} else 0.01)
        return [put_item(record) for record in records]

    async with fleet() as f:
        f.sink = OrderedSink()
        f.put(400, keys=12)
        shard = ShardRules(batch=BatchRules(10), retry=FAST_RETRY, lanes=LaneRules(count=6))
        f.start(handle_batch=BatchHandler("test", handle), shard=shard)
        await f.until(f.all_written)

        for key, orders in f.sink.orders.items():
            batches = list(dict.fromkeys(orders))
            assert batches == sorted(batches), key
            numbers = [int(n) for n in f.sink.by_number if f"k{n % 12}" == key]
            assert len(batches) > 1
            assert max(orders.count(order) for order in batches) <= 10, f"{key}: two batches look the same"
            assert len(numbers) == len(orders)


async def test_the_last_call_of_a_window_carries_the_order_of_the_last_record_before_it():
    """It has no records of its own, and writes one item again and again."""
    seen = []

    async def handle(records, context):
        seen.extend(record for record in records)
        if not context.window.is_final:
            return {"state": {"n": len(seen)}}
        await asyncio.sleep(0)
        return [put_item(seen[-1])]

    async with fleet() as f:
        f.look_s = 0.5
        f.sink = OrderedSink()
        shard = ShardRules(batch=BatchRules(10), retry=FAST_RETRY, lanes=LaneRules(tumbling_s=60))
        f.start(handle_batch=BatchHandler("test", handle), shard=shard)
        for _ in range(4):
            f.put(5, keys=1)
            await asyncio.sleep(70)
        await f.until(lambda: len(f.sink.by_number) >= 3, within_s=600)

        for number, order in f.sink.by_number.items():
            assert order == order_of(0, next(record for record in seen if int(record.data) == number))
