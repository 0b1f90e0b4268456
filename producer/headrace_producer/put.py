"""Sends records at a pace: one task makes them when they are due, a few senders carry them, a call each at a time.

    due ▸ make ▸ outbox ▸ take ▸ PutRecords ▸ ledger ▸ acknowledge
                    ▲                 │
                    └── give back ◂───┘  after a wait, what was refused

Nothing here is done per record but moving it: a call, a line of the ledger and a wake-up serve up to 500.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple, Protocol, TypeAlias

from headrace.core.backoff import Backoff, delay_s
from headrace.errors import Retryable
from headrace_producer.outbox import Outbox
from headrace_producer.pace import Pace
from headrace_producer.workload import Draft

IN_FLIGHT: Final = 8
"""Calls at once: 4,000 records in flight are 100,000 records/s at a round trip of 40 ms."""

BACKLOG: Final = 20_000
"""Most records made and not sent: past it making waits, and memory stays bounded while the stream is slow."""

RULES: Final = Backoff(first_s=0.05, cap_s=5.0)
"""Throttling of a shard is over within a second; an outage is asked after every few seconds."""


class Placed(NamedTuple):
    """Where the stream put a record. The sequence number stays the text that came: some servers pad it."""

    shard: str
    sequence_text: str


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
    broken_calls: int = 0
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
        tally: Tally,
    ) -> None:
        self._source = source
        self._writer = writer
        self._keeper = keeper
        self._pace = pace
        self._chance = chance
        self._tally = tally
        self._outbox = Outbox()
        self._stop = asyncio.Event()
        self._work = asyncio.Condition()
        self._unanswered = 0

    def stop(self) -> None:
        """Make and start nothing more; calls in flight are waited for, and what they acknowledge is counted."""
        self._stop.set()

    async def run(self) -> None:
        """Until the pace ends and every record is acknowledged, or until stopped.

        Raises what a sender cannot mend: Denied, NotFound, Rejected, OSError of the ledger.
        """
        async with self._timed(), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._make(), name="make")
            for number in range(IN_FLIGHT):
                tasks.create_task(self._send(), name=f"send-{number}")

    @asynccontextmanager
    async def _timed(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            yield
        finally:
            self._tally.elapsed_s = loop.time() - started

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        made = tick = 0
        while not (self._stop.is_set() or self._pace.ended(loop.time() - started, made)):
            due = self._pace.due(loop.time() - started, made, BACKLOG - len(self._outbox))
            made += due
            self._tally.elapsed_s = loop.time() - started
            if due:
                self._outbox.add(islice(self._source, due))
                await self._wake()
            tick = max(tick + 1, int((loop.time() - started) / self._pace.tick_s))
            await self._sleep(started + tick * self._pace.tick_s - loop.time())
        self._ended = True
        await self._wake()

    async def _send(self) -> None:
        failures = 0
        while drafts := await self._next():
            refused = await self._call(drafts)
            failures = failures + 1 if refused else 0
            if refused:
                await self._sleep(delay_s(failures, self._chance(), RULES))
            await self._settle(drafts, refused)
