"""How a worker ends, and what the next one makes of it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter, defaultdict
from datetime import datetime

import pytest
from process.conftest import Process, Stage, until

pytestmark = [pytest.mark.process, pytest.mark.servers]


async def half_and_half(stage: Stage, each: int) -> list[Process]:
    """Two workers that read as many shards each; the second may take those of the first."""
    first = stage.start(HEADRACE_LEASE_MAXIMUM=str(each))
    await until(lambda: len(first.events("reading_began")) == each, 20, first.log.read_text)
    second = stage.start()
    await until(lambda: len(second.events("reading_began")) == each, 20, second.log.read_text)
    return [first, second]


async def test_on_sigterm_a_worker_releases_its_leases_and_exits_with_0_and_nothing_is_repeated(stage):
    """A deploy: the next worker goes on where this one stopped."""
    async with stage(shards=4) as s:
        await s.put(0, 2000)
        first = s.start()
        await first.ready()
        await s.all_written(2000)

        started = time.monotonic()
        first.send(signal.SIGTERM)
        assert await first.exit_code(within_s=10) == 0
        assert time.monotonic() - started < 1.0

        assert all("own" not in row for row in await s.leases())
        await s.put(2000, 500)
        second = s.start()
        await second.ready()
        await s.all_written(2500)
        calls = Counter(call.n for call in s.calls())
        assert [n for n, count in calls.items() if count > 1] == []


async def test_sigterm_in_the_middle_of_the_work_repeats_at_most_what_was_in_flight(stage):
    """Nothing missing, each key in order, and repeats are few."""
    async with stage(shards=2) as s:
        await s.put(0, 6000)
        first = s.start()
        await first.ready()
        await until(s.calls, 10)
        first.send(signal.SIGTERM)
        assert await first.exit_code(within_s=10) == 0
        handled = len(s.calls())

        second = s.start()
        await second.ready()
        await s.all_written(6000)

        assert handled
        assert len(s.calls()) == 6000, "a graceful stop settles all that was handled"


async def test_a_second_sigterm_ends_a_worker_at_once_and_the_next_loses_nothing(stage):
    """The handler hangs, the operator does not want to wait."""
    async with stage(shards=1) as s:
        await s.put(0, 50)
        stuck = s.start(HEADRACE_HANDLER="slow_handler:handle")
        await until((s.folder / "stuck").exists, 20)
        stuck.send(signal.SIGTERM)
        await until(lambda: stuck.events("stop_requested"), 5)
        assert stuck.popen.poll() is None

        started = time.monotonic()
        stuck.send(signal.SIGTERM)
        assert await stuck.exit_code(within_s=5) == 1
        assert time.monotonic() - started < 1.0

        await s.start().ready()
        await s.all_written(50)


async def test_after_kill_9_another_worker_takes_over_within_the_bound_and_nothing_is_missing(stage):
    """Crash to the first record read by the new owner: lease duration x 1.01 + one poll + 1 s."""
    async with stage(shards=4) as s:
        workers = await half_and_half(s, 2)
        await s.put(0, 1000)
        await s.all_written(1000)
        held = {row["own"]["S"] for row in await s.leases()}
        assert len(held) == 2, "both workers hold leases"

        victim = workers[0]
        await s.put(1000, 1000)
        victim.send(signal.SIGKILL)
        killed_at = time.time()
        await s.put(2000, 1000)
        await s.all_written(3000)

        lost = {call.shard for call in s.calls() if call.pid == victim.pid}
        survivor = [call for call in s.calls() if call.pid == workers[1].pid and call.shard in lost]
        takeover = min(call.at for call in survivor) - killed_at
        assert takeover <= 3 * 1.01 + 0.3 + 1.0


async def test_a_worker_that_was_stopped_beyond_its_lease_writes_nothing_more_and_rejoins(stage):
    """SIGSTOP, takeover by the other, SIGCONT: the stopped one finds itself fenced and starts anew."""
    async with stage(shards=2) as s:
        workers = await half_and_half(s, 1)
        await s.put(0, 500)
        await s.all_written(500)

        frozen = workers[0]
        frozen.send(signal.SIGSTOP)
        await until(lambda: _taken(workers[1]), 10)
        await s.put(500, 500)
        await s.all_written(1000)
        frozen.send(signal.SIGCONT)

        await until(lambda: frozen.events("worker_fenced"), 10)
        await until(lambda: len(frozen.events("worker_registered")) == 2, 10)
        fenced_shards = {e["shard"] for e in _taken(workers[1])}
        taken_at = min(call.at for call in s.calls() if call.pid == workers[1].pid and call.shard in fenced_shards)
        assert [c for c in s.calls() if c.pid == frozen.pid and c.shard in fenced_shards and c.at > taken_at] == []


def _taken(worker) -> list[dict]:
    return [event for event in worker.events("lease_opened") if event["transition"] == "taken"]


async def test_killed_at_random_moments_and_started_again_it_loses_nothing(stage):
    """CRASHES (3), RECORDS (8,000) and SEED in the environment make it longer, or the same again."""
    crashes, records = int(os.environ.get("CRASHES", "3")), int(os.environ.get("RECORDS", "8000"))
    seed = int(os.environ.get("SEED", str(random.SystemRandom().randrange(10**6))))
    chance = random.Random(seed)
    print(f"SEED={seed}")
    async with stage(shards=8) as s:
        takeovers = []
        died_at = None
        share = records // crashes
        for crash in range(crashes):
            await s.put(crash * share, share, keys=200)
            worker = s.start()
            await until(lambda pid=worker.pid: any(c.pid == pid for c in s.calls()), 30, worker.log.read_text)
            takeovers += [_first_call(s, worker) - max(died_at, _started(worker))] if died_at else []
            await asyncio.sleep(chance.uniform(0, 2))
            worker.send(signal.SIGKILL)
            died_at = time.time()
            await worker.exit_code(within_s=5)
        await s.start().ready()
        await s.all_written(share * crashes, within_s=60 + records / 500)

        by_key = defaultdict(list)
        for call in s.calls():
            by_key[call.key].append(call.n)
        assert all(_in_order_but_for_repeats(numbers) for numbers in by_key.values())
        print(f"takeovers {[round(t, 2) for t in takeovers]}, calls {len(s.calls())} for {records} records")
        assert max(takeovers, default=0) <= 3 * 1.01 + 0.3 + 1.0


def _first_call(stage, worker) -> float:
    return min(call.at for call in stage.calls() if call.pid == worker.pid)


def _started(worker) -> float:
    """When it was registered: from then on it watches the dead one."""
    return datetime.fromisoformat(worker.events("worker_registered")[0]["timestamp"]).timestamp()


def _in_order_but_for_repeats(numbers: list[int]) -> bool:
    """After a crash a key goes back, and from there on it is in order again without a gap."""
    highest = -1
    ordered = sorted(set(numbers))
    position = {n: i for i, n in enumerate(ordered)}
    previous = -1
    for n in numbers:
        index = position[n]
        if index > previous + 1:
            return False
        previous, highest = index, max(highest, index)
    return highest == len(ordered) - 1
