"""Without one of the rules that end an owner's trust before anybody else begins."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from headrace.core import tenure
from headrace.core.backoff import delay_s
from headrace.core.tenure import Tenure
from headrace.flow.leasing import heartbeat
from headrace.flow.leasing.coordinator import Coordinator
from headrace.flow.leasing.heartbeat import Heart
from headrace.flow.term import Term, Trust
from headrace.model import Instant
from simulation.faults import silence_in_slowness, slow_sink
from simulation.mutation import noticed
from simulation.operators import seek
from simulation.patching import patch
from simulation.process import ProcessClock


@noticed(321, "S3")
def margin_between_trust_and_lease() -> None:
    """The owner trusts for as long as the observer waits, whatever their clocks."""

    def longest_trust_window(duration_s: float) -> float:
        return duration_s

    patch(tenure, "longest_trust_window", longest_trust_window)


@noticed(123, "S3")
def anchor_at_the_start_of_a_heartbeat() -> None:
    """Trust counts from the moment the answer came."""

    def renew(self: Any, tenure: Any) -> None:
        self._tenure = replace(tenure, anchor=self._clock.now(), anchor_wall_s=self._clock.wall().timestamp())

    patch(Trust, "renew", renew)


@noticed(46, "S3")
def anchor_at_the_first_try_of_a_heartbeat() -> None:
    """Trust counts from the try that was answered, though an earlier one may be the one that applied."""

    async def _send(self: Any, request: Any, counter: int) -> None:
        attempt, clock = 0, self._ports.clock
        started, wall_s = clock.now(), clock.wall().timestamp()
        while not await self._acknowledged(request, counter):
            attempt += 1
            await asyncio.sleep(delay_s(attempt, self._ports.chance(), heartbeat.AT_ONCE))
            started, wall_s = clock.now(), clock.wall().timestamp()
        self._counter = counter
        self._trust.renew(Tenure(counter, started, wall_s, self._timing.trust_window_s))

    patch(Heart, "_send", _send)


@noticed(5, "S3", silence_in_slowness)
def an_observer_counts_from_the_answer_it_received() -> None:
    """It counts from the moment at which it asked: the heartbeat that it saw may have begun after that."""
    original = Coordinator._read_workers

    async def _read_workers(self: Any) -> None:
        before, asked = self._view.watch, self._ports.clock.now()
        await original(self)
        self._view.watch = before.observe(self._view.workers.values(), asked, self._longest_gap_s)

    patch(Coordinator, "_read_workers", _read_workers)


@noticed(24, "S3")
def calls_must_end_within_the_trust() -> None:
    """A call may start in the last moment of the trust."""
    original = Tenure.permits

    def permits(self: Any, now: Instant, wall_s: float, call_timeout_s: float) -> bool:
        return original(self, now, wall_s, 0.0)

    patch(Tenure, "permits", permits)


@noticed(1, "S3")
def writes_need_a_permit() -> None:
    """Whoever holds a lease writes to the sink."""

    def permits(self: Any) -> bool:
        return True

    patch(Term, "permits", permits)


@noticed(4, "S3")
def the_clock_counts_suspension() -> None:
    """A stopped machine's clock stands still, and nobody compares it with the time of day."""

    def counts_suspension(self: Any) -> bool:
        return False

    patch(ProcessClock, "counts_suspension", counts_suspension)
    clocks_must_agree()


@noticed(17, "S3")
def clocks_must_agree() -> None:
    """Nobody compares the clock with the time of day."""

    def permits(self: Any, now: Instant, wall_s: float, call_timeout_s: float) -> bool:
        return now + call_timeout_s <= self.trusted_until

    patch(Tenure, "permits", permits)


@noticed(31, "S3")
def short_stops_of_the_clock_count() -> None:
    """What is too short to tell from a slewed clock is added to the trust."""

    def permits(self: Any, now: Instant, wall_s: float, call_timeout_s: float) -> bool:
        drift_s = (wall_s - self.anchor_wall_s) - (now - self.anchor)
        return abs(drift_s) <= tenure.CLOCKS_AGREE_S and now + call_timeout_s <= self.trusted_until

    patch(Tenure, "permits", permits)


@noticed(6, "hang")
def whoever_hangs_loses_its_leases() -> None:
    """The heart beats on while the main loop stands still."""

    def _withheld(self: Any) -> bool:
        return False

    patch(Heart, "_withheld", _withheld)


@noticed(4, "S3")
def a_lease_is_kept_until_its_calls_have_ended() -> None:
    """What was lost, or took too long to finish, goes on to the next while a call may be under way."""

    async def calls_ended(self: Any) -> None:
        pass

    patch(Trust, "calls_ended", calls_ended)


@noticed(1, "S3", seek, slow_sink)
def a_shard_put_elsewhere_is_adopted_when_its_writes_were_answered() -> None:
    """Its owner goes on under a new epoch while a write of the last one is under way."""

    async def writes_ended(self: Any, sink: Any) -> None:
        pass

    patch(Term, "writes_ended", writes_ended)
