"""Keeps one worker row moving, and with it the trust in every lease of this worker.

The table's counter is authoritative: a heartbeat is the condition `counter = what I last wrote`, so once another worker
has fenced the row no heartbeat is accepted again. Local time only says how long the last acknowledged one may be relied
on, counted from the moment its FIRST try left. A try that got no answer may have applied; the same counter is sent again
and the refusal then shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from headrace import __version__
from headrace.core import lease_rows, leases
from headrace.core.backoff import Backoff, delay_s
from headrace.core.tenure import LeaseTiming, Tenure
from headrace.errors import AwsError, Fenced, Retryable
from headrace.flow.term import Trust
from headrace.model import Instant, ShardId, WorkerId
from headrace.ports import Ports
from headrace.rows import Applied, PutRow, Refused, UpdateRow

log = structlog.get_logger(__name__)

AT_ONCE = Backoff(first_s=0.02, cap_s=0.5)
"""Between tries of one heartbeat: the trust window is running."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a heartbeat tells the others, and which requests it clears because they were heard."""

    state: str
    held: int
    generation: int
    heard: frozenset[ShardId] = frozenset()


class Heart:
    """The heartbeat of one incarnation."""

    def __init__(
        self,
        me: WorkerId,
        ports: Ports,
        timing: LeaseTiming,
        trust: Trust,
        vitals: Callable[[], Vitals],
        asked: Callable[[frozenset[ShardId]], None],
    ) -> None:
        self._me = me
        self._ports = ports
        self._timing = timing
        self._trust = trust
        self._vitals = vitals
        self._asked = asked
        self._counter = 0
        self.last_try: Instant = ports.clock.now()
        """When the last request was sent, answered or not: shows that this loop runs."""

    async def register(self, name: str) -> None:
        """Make this incarnation's row. Raises Fenced when it was declared dead meanwhile."""
        await self._send(leases.register(self._me, name, __version__), 1)
        log.info("worker_registered", worker=self._me)

    async def run(self) -> None:
        """Beat for ever, at a fixed cadence. Raises Fenced."""
        due = self._ports.clock.now()
        while True:
            due = Instant(max(due + self._timing.heartbeat_period_s, self._ports.clock.now()))
            await asyncio.sleep(due - self._ports.clock.now())
            await self.beat()

    async def beat(self) -> None:
        """One heartbeat, tried until it is acknowledged. Raises Fenced."""
        vitals = self._vitals()
        request = leases.heartbeat(
            self._me,
            self._counter,
            state=vitals.state,
            held=vitals.held,
            generation=vitals.generation,
            heard=vitals.heard,
        )
        await self._send(request, self._counter + 1)

    async def _send(self, request: PutRow | UpdateRow, counter: int) -> None:
        started = self._ports.clock.now()
        attempt = 0
        while not await self._acknowledged(request, counter):
            attempt += 1
            await asyncio.sleep(delay_s(attempt, self._ports.chance(), AT_ONCE))
        self._counter = counter
        self._trust.renew(Tenure(counter, started, self._timing.trust_window_s))
        self._ports.observer.heartbeat_sent(self._ports.clock.now() - started)

    async def _acknowledged(self, request: PutRow | UpdateRow, counter: int) -> bool:
        self.last_try = self._ports.clock.now()
        try:
            async with asyncio.timeout(self._timing.heartbeat_period_s):
                outcome = await self._ports.table.apply(request)
        except (Retryable, TimeoutError) as error:
            log.warning("heartbeat_unanswered", worker=self._me, counter=counter, error=str(error) or "no answer")
            return False
        except AwsError as error:
            log.error("heartbeat_refused", worker=self._me, counter=counter, error=str(error))  # noqa: TRY400 - one line
            return False
        match outcome:
            case Applied(row):
                self._asked(lease_rows.asked_for(row))
                return True
            case Refused(row):
                if lease_rows.shows_heartbeat(row, counter, leases.ALIVE):
                    return True
                self._trust.drop()
                raise Fenced(f"worker {self._me} was declared dead at heartbeat {counter}")
