"""How far all shards of a worker may be ahead of the sink."""

from __future__ import annotations

import asyncio

import pytest

from headrace.flow.in_flight import InFlight

pytestmark = pytest.mark.looptime


async def test_a_shard_with_something_under_way_waits_for_room():
    """And goes on as soon as there is some."""
    in_flight = InFlight(100)
    await in_flight.reserve(100, lambda: True)
    waiting = asyncio.ensure_future(in_flight.reserve(50, lambda: True))
    await asyncio.sleep(10)
    assert not waiting.done()
    in_flight.release(1)
    await asyncio.wait_for(waiting, 1)


async def test_a_shard_with_nothing_under_way_never_waits():
    """However much its neighbours hold."""
    in_flight = InFlight(100)
    await in_flight.reserve(1000, lambda: False)

    await asyncio.wait_for(in_flight.reserve(100, lambda: False), 1)


async def test_a_shard_whose_last_write_was_settled_while_it_waited_goes_on():
    """It has nothing under way any more, though there is still no room."""
    in_flight, under_way = InFlight(10), [1]
    await in_flight.reserve(100, lambda: False)
    waiting = asyncio.ensure_future(in_flight.reserve(10, lambda: bool(under_way)))
    await asyncio.sleep(1)
    under_way.clear()
    in_flight.release(1)

    await asyncio.wait_for(waiting, 1)
