"""The one retry loop around calls that must succeed in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from headrace.core.backoff import Backoff, delay_s
from headrace.errors import AwsError, Denied, NotFound, Retryable

log = structlog.get_logger(__name__)

T = TypeVar("T")

AWS_BACKOFF: Final = Backoff(first_s=0.05, cap_s=5.0)
"""Between tries of one AWS call."""

HOPELESS_BACKOFF: Final = Backoff(first_s=1.0, cap_s=30.0)
"""Between tries of a call that somebody must mend first: a permission, a table."""


async def persist(
    what: str,
    call: Callable[[], Awaitable[T]],
    chance: Callable[[], float],
    failed: Callable[[AwsError], None] | None = None,
    *,
    hopeless: tuple[type[AwsError], ...] = (),
    mendable: tuple[type[AwsError], ...] = (Denied, NotFound),
) -> T:
    """Call until it succeeds, with full jitter; cancellation ends it.

    What is `mendable` (a missing permission or table) is tried again too, slowly and loudly: dropping what is to be
    written is not an option, and the operator can mend it while the worker runs. Raises every other error that waiting
    cannot mend, and those that the caller calls hopeless.
    """
    attempt = 0
    caught: tuple[type[AwsError], ...] = (Retryable, *mendable)
    while True:
        try:
            return await call()
        except caught as error:
            if isinstance(error, hopeless):
                raise
            attempt += 1
            if failed is not None:
                failed(error)
            loud = not isinstance(error, Retryable)
            pause = delay_s(attempt, chance(), HOPELESS_BACKOFF if loud else AWS_BACKOFF)
            (log.error if loud else log.info)("call_failed", call=what, attempt=attempt, error=str(error))
            await asyncio.sleep(pause)
