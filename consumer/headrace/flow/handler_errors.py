"""Whose is an error that a call of the handler raised, what does it ask for, and how is it told?"""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass
from typing import Final

from headrace.core.verdict import AskedToReject, AskedToRetry, Failure, Raised
from headrace.errors import CallFailed, Reject, Retry

LONGEST_MESSAGE: Final = 4096
"""Characters of an error's text that are kept."""

LONGEST_TRACEBACK: Final = 8192
"""Characters of a traceback that are kept, the last ones."""


@dataclass(frozen=True, slots=True)
class Told:
    """An error in words, for a dead letter: its class, its text and where it was raised. May quote the user's data."""

    error: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Told:
        """What an error says. A Reject's own text stands for itself; one from another process is told as it was there."""
        if isinstance(error, CallFailed):
            return cls(error.error, error.message[:LONGEST_MESSAGE], error.traceback[-LONGEST_TRACEBACK:])
        trace = "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:]
        return cls(type(error).__name__, _text(error)[:LONGEST_MESSAGE], trace)


def let_through(error: BaseException) -> None:
    """Raise what is not the handler's to answer for: Ctrl-C, and the end of this very task, whatever it made of that.

    A cancellation that came from elsewhere is its failure like any other.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling() > 0:
        raise asyncio.CancelledError from error
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        raise error


def failure_of(error: BaseException) -> Failure:
    """What the error asks for; any that asks for nothing is an ordinary failure."""
    match error:
        case Reject():
            return AskedToReject()
        case Retry(after=after):
            return AskedToRetry(None if after is None else after.total_seconds())
        case _:
            return Raised()


def _text(error: BaseException) -> str:
    try:
        return error.reason if isinstance(error, Reject) else str(error)
    except Exception as unspeakable:  # noqa: BLE001 - an exception class of the user's may fail at this too
        return f"its text cannot be had: {type(unspeakable).__name__}"
