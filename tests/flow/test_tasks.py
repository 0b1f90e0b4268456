"""Task groups on every Python."""

from __future__ import annotations

import asyncio

import pytest

from headrace.tasks import TaskGroup

pytestmark = pytest.mark.looptime


async def test_a_child_that_fails_after_the_body_leaves_no_cancellation_behind():
    """Else the next timeout of this task ends it in silence (Python up to 3.11.2; found by the simulation)."""

    async def fail():
        await asyncio.sleep(1)
        raise ValueError("late")

    with pytest.raises(BaseExceptionGroup):
        async with TaskGroup() as tasks:
            tasks.create_task(fail())

    assert asyncio.current_task().cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await asyncio.sleep(5)


async def test_a_cancellation_that_comes_while_the_children_fail_is_not_forgotten():
    """Else a call that is tried until it succeeds goes on after its worker was fenced (found by the simulation)."""
    tries = []

    async def fail():
        try:
            await asyncio.sleep(10)
        finally:
            raise ConnectionError("closed")

    async def try_again_and_again():
        for number in range(5):
            tries.append(number)
            try:
                async with TaskGroup() as tasks:
                    tasks.create_task(fail())
            except BaseExceptionGroup:
                await asyncio.sleep(0.1)

    trying = asyncio.create_task(try_again_and_again())
    await asyncio.sleep(1)
    trying.cancel()
    await asyncio.wait([trying])

    assert (trying.cancelled(), len(tries)) == (True, 1)
