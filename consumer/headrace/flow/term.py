"""The right to act: the worker's trust in its own heartbeat, and one lease under one epoch."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from headrace.core.tenure import CLOCK_RATE_ERROR, LeaseTiming, Tenure
from headrace.errors import LeaseLost
from headrace.model import Instant, Lease
from headrace.ports import Clock, Sink


class Trust:
    """The worker's own trust, moved forward by its heartbeat and asked before every write to sink or dead letters.

    Writes to the lease table need none: each carries the condition that makes it safe.
    """

    def __init__(self, clock: Clock, timing: LeaseTiming) -> None:
        self._clock = clock
        self._timing = timing
        self._tenure: Tenure | None = None

    def renew(self, tenure: Tenure) -> None:
        """A heartbeat was acknowledged."""
        self._tenure = tenure

    def drop(self) -> None:
        """Another worker may own the leases from here on."""
        self._tenure = None

    def permits(self) -> bool:
        """Whether a call of the longest allowed duration may start now."""
        tenure, clock = self._tenure, self._clock
        if tenure is None:
            return False
        return tenure.permits(clock.now(), clock.wall().timestamp(), self._timing.call_timeout_s)

    async def calls_ended(self) -> None:
        """Wait until no call can be under way that began before: it ends in time, and within the trust that it began in."""
        await asyncio.sleep(self.longest_call_s())

    def longest_call_s(self) -> float:
        """What a call that began before may take from now on.

        Timers may run faster than the clock by as much as any two clocks.
        """
        clock = self._clock
        until = Instant(clock.now() + self._timing.call_timeout_s)
        if self._tenure is not None:
            until = min(until, self._tenure.trusted_until)
        return max(0.0, until - clock.now()) / (1 - CLOCK_RATE_ERROR)


class Term:
    """One lease in this worker's hands, under one epoch."""

    def __init__(self, lease: Lease, trust: Trust) -> None:
        self.lease = lease
        self._trust = trust
        self._over = False

    @property
    def epoch(self) -> int:
        """The fencing token of every write."""
        return self.lease.epoch

    def end(self) -> None:
        """Give up the right to act, before the write that passes the lease on is sent, or because it was lost."""
        self._over = True

    async def calls_ended(self) -> None:
        """Once the term is over: wait until none of its calls can be under way, so that another worker may write."""
        await self._trust.calls_ended()

    async def writes_ended(self, sink: Sink) -> None:
        """Likewise where handlers have ended, and only writes may be under way: as soon as the last one was answered."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._trust.longest_call_s()):
                await sink.calls_ended(self.permits)

    def insist(self) -> None:
        """Raise LeaseLost unless a call under this lease may start now."""
        if not self.permits():
            raise LeaseLost(f"{self.lease.shard_id}: the lease is no longer trusted")

    def permits(self) -> bool:
        """Whether a call under this lease may start now."""
        return not self._over and self._trust.permits()
