"""The turn to redrive: taken, kept by a beat, given back; see `core.redrive_turn`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from headrace.core import redrive_turn
from headrace.core.identity import fresh_token
from headrace.core.redrive_turn import BEAT_S, SILENCE_S, TRUST_S
from headrace.errors import AwsError, HeadraceError, LeaseLost
from headrace.flow.persist import persist
from headrace.flow.redrive.parts import RedrivePorts
from headrace.model import Permit
from headrace.rows import Applied, Outcome, Request, Row
from headrace.tasks import all_of, is_set_within


class RedriveBusy(HeadraceError):  # noqa: N818 - it says what is the case, as its family does
    """Another redrive of the stream is at work."""


@asynccontextmanager
async def own_turn(
    ports: RedrivePorts, me: str, stop: asyncio.Event, waits: Callable[[float], None] = lambda _: None
) -> AsyncIterator[Permit]:
    """Redrive alone for as long as the block lasts; the permit tells whether a call may start, or go on.

    `me` names this process to people; two redrives of one name are still two. `waits` is told how many seconds a redrive that may have been killed is watched. Raises RedriveBusy when it lives.
    """
    turn = _Turn(ports, f"{me}-{fresh_token(ports.chance)}")
    await turn.take(stop, waits)
    async with all_of() as tasks:
        beating = tasks.create_task(turn.beat_on(), name="redrive-turn")
        try:
            yield turn.permits
        finally:
            beating.cancel()
            with suppress(AwsError):
                await turn.give_back()


class _Turn:
    def __init__(self, ports: RedrivePorts, me: str) -> None:
        self._ports = ports
        self._me = me
        self._counter = 1
        self._trusted_until = float("-inf")

    def permits(self) -> bool:
        return self._ports.clock.now() < self._trusted_until

    async def take(self, stop: asyncio.Event, waits: Callable[[float], None]) -> None:
        started = self._ports.clock.now()
        outcome = await self._apply(redrive_turn.begin(self._ports.label, self._me, self._wall_s()))
        if not isinstance(outcome, Applied) and not self._is_mine(outcome.row):
            if outcome.row is not None:
                waits(SILENCE_S)
                if await is_set_within(stop, SILENCE_S):
                    raise RedriveBusy(f"stopped while watching whether another redrive of {self._ports.stream} lives")
            started = self._ports.clock.now()
            await self._take_over(outcome.row)
        self._trusted_until = started + TRUST_S

    async def _take_over(self, seen: Row | None) -> None:
        """Raises RedriveBusy."""
        label, wall_s = self._ports.label, self._wall_s()
        request = (
            redrive_turn.begin(label, self._me, wall_s)
            if seen is None
            else redrive_turn.take_over(label, self._me, seen, wall_s)
        )
        outcome = await self._apply(request)
        if not isinstance(outcome, Applied) and not self._is_mine(outcome.row):
            since = (
                "" if seen is None else f" since {datetime.fromtimestamp(float(str(seen['since'])), UTC):%H:%M:%S} UTC"
            )
            raise RedriveBusy(
                f"another redrive of {self._ports.stream} is at work{since}: wait for its end, or stop it"
            )

    async def beat_on(self) -> None:
        """Raises LeaseLost once another redrive has taken over."""
        while True:
            await asyncio.sleep(BEAT_S)
            await self._beat()

    async def _beat(self) -> None:
        started = self._ports.clock.now()
        outcome = await self._apply(redrive_turn.beat(self._ports.label, self._me, self._counter))
        if not isinstance(outcome, Applied) and not self._is_mine(outcome.row, self._counter + 1):
            raise LeaseLost(f"another redrive of {self._ports.stream} took over, for this one stood still")
        self._counter += 1
        self._trusted_until = started + TRUST_S

    async def give_back(self) -> None:
        self._trusted_until = float("-inf")
        await self._ports.table.apply(redrive_turn.end(self._ports.label, self._me))

    def _is_mine(self, row: Row | None, counter: int = 1) -> bool:
        """Whether an earlier try applied, whose answer was lost."""
        return row is not None and row["by"] == self._me and row["hb"] == counter

    async def _apply(self, request: Request) -> Outcome:
        return await persist("redrive_turn", lambda: self._ports.table.apply(request), self._ports.chance, mendable=())

    def _wall_s(self) -> float:
        return self._ports.clock.wall().timestamp()
