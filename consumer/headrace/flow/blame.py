"""Whose is an error that a call of the handler raised, and what does it ask for?"""

from __future__ import annotations

import asyncio

from headrace.core.verdict import AskedToReject, AskedToRetry, Failure, Raised
from headrace.errors import Reject, Retry


def is_meant_for_us(error: BaseException) -> bool:
    """Ctrl-C, or the cancellation of this very task; one that the handler let through from elsewhere is its failure."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


def failure_of(error: BaseException) -> Failure:
    """What the error asks for; any that asks for nothing is an ordinary failure."""
    match error:
        case Reject():
            return AskedToReject()
        case Retry(after=after):
            return AskedToRetry(None if after is None else after.total_seconds())
        case _:
            return Raised()
