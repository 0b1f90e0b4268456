"""How a shard is read."""

from __future__ import annotations

import asyncio

import pytest
from flow.fleet import FAST_RETRY, fleet

from headrace.core.pacing import PaceRules
from headrace.errors import IteratorExpired, Throttled, Unavailable
from headrace.flow.workplace import ShardRules
from headrace.model import AtTimestamp, Latest
from headrace.operations import Put

pytestmark = pytest.mark.looptime


async def test_at_the_tip_a_shard_is_polled_at_the_interval_and_never_throttled():
    """One call each half second leaves three of five to others."""
    async with fleet() as f:
        worker = f.start(shard=ShardRules(pace=PaceRules(0.5)))
        await asyncio.sleep(5)
        before = len(worker.observer.named("page_fetched"))
        await asyncio.sleep(60)

        assert len(worker.observer.named("page_fetched")) - before == pytest.approx(120, abs=2)
        assert worker.observer.named("fetch_failed") == []


async def test_a_backlog_is_read_as_fast_as_the_shard_allows():
    """Five calls a second at most; all read, none refused for long."""
    async with fleet() as f:
        f.put(40_000)
        f.start(buffer_bytes=4 * 1024 * 1024)

        await f.until(f.all_written, within_s=60)


async def test_a_new_record_reaches_the_handler_within_a_poll_interval():
    """The latency that polling costs."""
    async with fleet() as f:
        f.start(shard=ShardRules(pace=PaceRules(0.5)))
        await asyncio.sleep(10)
        for _ in range(20):
            await asyncio.sleep(0.37)
            f.put(1)
            put_at = f.clock.now()
            await f.until(lambda: len(f.calls) == f.produced)
            assert f.calls[-1].at - put_at <= 0.51


@pytest.mark.parametrize("error", [Throttled("slow down"), Unavailable("500"), IteratorExpired("too old")])
async def test_a_call_that_fails_is_made_again_at_the_same_place(error):
    """No record is skipped and none comes twice."""
    async with fleet() as f:
        f.put(100)
        worker = f.start()
        await f.until(f.all_written)
        f.stream.fail_next("get_records", error, times=5)
        f.put(100)
        await f.until(f.all_written)

        assert len(f.calls) == 200
        reason = {Throttled: "throttled", Unavailable: "error", IteratorExpired: "expired"}[type(error)]
        assert [r for _, r in worker.observer.named("fetch_failed")] == [reason] * 5


async def test_an_iterator_that_expired_while_the_shard_had_no_room_is_taken_anew():
    """A sink that is down for ten minutes."""
    async with fleet() as f:
        f.sink.fail_next(6000)
        f.put(5000)
        f.start(buffer_bytes=1024 * 1024)
        await f.until(f.all_written, within_s=2000)

        assert sorted(f.written) == list(range(5000))


async def test_what_is_held_in_memory_stays_within_the_budget():
    """A slow sink, a large backlog, several shards: reading waits."""
    async with fleet(shards=4, enforce_limits=False) as f:
        f.sink._latency_s = lambda: 1.0
        data = b"7" * 1000
        for n in range(20_000):
            f.stream.put(f"k{n}", data)
        worker = f.start(
            handle=lambda r: Put({"pk": str(r.sequence_number)}),
            buffer_bytes=8 * 1024 * 1024,
            shard=ShardRules(retry=FAST_RETRY),
        )
        most = 0
        for _ in range(300):
            await asyncio.sleep(0.05)
            incarnation = worker.worker.incarnation
            if incarnation is not None:
                most = max(most, sum(run._fetcher.held for run in incarnation._runs.values()))

        assert 1024 * 1024 < most <= 8 * 1024 * 1024 + 4 * 1024 * 1024


async def test_latest_begins_at_the_first_start_of_the_application_and_stays_there():
    """A crash before the first checkpoint must not move it."""
    async with fleet() as f:
        f.put(10)
        await asyncio.sleep(10)
        f.start("one", start=Latest())
        await f.until(f.leases)
        await f.kill("one")
        await asyncio.sleep(1)
        f.put(5)
        f.start("two", start=Latest())
        await f.until(lambda: len(f.calls) == 5)
        await asyncio.sleep(5)

        assert sorted(int(call.record.data) for call in f.calls) == [10, 11, 12, 13, 14]


async def test_a_start_at_an_instant_reads_from_there():
    """By approximate arrival time."""
    async with fleet(shards=2) as f:
        f.put(10)
        await asyncio.sleep(10)
        instant = f.clock.wall()
        await asyncio.sleep(10)
        f.put(10)
        f.start(start=AtTimestamp(instant))
        await f.until(lambda: len(f.calls) == 10)

        assert sorted(int(call.record.data) for call in f.calls) == list(range(10, 20))
