"""What is remembered of a record's failed attempts: the first and the last ones."""

from __future__ import annotations

from typing import Final

from headrace.model import FailedAttempt

LONGEST: Final = 10
"""Attempts that are remembered one by one."""


def extended(log: tuple[FailedAttempt, ...], attempt: FailedAttempt) -> tuple[FailedAttempt, ...]:
    """The log with one attempt more; where it grows too long, the oldest of its later half goes."""
    half = LONGEST // 2
    return (*log[:half], *log[half:][-(half - 1) :], attempt)
