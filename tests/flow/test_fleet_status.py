"""What a worker shows of the fleet while it runs."""

import asyncio

import pytest
from flow.fleet import fleet

pytestmark = pytest.mark.looptime


async def test_a_shard_that_no_worker_may_take_is_shown_as_unowned_and_lags_ever_more():
    """It has no series of its own, so this is where it is seen."""
    async with fleet(shards=2) as f:
        member = f.start("a", maximum_leases=1)
        assert member.worker.fleet() is None, "nothing was looked at yet"
        await f.until(lambda: (seen := member.worker.fleet()) is not None and seen.unowned == 1, within_s=5)
        first = member.worker.fleet()
        await asyncio.sleep(60)
        later = member.worker.fleet()

        assert (later.owned, later.unowned, later.workers) == (1, 1, 1)
        assert later.unowned_lag_s == pytest.approx(first.unowned_lag_s + 60, abs=2)
        assert later.retention_s > 0


async def test_leases_of_a_crashed_worker_are_unowned_until_they_are_taken():
    """Never for longer than a takeover takes."""
    async with fleet(shards=4) as f:
        for name in ("a", "b"):
            f.start(name)
        await f.until(lambda: (seen := f.members["b"].worker.fleet()) is not None and seen.owned == 4, within_s=10)
        await f.kill("a")
        await f.until(lambda: f.members["b"].worker.fleet().workers == 1, within_s=15)
        await f.until(lambda: f.members["b"].worker.fleet().owned == 4, within_s=15)
        assert f.members["b"].worker.fleet().unowned_lag_s == 0


async def test_a_worker_that_stops_says_so():
    """A pod that takes its time to end is not a pod that is broken."""
    async with fleet(shards=1) as f:
        member = f.start("a", lambda record: asyncio.sleep(3), is_async=True)
        f.put(1)
        await f.until(lambda: f.calls)
        assert not member.worker.fleet().is_leaving
        member.stop.set()
        await asyncio.sleep(1)
        assert member.worker.fleet().is_leaving
