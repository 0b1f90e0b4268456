"""Keeps one worker row moving, and with it the trust in every lease of this worker.

The table's counter is authoritative: a heartbeat is the condition `counter = what I last wrote`, so once another worker
has fenced the row no heartbeat is accepted again. Local time only says how long the last acknowledged one may be relied
on, counted from the moment its FIRST try left. A try that got no answer may have applied; the same counter is sent again
and the refusal then shows it.

It beats beside the main loop (`ports.Aside`), so that a busy handler does not hold it up, and is withheld while the main
loop stands still for too long: a worker that hangs must lose its leases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from headrace.core import lease_rows, membership
from headrace.core.backoff import Backoff, delay_s
from headrace.core.tenure import LeaseTiming, Tenure
from headrace.errors import AwsError, Fenced, Retryable
from headrace.flow.term import Trust
from headrace.model import Instant, ShardId, WorkerRow
from headrace.ports import LeaseTable, Ports
from headrace.rows import Applied, PutRow, Refused, UpdateRow

log = structlog.get_logger(__name__)

AT_ONCE = Backoff(first_s=0.02, cap_s=0.5)
"""Between tries of one heartbeat: the trust window is running."""


class Heart:
    """The heartbeat of one incarnation.

    `vitals` is asked and `asked` told from wherever the heart beats: another thread than that of the shards.
    """

    def __init__(
        self,
        worker: WorkerRow,
        ports: Ports,
        timing: LeaseTiming,
        trust: Trust,
        vitals: Callable[[], membership.Vitals],
        asked: Callable[[frozenset[ShardId]], None],
    ) -> None:
        self.last_try: Instant = ports.clock.now()
        """When the last request was sent, answered or not: shows that this loop runs."""
        self._pulse: Instant | None = None
        """When the main loop was last seen to run; None while it is the main loop itself that registers."""
        self._worker = worker
        self._me = worker.worker_id
        self._ports = ports
        self._table = ports.table
        self._timing = timing
        self._trust = trust
        self._vitals = vitals
        self._asked = asked
        self._counter = 0

    async def register(self) -> None:
        """Make this incarnation's row. Raises Fenced when it was declared dead meanwhile."""
        await self._send(membership.register(self._worker), 1)
        self._pulse = self._ports.clock.now()
        log.info("worker_registered", worker=self._me)

    async def feel_pulse(self) -> None:
        """For ever, on the main loop: note that it runs."""
        pause_s = self._timing.longest_stall_s / 5
        while True:
            felt = self._pulse = self._ports.clock.now()
            await asyncio.sleep(pause_s)
            self._ports.observer.loop_delayed(max(0.0, self._ports.clock.now() - felt - pause_s))

    async def run(self, table: LeaseTable) -> None:
        """Beat for ever, at a fixed cadence, through `table`. Raises Fenced."""
        self._table = table
        due = self._ports.clock.now()
        while True:
            due = Instant(max(due + self._timing.heartbeat_period_s, self._ports.clock.now()))
            await asyncio.sleep(due - self._ports.clock.now())
            await self.beat()

    async def beat(self) -> None:
        """One heartbeat, tried until it is acknowledged. Raises Fenced."""
        if not self._withheld():
            await self._send(membership.heartbeat(self._me, self._counter, self._vitals()), self._counter + 1)

    def _withheld(self) -> bool:
        if self._pulse is None:
            return False
        stalled_s = self._ports.clock.now() - self._pulse
        if stalled_s <= self._timing.longest_stall_s:
            return False
        log.warning("heartbeat_withheld", worker=self._me, loop_stalled_s=round(stalled_s, 3))
        return True

    async def _send(self, request: PutRow | UpdateRow, counter: int) -> None:
        started, started_wall_s = self._ports.clock.now(), self._ports.clock.wall().timestamp()
        attempt = 0
        while not await self._acknowledged(request, counter):
            attempt += 1
            await asyncio.sleep(delay_s(attempt, self._ports.chance(), AT_ONCE))
        self._counter = counter
        self._trust.renew(Tenure(counter, started, started_wall_s, self._timing.trust_window_s))
        self._ports.observer.heartbeat_sent(self._ports.clock.now() - started)

    async def _acknowledged(self, request: PutRow | UpdateRow, counter: int) -> bool:
        if self._withheld():
            return False
        self.last_try = self._ports.clock.now()
        try:
            async with asyncio.timeout(self._timing.heartbeat_period_s):
                outcome = await self._table.apply(request)
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
                if lease_rows.shows_heartbeat(row, counter, membership.ALIVE):
                    return True
                self._trust.drop()
                raise Fenced(f"worker {self._me} was declared dead at heartbeat {counter}")
