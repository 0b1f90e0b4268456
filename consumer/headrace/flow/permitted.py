"""User code that may go on only while something is permitted: a lease that is trusted, the turn to redrive.

What a handler writes by itself nobody can fence, so its call ends with the permit: an `async def` is cancelled, a process is
killed, before another one may start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from headrace.errors import CallFailed, LeaseLost
from headrace.flow.handler_errors import Told
from headrace.model import Permit
from headrace.tasks import all_of

T = TypeVar("T")


async def while_permitted(work: Awaitable[T], permit: Permit, look_s: float, name: str) -> T:
    """What the work gives; the permit is looked at every `look_s` seconds. Raises LeaseLost, and what the work raises."""
    async with all_of() as tasks:
        calling = tasks.create_task(_run(work), name=name)
        while not (await asyncio.wait([calling], timeout=look_s))[0]:
            if not permit():
                raise LeaseLost(f"{name}: it was permitted no longer")
    return calling.result()


async def _run(work: Awaitable[T]) -> T:
    try:
        return await work
    except SystemExit as error:  # raised in a task it would end the loop
        told = Told.of(error)
        raise CallFailed(told.error, told.message, told.traceback) from error
