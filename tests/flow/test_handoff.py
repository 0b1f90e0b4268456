"""Leases that move between live workers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import pairwise

import pytest
from flow.fleet import TIMING, Fleet, fleet
from flow.test_leases import held, unanswered
from structlog.testing import capture_logs

from headrace.core import lease_rows, leases, membership
from headrace.core.pacing import PaceRules
from headrace.flow.workplace import ShardRules
from headrace.model import ShardId, WorkerId
from headrace.rows import UpdateRow

pytestmark = pytest.mark.looptime

QUICK = ShardRules(pace=PaceRules(0.2))
CALM_S = 3 * TIMING.duration_s


async def produce(f: Fleet, until) -> None:
    """Until then, and for a second more."""
    more = 10
    while more:
        more -= bool(until())
        f.put(64, keys=64)
        await asyncio.sleep(0.1)


def gaps(f: Fleet) -> list[float]:
    """For every shard that changed hands, the time between the last call of one worker and the first of the next."""
    found = []
    by_shard = defaultdict(list)
    for call in f.calls:
        by_shard[call.record.shard_id].append(call)
    for calls in by_shard.values():
        found += [b.at - a.at for a, b in pairwise(calls) if a.worker != b.worker]
    return found


async def test_a_worker_that_joins_is_handed_its_share_and_nothing_is_repeated_or_out_of_order():
    """One lease at a time, each with its final checkpoint; no shard pauses for as long as a second."""
    async with fleet(shards=8) as f:
        f.start("a", shard=QUICK)
        await f.until(lambda: held(f) == {"a": 8})
        producing = asyncio.create_task(produce(f, lambda: held(f).get("b", 0) >= 3))
        await asyncio.sleep(5)
        f.start("b", shard=QUICK)
        joined = f.clock.now()
        await f.until(producing.done, within_s=120)
        await f.until(f.all_written)

        assert f.clock.now() - joined < CALM_S + 25
        assert len(f.calls) == f.produced
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())
        assert len(gaps(f)) >= 3
        assert max(gaps(f)) < 1.0
        assert max(lease.epoch for lease in f.leases().values()) == 2


async def test_nothing_moves_while_the_fleet_is_not_calm():
    """Workers that come and go move leases enough."""
    async with fleet(shards=8) as f:
        f.start("a", shard=QUICK)
        await f.until(lambda: held(f) == {"a": 8})
        f.start("b", shard=QUICK)
        await asyncio.sleep(CALM_S - 5)
        f.start("c", shard=QUICK)
        await asyncio.sleep(CALM_S - 5)

        assert held(f) == {"a": 8}


async def test_a_balanced_fleet_stays_as_it_is():
    """However long it runs."""
    async with fleet(shards=7) as f:
        for name in ("a", "b", "c"):
            f.start(name, shard=QUICK)
        await f.until(lambda: sum(held(f).values()) == 7)
        before = f.leases()
        for _ in range(120):
            f.put(1000, keys=1000)
            await asyncio.sleep(1)

        assert {s: x.epoch for s, x in f.leases().items()} == {s: x.epoch for s, x in before.items()}


async def test_a_handoff_without_an_answer_never_resumes_under_the_same_epoch():
    """The write had applied: the receiver reads on, and the owner is out of it."""
    async with fleet(shards=2) as f:
        a = f.start("a", shard=QUICK)
        await f.until(lambda: held(f) == {"a": 2})
        a.link.fault = unanswered(5, UpdateRow, "own")
        producing = asyncio.create_task(produce(f, lambda: held(f) == {"a": 1, "b": 1}))
        f.start("b", shard=QUICK)
        await f.until(producing.done, within_s=120)
        await f.until(f.all_written)

        assert len(f.calls) == f.produced
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())


async def test_a_wish_whose_worker_died_is_cleared_and_the_owner_reads_on():
    """The request stands in the row; nobody moves behind it."""
    async with fleet(shards=1) as f:
        f.start("a", shard=QUICK)
        await f.until(lambda: held(f) == {"a": 1})
        (lease,) = f.leases().values()
        ghost = WorkerId("ghost-1")
        await f.table.apply(leases.ask("stream", lease, ghost))
        await f.table.apply(leases.knock(lease, ghost))
        f.put(10)
        await f.until(f.all_written, within_s=10)
        await asyncio.sleep(5)

        (after,) = f.leases().values()
        assert (after.owner, after.epoch, after.wanted_by) == (lease.owner, lease.epoch, None)
        row = f.table.rows[membership.worker_key(lease.owner)]
        assert lease_rows.asked_for(row) == frozenset()


async def test_a_wish_that_is_not_answered_is_withdrawn():
    """The owner cannot be reached by its heartbeat; the receiver does not wait for ever."""
    async with fleet(shards=2) as f:
        a = f.start("a", shard=QUICK)
        await f.until(lambda: held(f) == {"a": 2})
        a.worker.incarnation._handoffs.asked = lambda _: None
        a.worker.incarnation._heart._asked = lambda _: None
        f.start("b", shard=QUICK)
        with capture_logs() as logs:
            await f.until(lambda: any(x.wanted_by for x in f.leases().values()), within_s=60)
            asked = f.clock.now()
            await f.until(lambda: "wish_withdrawn" in {line["event"] for line in logs}, within_s=40)

        assert f.clock.now() - asked == pytest.approx(30, abs=1)
        assert held(f) == {"a": 2}


async def test_a_worker_that_stops_while_it_waits_for_a_lease_stops_at_once():
    """And whatever is passed on to it all the same is taken by others."""
    async with fleet(shards=2) as f:
        f.start("a", shard=QUICK)
        await f.until(lambda: held(f) == {"a": 2})
        b = f.start("b", shard=QUICK)
        await f.until(lambda: b.worker.incarnation and b.worker.incarnation._holdings.wished, within_s=60)
        asked = f.clock.now()
        await f.stop("b")
        assert f.clock.now() - asked < 1
        f.put(20)
        await f.until(f.all_written, within_s=30)

        assert held(f) == {"a": 2}


async def test_no_more_leases_are_taken_than_allowed():
    """A small machine among large ones."""
    async with fleet(shards=6) as f:
        f.start("small", maximum_leases=1)
        await asyncio.sleep(10)
        assert held(f) == {"small": 1}
        f.start("large")
        await f.until(lambda: sum(held(f).values()) == 6, within_s=20)
        await asyncio.sleep(60)

        assert held(f) == {"small": 1, "large": 5}


async def test_a_graceful_stop_while_handing_over_loses_nothing():
    """SIGTERM in the middle of a handoff."""
    async with fleet(shards=4) as f:
        f.start("a", shard=QUICK)
        await f.until(lambda: held(f) == {"a": 4})
        f.start("b", shard=QUICK)
        await f.until(lambda: any(x.wanted_by for x in f.leases().values()), within_s=60)
        f.put(100)
        await f.stop("a")
        await f.until(f.all_written, within_s=20)

        assert held(f) == {"b": 4}
        assert len(f.calls) == 100
        assert ShardId("shardId-000000000000") in f.leases()


async def test_a_wish_for_a_lease_whose_owner_dies_opens_the_shard_once():
    """The coordinator takes it from the dead while the wish still watches the row (found by the simulation)."""
    async with fleet(shards=2) as f:
        a = f.start("a", shard=QUICK)
        await f.until(lambda: held(f) == {"a": 2})
        a.worker.incarnation._heart._asked = lambda _: None
        b = f.start("b", shard=QUICK)
        await f.until(lambda: any(x.wanted_by for x in f.leases().values()), within_s=60)
        await f.kill("a")
        f.put(50)
        await f.until(f.all_written, within_s=30)
        await asyncio.sleep(5)

        assert len(f.calls) == 50
        opened = [shard for (shard,) in b.observer.named("shard_opened")]
        assert sorted(opened) == ["shardId-000000000000", "shardId-000000000001"]
