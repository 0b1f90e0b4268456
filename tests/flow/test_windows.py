"""Tumbling windows: a state from call to call, that no restart, takeover or reshard loses."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest
from flow.fleet import fleet

from headrace.core.batching import BatchRules
from headrace.core.verdict import RetryRules
from headrace.flow.workplace import LaneRules, ShardRules
from headrace.model import Record, ShardId
from headrace.ports import BatchContext, BatchHandler

pytestmark = pytest.mark.looptime

LENGTH_S = 60


class Counting:
    """Counts records by window, as a Lambda handler does: in the state, and at the last call for good."""

    def __init__(self):
        self.totals: dict[float, list[list[int]]] = defaultdict(list)
        """By the window's start: the numbers of each last call."""
        self.calls: list = []
        self.fail = lambda window, numbers: False
        self.pad = 0
        self.handler = BatchHandler("test", self.call, lambda _: 100, 10)

    async def call(self, records: Sequence[Record], context: BatchContext) -> bytes:
        window = context.window
        numbers = [int(record.data) for record in records]
        self.calls.append((window, numbers))
        await asyncio.sleep(0.01)
        if self.fail(window, numbers):
            raise RuntimeError("not now")
        state = {"numbers": [*window.state.get("numbers", []), *numbers], "pad": "x" * self.pad}
        if window.is_final:
            self.totals[window.start_s].append(state["numbers"])
            return b"{}"
        return json.dumps({"state": state}).encode()


def rules(retries=2, size=10):
    return ShardRules(
        batch=BatchRules(size),
        retry=RetryRules(retries),
        lanes=LaneRules(tumbling_s=LENGTH_S),
        checkpoint_interval_s=0.5,
    )


async def put_for(f, seconds, every_s=1.0):
    """Records that come while time passes."""
    for _ in range(int(seconds / every_s)):
        f.put(1)
        await asyncio.sleep(every_s)


def counted(counting):
    return [number for start in sorted(counting.totals) for total in counting.totals[start] for number in total]


async def test_every_record_counts_in_one_window_and_every_window_ends_once():
    """Five minutes of records: their windows' last calls hold all of them, in order."""
    counting = Counting()
    async with fleet() as f:
        f.look_s = 0.5
        f.start(handle_batch=counting.handler, shard=rules())
        await put_for(f, 300)
        await f.until(lambda: len(counted(counting)) == f.produced)

        assert counted(counting) == list(range(f.produced))
        assert all(len(totals) == 1 for totals in counting.totals.values())
        starts = sorted(counting.totals)
        assert [later - earlier for earlier, later in pairwise(starts)] == [LENGTH_S] * (len(starts) - 1)
        assert all(window.end_s - window.start_s == LENGTH_S for window, _ in counting.calls)
        assert all(not window.is_terminated_early for window, _ in counting.calls)


async def test_the_last_call_of_a_window_comes_without_another_record():
    """A while after its end, once everything up to then was read."""
    counting = Counting()
    async with fleet() as f:
        f.look_s = 0.5
        f.start(handle_batch=counting.handler, shard=rules())
        f.put(3)
        await f.until(lambda: counting.totals, within_s=LENGTH_S + 10)

        ((window, numbers),) = [call for call in counting.calls if call[0].is_final]
        assert numbers == []
        assert window.state["numbers"] == [0, 1, 2]


async def test_a_restart_goes_on_with_the_state_of_its_checkpoint():
    """Nothing is counted twice or left out after a graceful stop."""
    counting = Counting()
    async with fleet() as f:
        f.look_s = 0.5
        for name in ("a", "b", "c", "d"):
            f.start(name, handle_batch=counting.handler, shard=rules())
            await put_for(f, 40)
            await f.stop(name)
        f.start("last", handle_batch=counting.handler, shard=rules())
        await f.until(lambda: len(counted(counting)) == f.produced)

        assert counted(counting) == list(range(f.produced))


async def test_a_takeover_goes_on_with_the_state_of_its_checkpoint():
    """What came after the checkpoint is handled again on the state of the checkpoint, so that it counts once."""
    counting = Counting()
    async with fleet() as f:
        f.look_s = 0.5
        for name in ("a", "b", "c", "d"):
            f.start(name, handle_batch=counting.handler, shard=rules())
            await put_for(f, 33)
            await f.kill(name)
        f.start("last", handle_batch=counting.handler, shard=rules())
        await f.until(lambda: set(counted(counting)) == set(range(f.produced)))

        for start in sorted(counting.totals):
            for total in counting.totals[start]:
                assert total == sorted(set(total)), "counted twice in a window"
        last = [counting.totals[start][-1] for start in sorted(counting.totals)]
        assert [number for total in last for number in total] == list(range(f.produced))


async def test_a_reshard_ends_the_window_of_the_parent_and_the_children_begin_their_own():
    """Nothing of it is lost."""
    counting = Counting()
    async with fleet() as f:
        f.look_s = 0.5
        f.start(handle_batch=counting.handler, shard=rules())
        await put_for(f, 20)
        f.stream.split(ShardId("shardId-000000000000"))
        await put_for(f, 80)
        await f.until(lambda: len(counted(counting)) == f.produced)

        assert sorted(counted(counting)) == list(range(f.produced))
        ends = {(window.shard_id, window.start_s) for window, _ in counting.calls if window.is_final}
        assert len({shard for shard, _ in ends}) == 3


async def test_an_answer_without_a_state_is_a_failed_call():
    """Documented; the records are buried once their attempts are used up, and the window goes on."""
    counting = Counting()

    async def call(records, context):
        if any(record.data == b"5" for record in records):
            return b'{"batchItemFailures": []}'
        return await counting.call(records, context)

    async with fleet() as f:
        f.look_s = 0.5
        f.put(20)
        f.start(handle_batch=BatchHandler("test", call), shard=rules(size=20))
        await f.until(lambda: counting.totals)

        (letter,) = f.letters.letters
        assert (letter.error, letter.record.data) == ("NoState", b"5")
        assert counted(counting) == [number for number in range(20) if number != 5]


async def test_a_last_call_that_fails_is_made_again_and_the_shard_waits():
    """However often; the records of the next window come after it."""
    counting = Counting()
    failures = 0

    def fail(window, _):
        nonlocal failures
        failures += window.is_final
        return window.is_final and failures <= 8

    counting.fail = fail
    async with fleet() as f:
        f.look_s = 0.5
        f.start(handle_batch=counting.handler, shard=rules(retries=0))
        f.put(3)
        await f.until(lambda: failures)
        f.put(3)
        await f.until(lambda: len(counted(counting)) == 6, within_s=900)

        order = [(window.start_s, window.is_final) for window, _ in counting.calls]
        assert order == sorted(order)
        assert f.letters.letters == []


async def test_a_state_that_grows_too_large_ends_its_window_early():
    """The handler is told so, and goes on in the same window with an empty state."""
    counting = Counting()
    counting.pad = 1_100_000
    async with fleet() as f:
        f.look_s = 0.5
        f.put(20)
        f.start(handle_batch=counting.handler, shard=rules(size=10))
        await f.until(lambda: len(counted(counting)) == 20)

        finals = [window for window, _ in counting.calls if window.is_final]
        assert [window.is_terminated_early for window in finals] == [True, True]
        assert len({window.start_s for window in finals}) == 1
