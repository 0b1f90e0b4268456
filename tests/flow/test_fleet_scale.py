"""Many shards, several workers: how soon they are read, how often they move, what the lease table has to bear."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from flow.fleet import Fleet, fleet
from flow.test_leases import held

from headrace.core.pacing import PaceRules
from headrace.flow.workplace import ShardRules
from headrace.rows import DeleteRow, PutRow, UpdateRow

pytestmark = pytest.mark.looptime

EVERY_HALF_SECOND = ShardRules(pace=PaceRules(0.5), drain_s=5.0)


def reads(f: Fleet) -> dict[str, list[float]]:
    """From now on, when each shard is read."""
    found: dict[str, list[float]] = defaultdict(list)
    get_records = f.stream.get_records

    async def noted(iterator, limit, shard):
        page = await get_records(iterator, limit, shard)
        found[shard].append(f.clock.now())
        return page

    f.stream.get_records = noted
    return found


@pytest.mark.parametrize("workers", [1, 4])
async def test_two_hundred_shards_of_a_new_application_are_read_within_five_seconds(workers):
    """From the first start of the workers; every lease has its row, its owner and its first page."""
    async with fleet(shards=200) as f:
        read, began = reads(f), f.clock.now()
        for n in range(workers):
            f.start(f"w{n}", shard=EVERY_HALF_SECOND)
        await f.until(lambda: len(read) == 200, within_s=10)

        assert f.clock.now() - began < 5
        counts = held(f)
        assert sum(counts.values()) == 200
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("surge", [True, False], ids=["new-one-first", "old-one-first"])
async def test_a_rolling_restart_moves_each_lease_at_most_twice_and_leaves_no_shard_unread(surge):
    """4 workers over 64 shards, replaced one after the other, as a deployment or a stateful set does."""
    async with fleet(shards=64) as f:
        for n in range(4):
            f.start(f"old{n}", shard=EVERY_HALF_SECOND, deployment="v1")
        await f.until(lambda: sum(held(f).values()) == 64)
        await asyncio.sleep(5)
        before = {shard: lease.epoch for shard, lease in f.leases().items()}
        read = reads(f)
        for n in range(4):
            if surge:
                f.start(f"new{n}", shard=EVERY_HALF_SECOND, deployment="v2")
                await asyncio.sleep(5)
            f.put(640, keys=640)
            await f.stop(f"old{n}")
            if not surge:
                await asyncio.sleep(2)
                f.start(f"new{n}", shard=EVERY_HALF_SECOND, deployment="v2")
            await asyncio.sleep(10)
        await f.until(f.all_written)
        moves = Counter(lease.epoch - before[shard] for shard, lease in f.leases().items())
        unread = max(later - earlier for times in read.values() for earlier, later in pairwise(times))

        assert max(moves) <= (1 if surge else 2)
        assert unread < 2
        assert len(f.calls) == f.produced
        assert not surge or max(held(f).values()) <= 18


async def test_leases_cost_writes_by_the_worker_and_not_by_the_shard():
    """1,000 shards, 3 workers, at rest: below 2 writes a second beside checkpoints."""
    async with fleet(shards=1000) as f:
        for n in range(3):
            f.start(f"w{n}", shard=ShardRules(pace=PaceRules(60.0)))
        await f.until(lambda: sum(held(f).values()) == 1000)
        await asyncio.sleep(20)
        writes: Counter[str] = Counter()
        write = f.table._write

        def count(request):
            writes[_kind(request)] += 1
            return write(request)

        f.table._write = count
        await asyncio.sleep(40)

        assert sum(n for kind, n in writes.items() if kind != "checkpoint") / 40 < 2
        assert writes["heartbeat"] == pytest.approx(60, abs=3)


def _kind(request: PutRow | UpdateRow | DeleteRow) -> str:
    assigned = getattr(request, "assign", {})
    if "hb" in assigned:
        return "heartbeat"
    return "checkpoint" if "ck" in assigned and "own" not in assigned else "other"
