"""Deadlines, idleness and age of the connections below the channel. Time is virtual."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aws.fake_origin import FakeOrigin

from headrace.aws.connection_pool import AGE_S, IDLE_S, ConnectionPool, Limits
from headrace.aws.wire import UnansweredError

pytestmark = pytest.mark.looptime

CALL_S = 3.0
CONNECT_S = 1.0


def always() -> bool:
    return True


@asynccontextmanager
async def pool_over(origin, connections: int = 1):
    pool = ConnectionPool(origin, "/", Limits(connections, CALL_S, CONNECT_S))
    try:
        yield pool
    finally:
        await pool.close()


async def post(pool) -> None:
    await pool.exchange({}, b"{}", always)


async def failed_after(pool, words: str) -> float:
    began = asyncio.get_running_loop().time()
    with pytest.raises(UnansweredError, match=words):
        await post(pool)
    return asyncio.get_running_loop().time() - began


def nearly(seconds: float):
    return pytest.approx(seconds, abs=0.01)


async def test_a_silent_server_is_waited_for_as_long_as_a_call_may_take():
    """And the connection is closed: the answer may still come."""
    origin = FakeOrigin(None, 0.0)
    async with pool_over(origin) as pool:
        assert await failed_after(pool, "no answer within the time") == nearly(CALL_S)
        await post(pool)
    assert origin.connected == 2


async def test_each_call_has_the_whole_time_whatever_came_before_it_on_the_connection():
    """The connection's timer is left where it is by most calls."""
    origin = FakeOrigin(*[2.9] * 10, 0.1, None)
    async with pool_over(origin) as pool:
        for _ in range(11):
            await post(pool)
        assert await failed_after(pool, "no answer within the time") == nearly(CALL_S)
    assert origin.connected == 1


async def test_connecting_takes_its_part_of_the_call():
    """One limit for all of it."""
    origin = FakeOrigin(None, connects=[0.5])
    async with pool_over(origin) as pool:
        assert await failed_after(pool, "no answer within the time") == nearly(CALL_S)


async def test_a_call_after_a_pause_has_no_more_than_its_time():
    """The timer was set for the end of idleness, far later."""
    origin = FakeOrigin(0.0, None)
    async with pool_over(origin) as pool:
        await post(pool)
        await asyncio.sleep(IDLE_S - 1)
        assert await failed_after(pool, "no answer within the time") == nearly(CALL_S)
    assert origin.connected == 1


async def test_a_connect_is_given_up_before_the_call_is():
    """So that there is time to try another address later."""
    origin = FakeOrigin(connects=[60.0])
    async with pool_over(origin) as pool:
        assert await failed_after(pool, "no connection to dynamodb.example within 1 s") == nearly(CONNECT_S)
        await post(pool)


async def test_waiting_in_line_counts_as_part_of_the_call():
    """The permit of a call covers the time that a call may take, and no more."""
    origin = FakeOrigin(None, None)
    async with pool_over(origin) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(failed_after(pool, "no answer within the time"))
        await asyncio.sleep(1)
        assert await failed_after(pool, "no answer within the time") == nearly(CALL_S)
    assert origin.requests == 2


async def test_whose_turn_comes_too_late_is_told_at_the_deadline():
    """Nothing was sent for it: the one in front of it took all the time."""
    origin = FakeOrigin(None, None)
    async with pool_over(origin) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(failed_after(pool, "no answer within the time"))
        await asyncio.sleep(0)
        assert await failed_after(pool, "no connection") == nearly(CALL_S)
    assert origin.requests == 1


async def test_a_connection_without_work_is_closed_after_a_while():
    """Counted from its last answer."""
    origin = FakeOrigin()
    async with pool_over(origin) as pool:
        for _ in range(5):
            await post(pool)
            await asyncio.sleep(IDLE_S - 0.1)
        assert origin.closed_at == []
        await post(pool)
        idle_since = asyncio.get_running_loop().time()
        await asyncio.sleep(IDLE_S + 0.1)
        assert origin.closed_at == [nearly(idle_since + IDLE_S)]
        await post(pool)
    assert origin.connected == 2


async def test_an_old_connection_is_replaced_however_busy_it_is():
    """The endpoint's name may point elsewhere by now."""
    origin = FakeOrigin()
    began = asyncio.get_running_loop().time()
    async with pool_over(origin) as pool:
        for _ in range(int(2.5 * AGE_S)):
            await post(pool)
            await asyncio.sleep(1.001)
    assert origin.connected == 3
    assert origin.closed_at[0] == nearly(began + AGE_S)


async def test_a_connection_that_grows_old_at_work_finishes_its_answer():
    """Only then it is closed."""
    origin = FakeOrigin(0.0, *[0.0] * 29, 2.0)
    async with pool_over(origin) as pool:
        for _ in range(30):
            await post(pool)
            await asyncio.sleep(AGE_S / 30 - 0.03)
        await post(pool)
        assert len(origin.closed_at) == 1
        await post(pool)
    assert origin.connected == 2


async def test_a_timeout_on_a_connection_that_has_served_is_no_reason_to_send_again():
    """The server may be at work on it."""
    origin = FakeOrigin(0.0, None)
    async with pool_over(origin) as pool:
        await post(pool)
        assert await failed_after(pool, "no answer within the time") == nearly(CALL_S)
    assert origin.requests == 2


async def test_both_tries_of_a_request_have_the_time_of_one_call():
    """The permit was given for that long."""
    origin = FakeOrigin(0.0, b"", None, connects=[0.0, 0.9])
    async with pool_over(origin) as pool:
        await post(pool)
        assert await failed_after(pool, "no answer within the time") == nearly(CALL_S)
    assert (origin.requests, origin.connected) == (3, 2)


async def test_a_connection_that_ends_while_it_rests_is_not_used_again():
    """Even before the loop has told the pool."""
    origin = FakeOrigin()
    async with pool_over(origin) as pool:
        await post(pool)
        pool._idle[0].abort()
        await post(pool)
    assert origin.connected == 2


async def test_a_connection_that_has_ended_leaves_no_timer_behind():
    """Nor what the timer would hold on to."""
    origin = FakeOrigin()
    async with pool_over(origin) as pool:
        await post(pool)
        (connection,) = pool._idle
    assert connection._alarm._timer is None
