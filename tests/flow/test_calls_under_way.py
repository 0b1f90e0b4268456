"""A lease that was lost while a call to the sink is under way: nobody else may write before that call has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from flow.fleet import TIMING, Fleet, Member, fleet, put_item
from flow.test_leases import held

from headrace.errors import LeaseLost
from headrace.model import Record
from headrace.rows import UpdateRow

pytestmark = pytest.mark.looptime

JUST_IN_TIME_S = TIMING.trust_window_s - TIMING.call_timeout_s - 0.1
"""After the start of the last heartbeat, a call may still begin."""


@dataclass
class SlowSink:
    """One worker's way to the serving table; a call asks for its permit at once and arrives after `way_s`."""

    who: str
    arrived: list[tuple[float, str]]
    """When calls arrived, and whose: the same list for all."""
    way_s: float = 0.01
    begun: list[float] = field(default_factory=list)

    def submit(self, writes: Sequence[Any], permit: Any, order: Any = None) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        if permit():
            self.begun.append(loop.time())
            loop.call_later(self.way_s, self._arrive, answer)
        else:
            answer.set_exception(LeaseLost("no permit"))
        return answer

    async def calls_ended(self, permit: Any) -> None:
        """Only asked here when all is answered."""

    def _arrive(self, answer: asyncio.Future[Any]) -> None:
        self.arrived.append((asyncio.get_running_loop().time(), self.who))
        if not answer.done():
            answer.set_result({})


@dataclass
class Silence:
    """Cuts a worker off from the table right after a heartbeat."""

    beaten_at: float = 0.0
    is_cut: bool = False

    def __call__(self, request: Any) -> str | None:
        if self.is_cut:
            return "lost"
        if isinstance(request, UpdateRow) and "hb" in request.assign:
            self.beaten_at = asyncio.get_running_loop().time()
        return None


@dataclass
class Case:
    """`a` has lost its only lease, and a call of it is under way; `b` is there."""

    f: Fleet
    a: Member
    arrived: list[tuple[float, str]]

    @property
    def writers(self) -> str:
        """In the order in which their calls arrived, each once for all of its calls in a row."""
        whose = [who for _, who in sorted(self.arrived)]
        return "".join(who for who, before in zip(whose, ["", *whose], strict=False) if who != before)


def once(handle: Callable[[Record], Any]) -> Callable[[Record], Any]:
    """A handler that wants nothing written for what it has seen before."""
    seen: set[int] = set()

    def call(record: Record) -> Any:
        is_new = record.sequence_number not in seen
        seen.add(record.sequence_number)
        return handle(record) if is_new else None

    return call


async def lose_with_a_call_under_way(f: Fleet) -> Case:
    """The call began in the last moment in which it might, and takes as long as it may; then the trust ran out."""
    arrived: list[tuple[float, str]] = []
    f.sink = sink = SlowSink("a", arrived)
    a = f.start("a", once(put_item))
    a.link.fault = silence = Silence()
    await f.until(lambda: held(f) == {"a": 1})
    f.sink = SlowSink("b", arrived)
    f.start("b")
    await asyncio.sleep(5)
    beaten = silence.beaten_at
    await f.until(lambda: silence.beaten_at != beaten)
    silence.is_cut = True
    await asyncio.sleep(JUST_IN_TIME_S)
    sink.way_s = TIMING.call_timeout_s
    f.put(1)
    await f.until(lambda: sink.begun)
    await f.until(lambda: not a.worker.incarnation.trust.permits())
    f.put(1)
    await f.until(lambda: a.observer.named("lease_changed")[-1][1] == "lost", within_s=2)
    assert arrived == []
    silence.is_cut = False
    sink.way_s = 0.01
    return Case(f, a, arrived)


async def test_a_worker_that_stops_says_goodbye_only_once_the_last_call_of_a_lost_lease_has_ended():
    """Others take the leases of a worker that left without waiting for its silence."""
    async with fleet() as f:
        case = await lose_with_a_call_under_way(f)
        case.a.stop.set()
        await f.until(lambda: held(f) == {"b": 1})
        await f.until(f.last_checkpoints_reached)

        assert f.states() == {"a": "left", "b": "live"}
        assert case.writers == "ab"


async def test_a_lease_that_was_lost_is_adopted_only_once_the_last_call_of_before_has_ended():
    """The new term may have nothing to write, and would pass the lease on while the old one's call is under way."""
    async with fleet() as f:
        case = await lose_with_a_call_under_way(f)
        await f.until(lambda: [lease.epoch for lease in f.leases().values()] == [2])
        case.a.stop.set()
        await f.until(lambda: held(f) == {"b": 1})
        f.put(1)
        await f.until(f.last_checkpoints_reached)

        assert case.a.observer.named("worker_fenced") == []
        assert case.writers == "ab"


async def test_an_idle_lease_whose_trust_ran_out_is_adopted_as_soon_as_the_table_answers():
    """No call can be under way past the trust in which it began: nobody waits for nothing."""
    async with fleet() as f:
        a = f.start("a")
        await f.until(lambda: held(f) == {"a": 1})
        a.link.fault = lambda _: "lost"
        await asyncio.sleep(30)
        f.put(1)
        await f.until(lambda: a.observer.named("lease_changed")[-1][1] == "lost", within_s=2)
        a.link.fault = lambda _: None
        answers_at = f.clock.now()
        await f.until(f.all_written)

        assert f.clock.now() - answers_at < TIMING.call_timeout_s
