"""Sends records at a pace: one task makes them when they are due, a few senders carry them, a call each at a time.

    due ▸ make ▸ outbox ▸ take ▸ PutRecords ▸ ledger ▸ acknowledge
                    ▲                 │
                    └── give back ◂───┘  after a wait, what was refused

Nothing here is done per record but moving it: a call and a wake-up serve up to 500, and ten times as many in aggregates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple, Protocol, TypeAlias

import structlog

from headrace.core.backoff import Backoff, delay_s
from headrace.errors import Retryable
from headrace.tasks import TaskGroup
from headrace_producer.outbox import PLAIN, CallRules, Outbox
from headrace_producer.pace import Pace
from headrace_producer.workload import Draft

IN_FLIGHT: Final = 8
"""Calls at once: 4,000 records in flight are 100,000 records/s at a round trip of 40 ms."""

PARTIAL_IN_FLIGHT: Final = 2
"""While as many calls are under way, a call that is not full waits for more: a call costs as much as 50 records."""

BACKLOG: Final = 20_000
"""Most records made and not sent: past it making waits, and memory stays bounded while the stream is slow."""

AT_ONCE: Final = 1_000
"""Most records made in one go: some 10 ms, so that calls in flight are never kept waiting for long."""

RULES: Final = Backoff(first_s=0.05, cap_s=5.0)
"""Throttling of a shard is over within a second; an outage is asked after every few seconds."""


log = structlog.get_logger(__name__)


class Placed(NamedTuple):
    """Where the stream put a record. The sequence number stays the text that came: some servers pad it.

    `sub` counts from 0 within an aggregate and is -1 for a plain record.
    """

    shard: str
    sequence_text: str
    sub: int = -1


Answer: TypeAlias = Placed | str
"""What became of one record: its place, or the code of the error."""


class Writer(Protocol):
    """One PutRecords call."""

    async def put(self, drafts: Sequence[Draft]) -> Sequence[Answer]:
        """An answer for each record, in their order. Raises Throttled, Unavailable, Denied, NotFound, Rejected."""


class Keeper(Protocol):
    """Whoever must know what was acknowledged, before it is counted."""

    def record(self, acknowledged: Sequence[tuple[Draft, Placed]]) -> None:
        """Keep them."""


@dataclass(slots=True)
class Tally:
    """What happened so far. `latencies_s` has one entry for each call that was answered."""

    records: int = 0
    size: int = 0
    poison: int = 0
    retries: int = 0
    latencies_s: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0

    def count(self, drafts: Sequence[Draft]) -> None:
        """Add acknowledged records."""
        self.records += len(drafts)
        self.size += sum(len(draft.data) for draft in drafts)
        self.poison += sum(draft.poison for draft in drafts)

    def percentile_s(self, share: float) -> float:
        """The latency that this share of the calls did not exceed; 0 without calls."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Production:
    """One run of the producer."""

    def __init__(
        self,
        source: Iterator[Draft],
        writer: Writer,
        keeper: Keeper,
        *,
        pace: Pace,
        chance: Callable[[], float],
        rules: CallRules = PLAIN,
    ) -> None:
        self.tally = Tally()
        self._source = source
        self._writer = writer
        self._keeper = keeper
        self._pace = pace
        self._chance = chance
        self._outbox = Outbox(rules)
        self._in_flight = 0
        self._news = asyncio.Condition()
        self._made_all = False
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Make and start nothing more; calls in flight are waited for, and what they acknowledge is counted."""
        self._stop.set()

    async def run(self) -> None:
        """Until the pace ends and every record is acknowledged, or until stopped.

        Raises what trying again does not mend: Denied, NotFound, Rejected, AwsError, or the ledger's OSError.
        """
        started = _now()
        try:
            async with TaskGroup() as tasks:
                tasks.create_task(self._make(started), name="make")
                for number in range(IN_FLIGHT):
                    tasks.create_task(self._send(), name=f"send-{number}")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self.tally.elapsed_s = _now() - started

    async def _make(self, started: float) -> None:
        made = 0
        while not (self._stop.is_set() or self._pace.ended(_now() - started, made)):
            due = self._pace.due(_now() - started, made, room=min(AT_ONCE, BACKLOG - len(self._outbox)))
            made += due
            self._outbox.add(islice(self._source, due))
            await self._wake()
            await self._sleep(0.0 if due == AT_ONCE else self._pace.until_tick_s(_now() - started))
        self._made_all = True
        await self._wake()

    async def _send(self) -> None:
        failures = 0
        while drafts := await self._next():
            refused = await self._call(drafts)
            failures = failures + 1 if refused else 0
            if refused:
                await self._sleep(delay_s(failures, self._chance(), RULES))
                self._outbox.give_back(refused)
            await self._wake()

    async def _next(self) -> list[Draft]:
        """What to send now; nothing once there will be nothing more."""
        async with self._news:
            await self._news.wait_for(lambda: self._may_send or self._is_over)
        return [] if self._is_over else self._outbox.take()

    @property
    def _may_send(self) -> bool:
        return self._outbox.fills_a_call or (self._outbox.is_ready and self._in_flight < PARTIAL_IN_FLIGHT)

    @property
    def _is_over(self) -> bool:
        return self._stop.is_set() or (self._made_all and self._outbox.is_empty)

    async def _call(self, drafts: list[Draft]) -> list[Draft]:
        """One call; gives back what the stream did not take."""
        began = _now()
        self._in_flight += 1
        try:
            answers = await self._writer.put(drafts)
        except Retryable as error:
            log.warning("put_failed", error=str(error), records=len(drafts))
            self.tally.retries += len(drafts)
            return drafts
        finally:
            self._in_flight -= 1
        self.tally.latencies_s.append(_now() - began)
        return self._settle(drafts, answers)

    def _settle(self, drafts: list[Draft], answers: Sequence[Answer]) -> list[Draft]:
        pairs = list(zip(drafts, answers, strict=True))
        placed = [(draft, answer) for draft, answer in pairs if isinstance(answer, Placed)]
        self._keeper.record(placed)
        acknowledged = [draft for draft, _ in placed]
        self.tally.count(acknowledged)
        self._outbox.acknowledge(acknowledged)
        refused = [draft for draft, answer in pairs if not isinstance(answer, Placed)]
        self.tally.retries += len(refused)
        return refused

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _sleep(self, seconds: float) -> None:
        """Wait, no longer than until stopped."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
