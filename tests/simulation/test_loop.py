"""Time that jumps, lines that stop, and runs that are the same again."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

from simulation.loop import BEGAN_S, LINE, Line, Stuck, VirtualLoop
from simulation.plays import play


@pytest.fixture
def loop():
    """A loop, closed at the end."""
    loop = VirtualLoop()
    yield loop
    loop.close()


def on(line: Line, loop: VirtualLoop, work):
    """Begin a task on a line."""
    context = copy_context()
    context.run(LINE.set, line)
    return loop.create_task(work, context=context)


async def ticks(loop: VirtualLoop, seen: list[float]) -> None:
    for _ in range(5):
        await asyncio.sleep(1.0)
        seen.append(loop.time() - BEGAN_S)


def test_time_jumps_to_what_is_due_next(loop):
    """An hour takes no time."""
    loop.run_until_complete(asyncio.sleep(3600))

    assert loop.time() == BEGAN_S + 3600


def test_a_loop_in_which_nothing_can_happen_any_more_says_so(loop):
    """Instead of waiting for ever."""
    waiting = loop.create_task(asyncio.Event().wait())
    with pytest.raises(Stuck):
        loop.run_until_complete(waiting)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(waiting)


def test_a_stopped_line_goes_on_with_what_became_due_and_others_do_not_wait(loop):
    """SIGSTOP and SIGCONT."""
    line, stopped, free = Line(), [], []
    on(line, loop, ticks(loop, stopped))
    loop.create_task(ticks(loop, free))
    loop.call_later(1.5, loop.stop_line, line)
    loop.call_later(4.25, loop.resume_line, line)
    loop.run_until_complete(asyncio.sleep(20))

    assert free == [1, 2, 3, 4, 5]
    assert stopped == [1, 4.25, 5.25, 6.25, 7.25]


def test_timers_of_a_suspended_machine_run_on_where_they_stood(loop):
    """Half a second was left of the sleep."""
    line, seen = Line(), []
    on(line, loop, ticks(loop, seen))
    loop.call_later(1.5, loop.stop_line, line)
    loop.call_later(4.25, lambda: loop.resume_line(line, timers_stood=True))
    loop.run_until_complete(asyncio.sleep(20))

    assert seen == [1, 4.75, 5.75, 6.75, 7.75]


def test_the_same_seed_is_the_same_run_in_every_process():
    """Whatever the addresses of objects are."""
    assert play("--runs", 10) == play("--runs", 10)
