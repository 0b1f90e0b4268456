"""Handlers that do what nobody expects: each costs its own record an attempt, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from flow.fleet import FAST_RETRY, fleet, put_item

from headrace.core.verdict import RetryRules
from headrace.errors import Reject, Rejected, Retry
from headrace.flow.workplace import ShardRules
from headrace.operations import Delete, Put

pytestmark = pytest.mark.looptime


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Alien(BaseException):
    pass


def raising(error):
    def handle():
        raise error

    return handle


def rejecting_with_an_error():
    try:
        int("x")
    except ValueError as error:
        raise Reject(error) from error


def retrying_soon():
    raise Retry("soon")


HOSTILE = {
    "cancelled by somebody else": raising(asyncio.CancelledError()),
    "a retry in seconds": raising(Retry(5)),
    "a retry after nonsense": retrying_soon,
    "a rejection with an error": rejecting_with_an_error,
    "an error without a text": raising(Unspeakable()),
    "no ordinary exception": raising(Alien()),
    "an exit": raising(SystemExit(3)),
    "a put of nothing": lambda: Put(None),
    "a put of a list": lambda: Put([1]),
    "a delete by a string": lambda: Delete("k3"),
    "a table that is no name": lambda: Put({"pk": "x"}, ["t"]),
}


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("what", HOSTILE)
async def test_whatever_a_handler_does_costs_its_own_record_and_no_other(what, is_async):
    """Poison must not end the worker, nor let anything be settled that was not written."""

    def handle(record):
        return HOSTILE[what]() if record.data == b"3" else put_item(record)

    async def later(record):
        await asyncio.sleep(0.001)
        return handle(record)

    async with fleet(shards=2) as f:
        f.put(100, keys=7)
        f.start(handle=later if is_async else handle, is_async=is_async)
        await f.until(f.all_written, within_s=60)
        await f.until(f.last_checkpoints_reached)

        assert set(f.written) == set(range(100)) - {3}
        assert [letter.record.data for letter in f.letters.letters] == [b"3"]


async def test_an_async_handler_that_awaits_something_cancelled_loses_no_record_behind_it():
    """A task group takes a cancelled child for a finished one."""

    async def handle(record):
        if record.data == b"3":
            other = asyncio.ensure_future(asyncio.sleep(10))
            other.cancel()
            await other
        return put_item(record)

    async with fleet() as f:
        f.put(100, keys=1)
        f.start(handle=handle, is_async=True)
        await f.until(f.all_written, within_s=60)

        assert f.written == [n for n in range(100) if n != 3]


async def test_a_handler_that_wants_to_be_called_again_at_once_leaves_time_for_others():
    """With unlimited attempts it would hold the loop for ever."""
    turns = 0

    def handle(record):
        if record.data == b"3":
            raise Retry(timedelta(0))
        return put_item(record)

    async with fleet(shards=2) as f:
        f.put(100)
        f.start(handle=handle, shard=ShardRules(retry=RetryRules(maximum_attempts=-1)))
        await f.until(lambda: len(f.written) >= 90)
        before = len(f.calls)
        for _ in range(100):
            await asyncio.sleep(0.1)
            turns += 1

        assert turns == 100
        assert len(f.calls) - before <= 10 / 0.05 + 1


async def test_an_iterator_that_is_refused_for_whatever_reason_is_taken_anew():
    """A local server that was restarted does not know it any more."""
    async with fleet() as f:
        f.put(10)
        original, refusals = f.stream.get_records, 0

        async def get_records(iterator, limit, shard):
            nonlocal refusals
            if iterator.startswith("BAD"):
                refusals += 1
                raise Rejected("InvalidArgumentException: the iterator is not valid")
            page = await original(iterator, limit, shard)
            return page if refusals else replace(page, next_iterator=f"BAD{page.next_iterator}")

        f.stream.get_records = get_records
        f.start(shard=ShardRules(retry=FAST_RETRY))
        await f.until(lambda: refusals)
        f.put(10)
        await f.until(f.all_written, within_s=60)

        assert refusals == 1
        assert len(f.calls) == 20


async def test_a_stop_during_the_first_steps_is_obeyed_at_once():
    """The table cannot be reached, and nothing is held."""
    async with fleet() as f:
        member = f.start("a")
        member.link.fault = lambda _: "lost"
        await asyncio.sleep(5)
        asked = f.clock.now()
        await f.stop("a")

        assert f.clock.now() - asked < 1
