"""A lease is handed over, and an operator acts on it before its receiver has seen that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flow.fleet import Fleet, Member, fleet, put_item
from flow.test_handoff import CALM_S
from flow.test_leases import held
from flow.test_operators import QUICK, desk

from headrace.flow.operate import seek as seeking
from headrace.model import Lease, Record, ShardId, TrimHorizon
from headrace.operations import Put
from headrace.rows import Key

pytestmark = pytest.mark.looptime


def no_rows(what: Any) -> str | None:
    """A fault: single lease rows, as a wish watches them, cannot be read."""
    return "lost" if isinstance(what, Key) and what.pk.startswith("L#") else None


async def slow(record: Record) -> Put:
    await asyncio.sleep(0.2)
    return put_item(record)


async def handed_over_unseen(f: Fleet) -> tuple[Member, Lease]:
    """One of the two leases of `a` was handed over to `b`, which does not know it yet."""
    before = {shard for shard, lease in f.leases().items() if not lease.done}
    b = f.start("b", slow, is_async=True, shard=QUICK)
    b.link.fault = no_rows
    await f.until(lambda: any(f.leases()[shard].wanted_by for shard in before), within_s=CALM_S + 30)
    await f.until(lambda: held(f) == {"a": 1, "b": 1}, within_s=30)
    (lease,) = (x for x in f.leases().values() if x.owner == b.worker.incarnation.me)
    return b, lease


async def moved(f: Fleet, shard: ShardId) -> asyncio.Task[list[seeking.Sought]]:
    """An operator has put a shard back to its beginning, and waits until it is read from there."""
    plan = await seeking.preview(desk(f), [f.leases()[shard]], TrimHorizon())
    before = f.leases()[shard]
    seek = asyncio.create_task(seeking.seek(desk(f), plan, wait_s=10))
    await f.until(lambda: f.leases()[shard] != before)
    return seek


async def test_a_child_whose_parent_is_opened_again_before_its_receiver_saw_it_waits_for_the_parent():
    """The receiver finds its name in a row that nobody may read yet (found by the simulation)."""
    async with fleet(shards=1) as f:
        f.start("a", slow, is_async=True, shard=QUICK)
        f.put(30, keys=6)
        await f.until(f.all_written)
        (parent,) = f.leases()
        f.stream.split(parent)
        f.put(30, keys=6)
        await f.until(lambda: held(f) == {"a": 2} and f.all_written())
        b, child = await handed_over_unseen(f)
        f.calls.clear()
        seek = await moved(f, parent)
        assert f.leases()[child.shard_id].pending == {parent}
        b.link.fault = lambda _: None
        await seek
        await f.until(lambda: f.leases()[parent].done, within_s=30)
        await f.until(f.last_checkpoints_reached)

        again = max(call.at for call in f.calls if call.record.shard_id == parent)
        assert min(call.at for call in f.calls if call.record.shard_id != parent) > again
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())
        assert sorted(int(call.record.data) for call in f.calls) == list(range(60))


async def test_a_lease_that_was_put_elsewhere_before_its_receiver_saw_it_is_adopted():
    """The epoch that the operator put on is nobody's; who waits for the seek is told, within two seconds."""
    async with fleet(shards=2) as f:
        f.start("a", slow, is_async=True, shard=QUICK)
        f.put(40, keys=20)
        await f.until(f.all_written)
        b, lease = await handed_over_unseen(f)
        f.calls.clear()
        seek = await moved(f, lease.shard_id)
        b.link.fault = lambda _: None
        (done,) = await seek

        assert done.lease is not None
        assert (done.lease.owner, done.lease.epoch) == (lease.owner, lease.epoch + 2)
        assert done.took_s < 2
        count = len(f.stream._logs[lease.shard_id].records)
        await f.until(lambda: len(f.calls) == count, within_s=2)
        assert {(call.worker, call.record.shard_id) for call in f.calls} == {("b", lease.shard_id)}
