"""Watches that every shard gets somewhere; one that does not is reported, and then given up to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from headrace.core import stall
from headrace.flow.shard.run import ShardRun
from headrace.model import ShardId, WorkerId, WorkerRow
from headrace.ports import Ports

log = structlog.get_logger(__name__)

LOOKS: Final = 50
"""Looks within the limit."""


class Watchdog:
    """For the shards of one incarnation; `limit_s` is how long one may be without progress."""

    def __init__(
        self,
        me: WorkerId,
        ports: Ports,
        limit_s: float,
        runs: Callable[[], Iterable[ShardRun]],
        workers: Callable[[], Iterable[WorkerRow]],
    ) -> None:
        self.stalled: frozenset[ShardId] = frozenset()
        """The shards that make no progress now; the heartbeat tells the others how many."""
        self._me = me
        self._ports = ports
        self._limit_s = limit_s
        self._runs = runs
        self._workers = workers

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._limit_s / LOOKS)
            self.look()

    def look(self) -> None:
        """Report what stalled since the last look; give up what is past hope here and not elsewhere."""
        now = self._ports.clock.now()
        moved = {run.shard: run.status().last_settled for run in self._runs() if run.is_reading}
        stalled = frozenset(s for s, at in moved.items() if stall.is_stalled(at, now, self._limit_s))
        for shard in sorted(stalled - self.stalled):
            log.error("shard_stalled", shard=shard, without_progress_s=round(now - moved[shard], 1))
            self._ports.observer.shard_stalled(shard)
        self.stalled = stalled
        if stalled and stall.others_fare_better(self._me, self._workers()):
            for run in list(self._runs()):
                if run.shard in stalled and stall.is_past_hope(moved[run.shard], now, self._limit_s):
                    log.error("stalled_shard_given_up", shard=run.shard)
                    run.give_up()
