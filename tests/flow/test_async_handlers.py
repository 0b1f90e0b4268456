"""`async def` record handlers: every partition key goes its own way, in order."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from flow.fleet import RULES, fleet, put_item

from headrace.core.batching import BatchRules
from headrace.core.verdict import RetryRules
from headrace.flow.delivery.async_records import CALLS
from headrace.model import ShardId
from headrace.operations import Put

pytestmark = pytest.mark.looptime


async def latencies(slow_key: str | None) -> dict[str, list[float]]:
    """Seconds from put to write, by key: 1,000 keys, 5 records each over a while."""
    put_at: dict[int, float] = {}
    done: dict[str, list[float]] = defaultdict(list)

    async with fleet() as f:

        async def handle(record):
            await asyncio.sleep(2.0 if record.partition_key == slow_key else 0.002)
            done[record.partition_key].append(f.clock.now() - put_at[int(record.data)])
            return put_item(record)

        f.start(handle=handle, is_async=True, shard=RULES)
        await f.until(lambda: f.leases() and all(lease.owner for lease in f.leases().values()))
        for _ in range(50):
            for _ in range(100):
                put_at[f.produced] = f.clock.now()
                f.put(1, keys=1000)
            await asyncio.sleep(0.1)
        await f.until(f.all_written)
    return done


async def test_one_slow_key_among_a_thousand_delays_no_other():
    """2 s a record: the 99th percentile of the other keys is the same within a tenth."""
    without, beside = await latencies(None), await latencies("k7")

    def p99(found):
        others = sorted(seconds for key, times in found.items() if key != "k7" for seconds in times)
        assert len(others) == 999 * 5
        return others[int(len(others) * 0.99)]

    assert p99(beside) <= 1.1 * p99(without)
    assert max(beside["k7"]) > 6, "it did wait for itself"


async def test_calls_of_different_keys_overlap_within_a_bound_and_those_of_one_key_never():
    """64 calls at once; a key's next record waits for the one before."""
    running: Counter[str] = Counter()
    most, most_of_key = 0, 0

    async def handle(record):
        nonlocal most, most_of_key
        running[record.partition_key] += 1
        most = max(most, running.total())
        most_of_key = max(most_of_key, running[record.partition_key])
        await asyncio.sleep(0.5)
        running[record.partition_key] -= 1
        return put_item(record)

    async with fleet() as f:
        f.put(500, keys=200)
        f.start(handle=handle, is_async=True)
        await f.until(f.all_written)

        assert (most, most_of_key) == (CALLS, 1)
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())


async def test_a_failing_record_is_retried_before_the_later_ones_of_its_key():
    """Whatever the others do meanwhile; and a slow retry holds up nobody."""
    failures = 2

    async def handle(record):
        nonlocal failures
        if record.data == b"3":
            await asyncio.sleep(5)
            if failures:
                failures -= 1
                raise RuntimeError("not now")
        return put_item(record)

    async with fleet() as f:
        f.put(100)
        f.start(handle=handle, is_async=True)
        await f.until(lambda: len(f.written) == 90, within_s=5)
        assert {n for n in f.written if n % 10 == 3} == set()
        await f.until(f.all_written)

        assert [n for n in f.written if n % 10 == 3] == list(range(3, 100, 10))
        assert [call.record.attempt for call in f.calls if call.record.data == b"3"] == [1, 2, 3]


async def test_a_record_out_of_attempts_is_buried_and_its_key_goes_on():
    """With what was tried."""

    async def handle(record):
        if record.data == b"3":
            raise ValueError("never")
        return put_item(record)

    async with fleet() as f:
        f.put(100)
        f.start(handle=handle, is_async=True)
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)

        (letter,) = f.letters.letters
        assert (letter.reason, letter.error, letter.message, letter.attempts) == (
            "RetryAttemptsExhausted",
            "ValueError",
            "never",
            3,
        )
        assert [attempt.error for attempt in letter.log] == ["ValueError"] * 3


async def test_a_write_that_is_refused_buries_its_record():
    """And no other."""

    async def handle(record):
        return put_item(record)

    async with fleet() as f:
        f.sink._refuses = lambda effect: "too large" if isinstance(effect, Put) and effect.item["n"] == 5 else None
        f.put(20)
        f.start(handle=handle, is_async=True)
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)

        assert [(int(letter.record.data), letter.reason) for letter in f.letters.letters] == [(5, "WriteRefused")]


async def test_a_stop_waits_for_calls_under_way_and_for_no_retry():
    """The next owner repeats nothing that was settled."""
    calls = 0

    async def handle(record):
        nonlocal calls
        calls += 1
        await asyncio.sleep(1.0)
        if record.data == b"0":
            raise RuntimeError("never")
        return put_item(record)

    endless = replace(RULES, retry=RetryRules(-1))
    async with fleet() as f:
        f.put(30, keys=30)
        f.start(handle=handle, is_async=True, shard=endless)
        await f.until(lambda: calls >= 30)
        began = f.clock.now()
        await f.stop()

        assert f.clock.now() - began < 3
        assert sorted(f.written) == list(range(1, 30))


async def test_the_end_of_a_shard_waits_for_its_slowest_key():
    """Children begin when everything of their parent is settled."""

    async def handle(record):
        await asyncio.sleep(20 if record.data == b"0" else 0.01)
        return put_item(record)

    async with fleet() as f:
        f.put(50)
        parent = ShardId("shardId-000000000000")
        f.stream.split(parent)
        f.put(50)
        f.start(handle=handle, is_async=True, shard=replace(RULES, batch=BatchRules(7)))
        await f.until(f.all_written)

        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())
        assert f.leases()[parent].done


async def test_a_lost_lease_ends_every_key():
    """Nothing is written under an epoch that is over."""
    started = 0

    async def handle(record):
        nonlocal started
        started += 1
        await asyncio.sleep(60)
        return put_item(record)

    async with fleet() as f:
        f.put(10)
        member = f.start("first", handle=handle, is_async=True)
        await f.until(lambda: started == 10)
        member.link.fault = lambda _: "lost"
        f.start("second")
        await f.until(f.all_written)
        await asyncio.sleep(120)

        assert Counter(f.written) == Counter(range(10))
