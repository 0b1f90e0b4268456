"""Makes a shard's progress durable: coalesced checkpoints, the final release, and the end of the shard.

Every write names owner and epoch, and a checkpoint moves only forward. A write without an answer is never read as
success: the next checkpoint simply says more, a release ends the term before it is sent, and the end of a shard is
repeated until the table shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from headrace.core import lease_rows, leases
from headrace.errors import AwsError, LeaseLost, Retryable
from headrace.flow.persist import persist
from headrace.flow.releases import Releases
from headrace.flow.term import Term
from headrace.model import Checkpoint, Instant, WorkerId
from headrace.ports import Ports
from headrace.rows import Applied, Outcome, Refused
from headrace.tasks import is_set_within

log = structlog.get_logger(__name__)

RATE_MEMORY_S: Final = 60.0
"""Over how long a shard's throughput is averaged, for the planner."""

IDLE_S: Final = 60.0
"""After this long without a checkpoint a shard looks whether its row tells something that holds no longer."""

RATE_MATTERS: Final = 4.0
"""A throughput that fell this many times below the one in the row is worth a write: the planner goes by it."""

UP_TO_MATTERS_S: Final = 3600.0
"""So is a time of day up to which everything was read that is this old: retention is a day at least."""


class SettledUpTo(NamedTuple):
    """Everything up to `mark` is settled, and so is all that arrived before `up_to_s` (epoch seconds)."""

    mark: Checkpoint
    up_to_s: float


class Checkpoints:
    """The checkpoint of one shard; `reached` tells how far it may move."""

    def __init__(self, me: WorkerId, stream: str, term: Term, ports: Ports, reached: Callable[[], SettledUpTo]) -> None:
        self._me = me
        self._stream = stream
        self._term = term
        self._ports = ports
        self._reached = reached
        lease = term.lease
        self._written = leases.Progress(lease.checkpoint, lease.up_to_s, lease.throughput)
        self._rate = Rate(lease.throughput, ports.clock.now())

    async def run(self, moved: asyncio.Event, interval_s: float) -> None:
        """Write the checkpoint at most `interval_s` after it could move, for ever. Raises LeaseLost."""
        while True:
            if await is_set_within(moved, IDLE_S):
                await asyncio.sleep(interval_s)
            moved.clear()
            if not await self.flush():
                moved.set()

    async def flush(self) -> bool:
        """Write the checkpoint if it moved, or if the row is out of date otherwise; False when it should be tried again.

        Raises LeaseLost.
        """
        progress = self._progress()
        if not self._is_news(progress):
            return True
        shard = self._term.lease.shard_id
        request = leases.checkpoint(self._stream, shard, self._me, self._term.epoch, progress)
        try:
            outcome = await self._ports.table.apply(request)
        except Retryable as error:
            log.info("checkpoint_unanswered", shard=shard, error=str(error))
            return False
        except AwsError as error:
            log.error("checkpoint_refused", shard=shard, error=str(error))  # noqa: TRY400 - one line
            return False
        if isinstance(outcome, Refused) and not lease_rows.is_owned(outcome.row, self._me, self._term.epoch):
            self._term.end()
            raise LeaseLost(f"{shard}: another worker owns the lease")
        self._written = progress
        self._ports.observer.checkpoint_written(shard)
        return True

    def count(self, size: int) -> None:
        """Bytes were settled."""
        self._rate.count(size)

    async def release(self, releases: Releases, *, shun: bool) -> None:
        """Give the lease up with the final checkpoint. The term is over before the request is sent.

        With `shun`, others go first: this worker got nowhere with the shard.
        """
        self._term.end()
        shard, progress = self._term.lease.shard_id, self._progress()
        request = leases.release(self._stream, shard, self._me, self._term.epoch, progress, shun=shun)
        self._tell("released", await releases.apply(request))

    async def hand_over(self, heir: WorkerId) -> None:
        """Pass the lease on to `heir` with the final checkpoint. The term is over before the request is sent."""
        self._term.end()
        shard, progress = self._term.lease.shard_id, self._progress()
        request = leases.hand_over(self._stream, shard, self._me, self._term.epoch, progress, heir)
        outcome = await persist("hand_over", lambda: self._ports.table.apply(request), self._ports.chance)
        self._tell("handed_over", outcome)

    def _tell(self, transition: str, outcome: Outcome) -> None:
        shard = self._term.lease.shard_id
        if isinstance(outcome, Applied):
            self._ports.observer.lease_changed(shard, transition)
            log.info("lease_passed_on", shard=shard, epoch=self._term.epoch, transition=transition)
        else:
            log.warning("lease_gone", shard=shard, epoch=self._term.epoch, transition=transition)

    def _progress(self) -> leases.Progress:
        mark, up_to_s = self._reached()
        return leases.Progress(mark, up_to_s, self._rate.now(self._ports.clock.now()))

    def _is_news(self, progress: leases.Progress) -> bool:
        written = self._written
        fell = written.rate > RATE_MATTERS * progress.rate + 1
        return progress.reached != written.reached or fell or progress.up_to_s - written.up_to_s >= UP_TO_MATTERS_S


class Rate:
    """Throughput of one shard in bytes/s, averaged over about a minute."""

    def __init__(self, rate: float, since: Instant) -> None:
        self._rate = rate
        self._since = since
        self._bytes = 0

    def count(self, size: int) -> None:
        """Bytes were settled."""
        self._bytes += size

    def now(self, now: Instant) -> float:
        """The average until now."""
        elapsed = max(now - self._since, 1e-3)
        self._rate += min(elapsed / RATE_MEMORY_S, 1.0) * (self._bytes / elapsed - self._rate)
        self._bytes, self._since = 0, now
        return self._rate
