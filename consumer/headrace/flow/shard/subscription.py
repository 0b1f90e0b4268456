"""When a shard is read by subscription and when by polling: the life of one shard's enhanced fan-out.

A subscription is tried for first. Whatever ends it before its time (another one within the last 5 s, an outage, a missing
right) costs a pause in which the shard is polled, so that a takeover waits for nobody; the pause grows while it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from headrace.core.backoff import Backoff, delay_s
from headrace.errors import AwsError, Denied, SubscriptionTaken, Throttled
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import AtTimestamp, Checkpoint, Instant, Page, TrimHorizon
from headrace.ports import FanOut

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 10.0
"""A subscription whose page finds no room for so long is closed: its connection would hold what nobody reads."""

RENEW_AFTER_S: Final = 290.0
"""The service ends a subscription after 5 minutes (SubscribeToShard, API reference). It is renewed with the last event
before that, which come about every 5 s: how the service ends it need not be told from an outage."""

FIRM_S: Final = 30.0
"""A subscription that lived so long was a good one: what ends it is no repetition of earlier trouble."""

TRY_EACH_S: Final = 1.0
"""SubscribeToShard may be called once a second for a consumer and a shard (API reference)."""

BACKOFF: Final = Backoff(1.0, 30.0)
"""Before the next try, beyond `TRY_EACH_S`; a shard is polled meanwhile."""


class Subscription:
    """One shard's. `accept` takes a page in once there is room for it."""

    def __init__(self, term: Term, place: Workplace, accept: Callable[[Page, float], Awaitable[None]]) -> None:
        self._shard = term.lease.shard_id
        self._permits = term.permits
        self._ports = place.ports
        self._accept = accept
        self._next_try: Instant | None = None
        self._began: Instant = place.ports.clock.now()
        self._failures = 0
        self._is_told = False

    @property
    def is_due(self) -> bool:
        """Whether to subscribe now rather than to poll.

        Without trust in the lease never: it would end the subscription of a new owner.
        """
        fan_out = self._ports.fan_out
        if fan_out is None or not fan_out.is_open or not self._permits():
            return False
        return self._next_try is None or self._ports.clock.now() >= self._next_try

    async def read(
        self, after: Checkpoint | TrimHorizon | AtTimestamp, may_go_on: Callable[[], bool], room: asyncio.Event
    ) -> bool:
        """Read until the subscription ends, is given up, or fails; True once the end of the shard has been read."""
        self._began = self._ports.clock.now()
        if (fan_out := self._ports.fan_out) is None:
            return False
        try:
            return await self._pages(fan_out, after, may_go_on, room)
        except AwsError as error:
            self._failed(error)
            return False

    async def _pages(
        self,
        fan_out: FanOut,
        after: Checkpoint | TrimHorizon | AtTimestamp,
        may_go_on: Callable[[], bool],
        room: asyncio.Event,
    ) -> bool:
        async with fan_out.subscribe(self._shard, after) as pages:
            self._begun()
            asked_at_s = self._wall_s()
            async for page in pages:
                if not (may_go_on() and self._permits()):
                    return False
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        await room.wait()
                        await self._accept(page, asked_at_s)
                except TimeoutError:
                    self._crowded_out()
                    return False
                if page.next_iterator is None:
                    return True
                if self._ports.clock.now() - self._began >= RENEW_AFTER_S:
                    break
                asked_at_s = self._wall_s()
        self._ended()
        return False

    def _begun(self) -> None:
        self._next_try = Instant(self._ports.clock.now() + TRY_EACH_S)
        if self._is_told:
            log.info("subscription_resumed", shard=self._shard)
            self._is_told = False

    def _ended(self) -> None:
        """It is to be renewed, or the service ended it: at once, unless it was so short that the next would be refused."""
        if self._ports.clock.now() - self._began >= FIRM_S:
            self._failures = 0
            self._next_try = None
        else:
            self._pause()

    def _crowded_out(self) -> None:
        log.info("subscription_dropped", shard=self._shard, waited_s=PATIENCE_S)
        self._pause()

    def _failed(self, error: AwsError) -> None:
        self._pause()
        if isinstance(error, SubscriptionTaken):
            log.info("subscription_taken", shard=self._shard, error=str(error))
            return
        reason = "throttled" if isinstance(error, Throttled) else "error"
        self._ports.observer.fetch_failed(self._shard, reason)
        if not self._is_told:
            tell = log.error if isinstance(error, Denied) else log.warning
            tell("subscription_failed", shard=self._shard, error=str(error), meanwhile="polling", needs=_needs(error))
            self._is_told = True

    def _pause(self) -> None:
        now = self._ports.clock.now()
        self._failures = 1 if now - self._began >= FIRM_S else self._failures + 1
        pause = TRY_EACH_S + delay_s(self._failures, self._ports.chance(), BACKOFF)
        self._next_try = Instant(now + pause)

    def _wall_s(self) -> float:
        return self._ports.clock.wall().timestamp()


def _needs(error: AwsError) -> str | None:
    return "kinesis:SubscribeToShard on the stream consumer" if isinstance(error, Denied) else None
