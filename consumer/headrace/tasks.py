"""TaskGroup as it is meant to be, on every Python that headrace runs on, and work that a stop may end.

Before Python 3.13 a group whose child fails after the body has ended leaves a cancellation request on the parent task
behind. Nothing happens at first; on Python up to 3.11.2 the next `asyncio.timeout` of that task then ends it as cancelled,
without a word. And a group whose children fail just when its own task is cancelled from outside raises what they raised and
forgets the cancellation: a call that is tried for ever would be tried for ever after.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final

NEEDS_MENDING: Final = sys.version_info < (3, 13)

TICK_S: Final = 0.001
"""A timer may fire a hair before its time, and a loop of shorter waits would hold the processor."""


class TaskGroup(asyncio.TaskGroup):
    """Takes back the cancellation request that it made itself, and keeps that of others, where Python does not."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the children, as ever."""
        group: Any = self
        asked_before = NEEDS_MENDING and group._parent_cancel_requested  # noqa: SLF001 - of versions that are frozen
        failed = False
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup:
            failed = NEEDS_MENDING
            raise
        finally:
            if NEEDS_MENDING and group._parent_cancel_requested and not asked_before:  # noqa: SLF001 - likewise
                group._parent_task.uncancel()  # noqa: SLF001 - likewise
            if failed:
                _cancel_again(group._parent_task)  # noqa: SLF001 - likewise


def _cancel_again(task: asyncio.Task[Any]) -> None:
    """Its next await raises CancelledError, if somebody outside asked for that; so does Python from 3.13 on."""
    if task.cancelling():
        task.uncancel()
        task.cancel()


@asynccontextmanager
async def all_of() -> AsyncIterator[TaskGroup]:
    """A group of calls of one kind: what the first of them raised is raised as it is, not as a group."""
    try:
        async with TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None], name: str) -> bool:
    """Do something that may take for ever; False when a stop was asked for first."""
    async with all_of() as tasks:
        working = tasks.create_task(work, name=name)
        stopping = tasks.create_task(stop.wait(), name=f"{name}-stop")
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (working, stopping):
            task.cancel()
    return not working.cancelled()


async def is_set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for the event, for so long at most; no wait is shorter than TICK_S, and None waits for ever."""
    try:
        async with asyncio.timeout(None if seconds is None else max(seconds, TICK_S)):
            return await event.wait()
    except TimeoutError:
        return False
