"""Delivery that is interrupted where it hurts: a lapse of trust, a stop, a kill in the middle, handlers that resist."""

from __future__ import annotations

import asyncio
import json

import pytest
from flow.fleet import FAST_RETRY, fleet, put_item
from flow.test_batches import Calls
from flow.test_batches import rules as batch_rules
from flow.test_windows import LENGTH_S, Counting, counted, put_for
from flow.test_windows import rules as window_rules

from headrace.core.backoff import Backoff
from headrace.core.batching import BatchRules
from headrace.core.filters import compile_filters
from headrace.core.portions import Bisect
from headrace.core.verdict import RetryRules
from headrace.errors import Reject
from headrace.flow.workplace import LaneRules, ShardRules
from headrace.ports import BatchHandler

pytestmark = pytest.mark.looptime


class Stubborn(Exception):
    """What a handler makes of its cancellation."""


async def lapse(f, member, seconds: float, every_s: float = 0.1) -> None:
    """The worker's table is away for so long, while records keep coming."""
    member.link.fault = lambda _: "lost"
    for _ in range(int(seconds / every_s)):
        f.put(1, keys=50)
        await asyncio.sleep(every_s)
        if member.task.done():
            await member.task
    member.link.fault = lambda _: None


def accounted_for(f) -> list[int]:
    return sorted({*f.written, *(int(letter.record.data) for letter in f.letters.letters)})


# --- the lease is lost ------------------------------------------------------------------------------------------------


async def slow_to_go(record):
    try:
        await asyncio.sleep(1000 if int(record.data) < 2 else 0.1)
    finally:
        await asyncio.sleep(2 if int(record.data) < 2 else 0)


async def slow_batch(records, _):
    await slow_to_go(records[0])


@pytest.mark.parametrize("kind", ["async", "lanes"])
async def test_a_lease_that_is_lost_while_a_call_takes_its_time_to_end_does_not_end_the_worker(kind):
    """One lane sees the loss, another one is still being cancelled, and a record comes for a third."""
    how = (
        {"handle": slow_to_go, "is_async": True} if kind == "async" else {"handle_batch": BatchHandler("t", slow_batch)}
    )
    async with fleet() as f:
        f.put(2, keys=2)
        member = f.start("w", shard=batch_rules(size=1, count=50), **how)
        await asyncio.sleep(2)
        await lapse(f, member, 30)
        await asyncio.sleep(20)

        assert not member.task.done()


async def test_a_lane_that_ends_slowly_while_trust_comes_back_does_not_go_on_alone():
    """Its handler makes an error of its own out of the cancellation, when the lapse is over."""
    is_first = True

    async def call(records, _):
        number = int(records[0].data)
        try:
            await asyncio.sleep(1000 if is_first else 0.1)
        except asyncio.CancelledError:
            if number == 1:
                await asyncio.sleep(8)
                raise Stubborn from None
            raise
        if number == 1:
            raise ValueError("bad")
        return [put_item(record) for record in records]

    async with fleet() as f:
        f.put(2, keys=2)
        member = f.start("w", handle_batch=BatchHandler("t", call), shard=batch_rules(size=1, count=50, retries=-1))
        await asyncio.sleep(2)
        member.link.fault = lambda _: "lost"
        await asyncio.sleep(9)
        member.link.fault = lambda _: None
        is_first = False
        await f.until(lambda: 0 in f.written, within_s=250)


@pytest.mark.parametrize("kind", ["plain", "async", "batch"])
async def test_what_was_reserved_in_flight_is_given_back_after_every_lapse(kind):
    """Else the shards of the worker would get narrower with each."""

    async def wait(record):
        await asyncio.sleep(0)
        return put_item(record)

    how = {"plain": {}, "async": {"handle": wait, "is_async": True}, "batch": {"handle_batch": Calls().handler}}[kind]
    async with fleet(shards=4) as f:
        f.put(40, keys=40)
        shard = batch_rules(size=100) if kind == "batch" else ShardRules(batch=BatchRules(100), retry=FAST_RETRY)
        member = f.start("w", shard=shard, **how)
        await f.until(f.all_written)
        in_flight = member.worker.incarnation._place.in_flight
        whole = in_flight._free
        for _ in range(3):
            await lapse(f, member, 20)
            await f.until(f.all_written)
            await asyncio.sleep(5)

        assert member.worker.incarnation._place.in_flight is in_flight
        assert in_flight._free == whole


# --- handlers that resist ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "batch"])
async def test_a_handler_that_turns_its_cancellation_into_an_error_is_not_called_again(kind):
    """The worker was dropped in the middle of its call: that is no failure of the record."""
    calls = []

    async def work(record):
        calls.append(record.data)
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise Stubborn from None

    async def batch(records, _):
        await work(records[0])

    how = {"handle": work, "is_async": True} if kind == "async" else {"handle_batch": BatchHandler("t", batch)}
    async with fleet() as f:
        f.put(5, keys=1)
        f.start("a", shard=batch_rules(retries=0, bisect=Bisect.OFF), **how)
        await f.until(lambda: calls)
        async with asyncio.timeout(60):
            await f.kill("a")

        assert (len(calls), f.letters.letters) == (1, [])


@pytest.mark.parametrize("kind", ["plain", "async", "batch"])
@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError], ids=["exit", "cancelled"])
async def test_an_error_that_would_end_a_program_costs_its_record_an_attempt(kind, error):
    """`sys.exit` in a handler ends neither the loop nor the worker."""

    def plain(record):
        if record.data == b"3":
            raise error
        return put_item(record)

    async def work(record):
        return plain(record)

    async def batch(records, _):
        return [plain(record) for record in records]

    how = {
        "plain": {"handle": plain},
        "async": {"handle": work, "is_async": True},
        "batch": {"handle_batch": BatchHandler("t", batch)},
    }[kind]
    async with fleet() as f:
        f.put(10)
        f.start(shard=batch_rules(size=10), **how)
        await f.until(f.all_written)

        assert [int(letter.record.data) for letter in f.letters.letters] == [3]


# --- parked keys: nothing is confirmed while something before it is open ---------------------------------------------


async def test_a_record_too_large_is_buried_in_its_turn_and_none_before_it_is_lost():
    """Those before it are handled, those after it follow it."""
    calls = Calls(size_of=lambda record: 100 if record.data != b"5" else 10_000, overhead=10)
    async with fleet() as f:
        f.put(10, keys=1)
        f.start(handle_batch=calls.handler, shard=batch_rules(size=10, parks_keys=True, bytes=5000))
        await f.until(f.last_checkpoints_reached)

        assert accounted_for(f) == list(range(10))
        assert sorted(int(letter.record.data) for letter in f.letters.letters) == [5, 6, 7, 8, 9]


async def test_a_record_too_old_waits_for_a_slow_one_before_it():
    """It is past its age when its page comes, and the first of its key is still being handled."""

    async def handle(record):
        if int(record.data) == 0:
            await asyncio.sleep(100)
        return put_item(record)

    async with fleet() as f:
        f.put(3, keys=1)
        await asyncio.sleep(45)
        rules = ShardRules(batch=BatchRules(2), retry=RetryRules(2, maximum_age_s=50.0), parks_keys=True)
        f.start(handle=handle, is_async=True, shard=rules)
        await asyncio.sleep(3)
        f.put(3, keys=1)
        f.stream.latency = lambda operation: 60.0 if operation == "get_records" else 0.0
        await f.until(f.last_checkpoints_reached, within_s=600)

        assert accounted_for(f) == list(range(6))


async def test_a_record_too_old_waits_behind_one_that_is_being_retried():
    """Likewise for a plain handler."""

    def handle(_):
        raise ValueError("bad")

    async with fleet() as f:
        f.put(2, keys=1)
        await asyncio.sleep(45)
        retry = RetryRules(-1, maximum_age_s=50.0, backoff=Backoff(60.0, 60.0))
        f.chance.random = lambda: 0.99
        f.start(handle=handle, shard=ShardRules(retry=retry, parks_keys=True, batch=BatchRules(1)))
        await asyncio.sleep(3)
        f.put(2, keys=1)
        f.stream.latency = lambda operation: 55.0 if operation == "get_records" else 0.0
        await f.until(f.last_checkpoints_reached, within_s=600)

        assert accounted_for(f) == [0, 1, 2, 3]


async def test_a_write_that_is_refused_late_is_buried_before_a_reject_that_came_sooner():
    """The order of the records decides, not that of the news."""

    async def handle(record):
        if record.data == b"1":
            raise Reject("no")
        return put_item(record)

    async with fleet() as f:
        f.sink._latency_s = lambda: 1.0
        f.sink._refuses = lambda effect: "no" if effect.item["n"] == 0 else None
        f.put(3, keys=1)
        f.start(handle=handle, is_async=True, shard=ShardRules(retry=FAST_RETRY, parks_keys=True))
        await f.until(f.last_checkpoints_reached)

        assert accounted_for(f) == [0, 1, 2]


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait_s", [0.0, 0.3, 0.5, 0.7, 1.0])
async def test_a_window_that_is_over_at_the_stop_is_ended_by_the_next_owner(wait_s):
    """Whether or not its last call was about to be made."""
    counting = Counting()
    async with fleet() as f:
        f.look_s = 0.05
        f.start("a", handle_batch=counting.handler, shard=window_rules())
        f.put(3)
        await f.until(lambda: len(counting.calls) == 1)
        await asyncio.sleep(counting.calls[0][0].start_s + LENGTH_S + 1.5 + wait_s - f.clock.wall().timestamp())
        await f.stop("a")
        f.start("b", handle_batch=counting.handler, shard=window_rules())
        await f.until(lambda: counting.totals, within_s=90)

        assert counted(counting) == [0, 1, 2]


async def test_a_window_whose_last_call_failed_until_the_stop_is_ended_by_the_next_owner():
    """It was over long ago when that one begins."""
    counting = Counting()
    counting.fail = lambda window, _: window.is_final
    async with fleet() as f:
        f.look_s = 0.5
        f.start("a", handle_batch=counting.handler, shard=window_rules())
        f.put(3)
        await f.until(lambda: any(window.is_final for window, _ in counting.calls))
        await f.stop("a")
        counting.fail = lambda *_: False
        f.start("b", handle_batch=counting.handler, shard=window_rules())
        await f.until(lambda: counting.totals, within_s=60)

        assert counted(counting) == [0, 1, 2]


@pytest.mark.parametrize("value", ["\ud83d", "deep"], ids=["half a character", "deep"])
async def test_a_state_that_cannot_be_kept_is_a_failed_call_and_no_end_of_the_worker(value):
    """Half a surrogate pair passes for JSON and cannot be written as UTF-8."""
    windows = []
    if value == "deep":
        value = {}
        for _ in range(900):
            value = {"a": value}

    async def call(_, context):
        windows.append(context.window)
        await asyncio.sleep(0.01)
        return json.dumps({"state": {"v": value}}).encode()

    async with fleet() as f:
        f.look_s = 0.5
        f.put(3)
        member = f.start(handle_batch=BatchHandler("t", call, lambda _: 100, 10), shard=window_rules(size=1))
        await f.until(lambda: any(window.is_final for window in windows) or len(f.letters.letters) == 3, within_s=90)

        assert not member.task.done()


async def test_windows_end_as_they_came_on_a_server_that_tells_no_distance():
    """Catching up with a long history, when every page says that nothing is behind it."""
    counting = Counting()
    async with fleet() as f:
        f.look_s = 0.5
        page = f.stream._page

        def tell_no_distance(log, after, limit):
            found = page(log, after, min(limit, 7))
            return type(found)(found.records, found.next_iterator, 0.0, found.size, found.children)

        f.stream._page = tell_no_distance
        await put_for(f, 200)
        f.start(handle_batch=counting.handler, shard=window_rules())
        await f.until(lambda: len(counted(counting)) == f.produced)

        assert counted(counting) == list(range(f.produced))
        assert [len(totals[0]) for _, totals in sorted(counting.totals.items())][:3] == [LENGTH_S] * 3


@pytest.mark.parametrize("kind", ["plain", "async", "batch", "windows"])
async def test_filters_that_leave_out_everything_move_the_checkpoint_and_end_the_shard(kind):
    """Nothing is called, and nothing is held up."""

    async def work(record):
        return put_item(record)

    counting = Counting()
    how = {
        "plain": {},
        "async": {"handle": work, "is_async": True},
        "batch": {"handle_batch": Calls().handler},
        "windows": {"handle_batch": counting.handler},
    }[kind]
    filters = compile_filters(('{"data": {"x": [1]}}',), "drop")
    lanes = LaneRules(tumbling_s=60.0) if kind == "windows" else LaneRules()
    async with fleet() as f:
        f.look_s = 0.5
        f.put(50)
        f.start(shard=ShardRules(filters=filters, lanes=lanes), **how)
        await f.until(f.last_checkpoints_reached)
        (shard,) = await f.stream.list_shards()
        f.stream.split(shard.shard_id)
        f.put(50)
        await f.until(f.last_checkpoints_reached)
        await f.until(lambda: any(lease.done for lease in f.leases().values()))

        assert not f.written
        assert not counting.calls
