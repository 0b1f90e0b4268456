"""The heartbeat's own thread."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import pytest

from headrace.errors import Fenced
from headrace.flow.leasing.own_thread import OwnThread
from headrace.testing.lease_table import MemoryLeaseTable


@asynccontextmanager
async def a_table():
    yield MemoryLeaseTable()


async def test_the_work_goes_on_while_the_main_loop_is_busy():
    """A handler that computes for a while does not hold up the heartbeat."""
    beats = []

    async def beat(_) -> None:
        while True:
            beats.append(threading.current_thread().name)
            await asyncio.sleep(0.01)

    working = asyncio.ensure_future(OwnThread(a_table).run(beat))
    while not beats:  # noqa: ASYNC110 - another thread says it
        await asyncio.sleep(0.005)
    before = len(beats)
    time.sleep(0.3)  # noqa: ASYNC251 - the loop is to be blocked
    during = len(beats) - before
    working.cancel()
    await asyncio.wait([working])

    assert during >= 3
    assert set(beats) == {"heartbeat"}
    await no_thread_is_left()


async def test_what_the_work_raises_is_raised_on_the_main_loop():
    """A fenced worker has to hear of it."""

    async def die(_) -> None:
        await asyncio.sleep(0.01)
        raise Fenced("declared dead")

    with pytest.raises(Fenced, match="declared dead"):
        await OwnThread(a_table).run(die)


async def test_a_table_that_cannot_be_opened_is_raised_too():
    """Credentials that are gone, for instance."""

    @asynccontextmanager
    async def broken():
        raise RuntimeError("no table")
        yield

    async def never(_) -> None:
        raise AssertionError("there is no table to work with")

    with pytest.raises(RuntimeError, match="no table"):
        await OwnThread(broken).run(never)


async def test_cancelling_ends_the_thread_and_closes_its_table():
    """No thread outlives its incarnation."""
    begun, closed = asyncio.Event(), threading.Event()
    main = asyncio.get_running_loop()

    @asynccontextmanager
    async def table():
        yield MemoryLeaseTable()
        closed.set()

    async def work(_) -> None:
        main.call_soon_threadsafe(begun.set)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return

    working = asyncio.ensure_future(OwnThread(table).run(work))
    await begun.wait()
    working.cancel()
    await asyncio.wait([working])

    assert working.cancelled()
    assert closed.is_set()
    await no_thread_is_left()


async def test_cancelling_before_the_thread_has_begun_leaves_no_thread_behind():
    """A stop may come at any moment."""

    async def work(_) -> None:
        await asyncio.sleep(3600)

    for turn in range(20):
        working = asyncio.ensure_future(OwnThread(a_table).run(work))
        await asyncio.sleep(0 if turn % 2 else 0.001)
        working.cancel()
        await asyncio.wait([working], timeout=2)
        assert working.cancelled()

    await no_thread_is_left()


async def no_thread_is_left() -> None:
    """The last steps of a thread come after it has told of its end."""
    while "heartbeat" in {t.name for t in threading.enumerate()}:  # noqa: ASYNC110 - threads tell nobody
        await asyncio.sleep(0.005)
