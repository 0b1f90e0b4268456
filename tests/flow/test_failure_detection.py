"""When a worker that lives must lose its leases all the same, or give one up."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from flow.fleet import TIMING, fleet, put_item
from flow.test_leases import held
from structlog.testing import capture_logs

from headrace.core import membership
from headrace.core.pacing import PaceRules
from headrace.core.verdict import RetryRules
from headrace.flow.workplace import ShardRules
from headrace.model import Instant
from headrace.rows import PutRow

pytestmark = pytest.mark.looptime

STALL_S = 60.0
QUICK = ShardRules(pace=PaceRules(0.5), retry=RetryRules(maximum_attempts=-1), drain_s=5.0)


async def test_a_worker_whose_main_loop_hangs_withholds_its_heartbeat_and_is_taken_over():
    """The heartbeat's thread is well, which says nothing about the work."""
    async with fleet(shards=2) as f:
        a = f.start("a")
        await f.until(lambda: held(f) == {"a": 2})
        with capture_logs() as logs:
            hung = Instant(f.clock.now())
            _stop_pulse(a)
            f.start("b")
            await f.until(lambda: held(f) == {"b": 2}, within_s=30)

        assert "heartbeat_withheld" in {line["event"] for line in logs}
        took_s = f.clock.now() - hung
        assert TIMING.duration_s < took_s < TIMING.longest_stall_s + TIMING.duration_s * 1.01 + 4


def _stop_pulse(member) -> None:
    """As if the main loop ran no more; the test's own loop has to."""
    (pulse,) = [task for task in asyncio.all_tasks() if task.get_name() == "pulse"]
    pulse.cancel()
    assert member.worker.incarnation is not None


async def test_a_busy_main_loop_keeps_its_leases_as_long_as_it_runs_now_and_then():
    """Just below the longest stall, over and over."""
    async with fleet(shards=1) as f:
        a = f.start("a")
        await f.until(lambda: held(f) == {"a": 1})
        epoch = max(lease.epoch for lease in f.leases().values())
        heart = a.worker.incarnation._heart
        _stop_pulse(a)
        f.start("b")
        for _ in range(20):
            heart._pulse = f.clock.now()
            await asyncio.sleep(TIMING.longest_stall_s * 0.95)

        assert held(f) == {"a": 1}
        assert max(lease.epoch for lease in f.leases().values()) == epoch


async def test_a_time_of_day_that_jumps_ends_the_trust_until_the_next_heartbeat():
    """A hypervisor stopped the machine and its clock; whether the leases are still held only the table can say."""
    async with fleet(shards=1) as f:
        a = f.start("a")
        await f.until(lambda: held(f) == {"a": 1})
        trust = a.worker.incarnation.trust
        assert trust.permits()
        f.clock._epoch += timedelta(seconds=5)
        assert not trust.permits()
        await asyncio.sleep(TIMING.heartbeat_period_s + 0.1)
        assert trust.permits()
        f.put(5)
        await f.until(f.all_written, within_s=10)


async def test_a_shard_that_gets_nowhere_is_reported_and_then_given_up_to_a_worker_that_gets_somewhere():
    """The heartbeat hides it: this worker's way to something is broken."""
    async with fleet(shards=2) as f:
        broken = {"a"}

        def handler(name):
            def handle(record):
                if name in broken:
                    raise RuntimeError("cannot reach what it needs")
                return put_item(record)

            return handle

        for name in ("a", "b"):
            f.start(name, handler(name), shard=QUICK, stall_s=STALL_S)
        await f.until(lambda: held(f) == {"a": 1, "b": 1})
        with capture_logs() as logs:
            f.put(20)
            await f.until(f.all_written, within_s=STALL_S * 1.5)
        events = [line["event"] for line in logs]

        assert events.index("shard_stalled") < events.index("stalled_shard_given_up")
        assert held(f) == {"b": 2}
        assert f.members["a"].observer.named("shard_stalled")
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())


async def test_a_shard_that_gets_nowhere_stays_where_it_is_while_all_others_get_nowhere_either():
    """An outage of what all of them need: moving shards about mends nothing."""
    async with fleet(shards=2) as f:

        def handle(_):
            raise RuntimeError("down for everybody")

        for name in ("a", "b"):
            f.start(name, handle, shard=QUICK, stall_s=STALL_S)
        await f.until(lambda: held(f) == {"a": 1, "b": 1})
        before = {shard: lease.epoch for shard, lease in f.leases().items()}
        f.put(20)
        await asyncio.sleep(4 * STALL_S)

        assert {shard: lease.epoch for shard, lease in f.leases().items()} == before
        assert all(member.observer.named("shard_stalled") for member in f.members.values())


async def test_an_idle_shard_and_a_single_slow_key_are_no_stall():
    """At the tip with nothing open; and where one record is tried for ever others of the shard go on."""
    async with fleet(shards=1) as f:

        def handle(record):
            if record.partition_key == "k0":
                raise RuntimeError("never")
            return put_item(record)

        a = f.start("a", handle, shard=QUICK, stall_s=STALL_S)
        await asyncio.sleep(3 * STALL_S)
        for _ in range(30):
            f.put(10)
            await asyncio.sleep(STALL_S / 10)

        assert a.observer.named("shard_stalled") == []


async def test_a_worker_that_starts_while_the_table_is_away_for_long_registers_once_it_is_back():
    """Nobody feels its pulse yet, and it is its main loop that registers (found by the simulation)."""
    async with fleet(shards=1) as f:
        a = f.start("a")
        a.link.fault = lambda what: "lost" if _registers(what) else None
        await asyncio.sleep(3 * TIMING.longest_stall_s)
        a.link.fault = lambda _: None

        await f.until(lambda: held(f) == {"a": 1}, within_s=5)


def _registers(what) -> bool:
    return isinstance(what, PutRow) and what.key.pk == membership.WORKERS
