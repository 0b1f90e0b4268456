"""A shard that is read by subscription, and by polling where that is refused."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from flow.fleet import fleet

from headrace.errors import Denied, SubscriptionTaken, Unavailable
from headrace.testing.fan_out import MemoryFanOut

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def subscribing(shards: int = 1):
    async with fleet(shards=shards) as f:
        f.fan_out = MemoryFanOut(f.stream, f.clock)
        f.polls = lambda: f.polled[0]
        f.polled = [0]
        poll = f.stream.get_records

        async def counted(*args):
            f.polled[0] += 1
            return await poll(*args)

        f.stream.get_records = counted
        yield f


async def test_a_new_record_reaches_the_handler_at_once_and_nothing_is_polled():
    """The latency that fan-out is for."""
    async with subscribing() as f:
        f.start()
        await f.until(lambda: f.fan_out.open)
        for _ in range(20):
            await asyncio.sleep(0.37)
            f.put(1)
            put_at = f.clock.now()
            await f.until(lambda: len(f.calls) == f.produced)
            assert f.calls[-1].at - put_at <= 0.12
        assert f.polls() == 0


async def test_a_subscription_is_renewed_before_its_five_minutes_are_over_without_gap_or_repeat():
    """The new one is the next thing that happens: nothing is polled in between."""
    async with subscribing() as f:
        f.start()
        for _ in range(700):
            await asyncio.sleep(1)
            f.put(1)
        await f.until(f.all_written)
        assert f.written == list(range(700))
        instants = [at for _, at in f.fan_out.subscribed]
        assert [later - earlier for earlier, later in pairwise(instants)] == pytest.approx([291, 291], abs=1.2)
        assert f.polls() == 0


async def test_a_subscription_that_the_service_ends_early_is_begun_again_at_once():
    """Nobody is asked to wait because a server was replaced."""
    async with subscribing() as f:
        f.fan_out = MemoryFanOut(f.stream, f.clock, life_s=60)
        f.start()
        for _ in range(150):
            await asyncio.sleep(1)
            f.put(1)
        await f.until(f.all_written)
        assert f.written == list(range(150))
        instants = [at for _, at in f.fan_out.subscribed]
        assert [later - earlier for earlier, later in pairwise(instants)] == pytest.approx([60, 60], abs=0.5)
        assert f.polls() == 0


async def test_subscriptions_that_are_ended_at_once_leave_the_shard_to_polling():
    """A server that cannot keep any: records come meanwhile, and it is not asked more often than it allows."""
    async with subscribing() as f:
        f.fan_out = MemoryFanOut(f.stream, f.clock, life_s=0)
        f.start()
        for _ in range(60):
            await asyncio.sleep(1)
            f.put(1)
        await f.until(f.all_written)
        assert f.written == list(range(60))
        instants = [at for _, at in f.fan_out.subscribed]
        assert 2 < len(instants) < 12
        assert min(later - earlier for earlier, later in pairwise(instants)) >= 5
        assert f.polls() > 60


async def test_a_shard_that_is_passed_on_right_after_it_was_subscribed_to_is_polled_by_its_heir():
    """The old subscription is younger than 5 s: records go on coming, and the heir subscribes after that."""
    async with subscribing() as f:
        f.start("a")
        f.start("b")
        await f.until(lambda: f.fan_out.open)
        (lease,) = f.leases().values()
        await f.stop(str(lease.owner).partition("-")[0])
        f.put(10)
        await f.until(f.all_written, within_s=1)
        assert f.polls() > 0
        await f.until(lambda: f.fan_out.open, within_s=10)
        (first, second) = (at for _, at in f.fan_out.subscribed)
        assert second - first >= 5
        polls = f.polls()
        f.put(10)
        await f.until(f.all_written, within_s=1)
        assert f.polls() == polls


async def test_while_another_subscription_is_too_young_to_take_over_the_shard_is_polled():
    """A takeover waits for nobody."""
    async with subscribing() as f:
        f.fan_out.fail_next(SubscriptionTaken("in use"), times=3)
        f.put(10)
        worker = f.start()
        began = f.clock.now()
        await f.until(f.all_written)
        assert f.clock.now() - began < 2
        await f.until(lambda: f.fan_out.open)
        f.put(10)
        await f.until(f.all_written)
        assert f.written == list(range(20))
        assert worker.observer.named("fetch_failed") == []


async def test_until_the_consumer_is_registered_the_shard_is_polled():
    """And read by subscription from then on, in the same life of the shard."""
    async with subscribing() as f:
        f.fan_out.is_open = False
        worker = f.start()
        f.put(10)
        await f.until(f.all_written)
        assert f.fan_out.subscribed == []
        f.fan_out.is_open = True
        await f.until(lambda: f.fan_out.open, within_s=2)
        polls = f.polls()
        f.put(10)
        await f.until(f.all_written)
        assert f.written == list(range(20))
        assert f.polls() == polls
        assert worker.observer.named("fetch_failed") == []


async def test_a_subscription_that_fell_silent_is_replaced():
    """No event for longer than the service ever leaves between two."""
    async with subscribing() as f:
        f.start()
        await f.until(lambda: f.fan_out.open)
        await asyncio.sleep(60)
        f.fan_out.silent = True
        f.put(1)
        await f.until(f.all_written, within_s=12)
        f.fan_out.silent = False
        await asyncio.sleep(60)
        f.put(1)
        await f.until(f.all_written, within_s=1)
        assert f.written == [0, 1]


async def test_the_end_of_a_shard_comes_with_its_children():
    """They are read by subscriptions of their own, after it."""
    async with subscribing() as f:
        f.start()
        f.put(20)
        await f.until(f.all_written)
        f.stream.split("shardId-000000000000")
        f.put(20)
        await f.until(f.all_written)
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())
        assert sorted(f.written) == list(range(40))
        assert len({shard for shard, _ in f.fan_out.subscribed}) == 3
        assert f.polls() == 0


async def test_while_there_is_no_room_no_subscription_is_kept_and_no_record_is_lost():
    """A sink that is down for ten minutes."""
    async with subscribing() as f:
        f.sink.fail_next(6000)
        f.put(20_000)
        f.start(buffer_bytes=1024 * 1024)
        await asyncio.sleep(60)
        assert not f.fan_out.open
        await f.until(f.all_written, within_s=2000)
        assert sorted(f.written) == list(range(20_000))


async def test_what_was_trimmed_behind_an_open_subscription_is_a_loss_like_any_other():
    """The next event begins behind the gap and says nothing of it."""
    async with fleet(shards=1, retention_s=1800) as f:
        f.fan_out = MemoryFanOut(f.stream, f.clock, every_s=1900, life_s=math.inf)
        f.put(5)
        worker = f.start()
        await f.until(f.all_written)
        f.put(5)
        await asyncio.sleep(1850)
        f.put(5)
        await f.until(lambda: worker.observer.named("loss_found"), within_s=60)
        assert len(f.calls) == 5


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_with_the_lease_goes_the_subscription(end):
    """At once, also when the process only lost it."""
    async with subscribing() as f:
        f.start()
        await f.until(lambda: f.fan_out.open)
        await getattr(f, end)("w")
        assert not f.fan_out.open


async def test_a_worker_that_was_fenced_closes_its_subscriptions():
    """It may not read on beside the new owner."""
    async with subscribing() as f:
        member = f.start()
        await f.until(lambda: f.fan_out.open)
        member.link.fault = lambda _: "lost"
        await f.until(lambda: not f.fan_out.open, within_s=30)


@pytest.mark.parametrize("error", [Denied("not allowed"), Unavailable("500")])
async def test_a_subscription_that_keeps_failing_leaves_the_shard_to_polling(error, capsys):
    """Nothing is missed, and the log says so once."""
    async with subscribing() as f:
        f.fan_out.fail_next(error, times=10_000)
        worker = f.start()
        for _ in range(60):
            await asyncio.sleep(1)
            f.put(1)
        await f.until(f.all_written)
        assert f.written == list(range(60))
        assert f.polls() > 60
        assert 2 < len(worker.observer.named("fetch_failed")) < 40
        assert capsys.readouterr().out.count("subscription_failed") <= 1
