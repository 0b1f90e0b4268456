"""Makes a shard's progress durable: coalesced checkpoints, the final release, and the end of the shard.

Every write names owner and epoch, and a checkpoint moves only forward. A write without an answer is never read as
success: the next checkpoint simply says more, a release ends the term before it is sent, and the end of a shard is
repeated until the table shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from headrace.core import lease_rows, leases
from headrace.errors import AwsError, LeaseLost, Retryable
from headrace.flow.persist import persist
from headrace.flow.releases import Releases
from headrace.flow.term import Term
from headrace.model import Checkpoint, Instant, WorkerId
from headrace.ports import Ports
from headrace.rows import Applied, Outcome, Refused

log = structlog.get_logger(__name__)

RATE_MEMORY_S = 60.0
"""Over how long a shard's throughput is averaged, for the planner."""


class Checkpoints:
    """The checkpoint of one shard; `mark` tells how far it may move."""

    def __init__(self, me: WorkerId, stream: str, term: Term, ports: Ports, mark: Callable[[], Checkpoint]) -> None:
        self._me = me
        self._stream = stream
        self._term = term
        self._ports = ports
        self._mark = mark
        self._written = term.lease.checkpoint
        self._bytes = 0
        self._rate = term.lease.throughput
        self._rated_at: Instant = ports.clock.now()

    async def run(self, moved: asyncio.Event, interval_s: float) -> None:
        """Write the checkpoint at most `interval_s` after it could move, for ever. Raises LeaseLost."""
        while True:
            await moved.wait()
            await asyncio.sleep(interval_s)
            moved.clear()
            if not await self.flush():
                moved.set()

    async def flush(self) -> bool:
        """Write the checkpoint if it moved; False when it should be tried again. Raises LeaseLost."""
        mark = self._mark()
        if mark == self._written:
            return True
        shard = self._term.lease.shard_id
        request = leases.checkpoint(self._stream, shard, self._me, self._term.epoch, mark, self._rate_now())
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
        self._written = mark
        self._ports.observer.checkpoint_written(shard)
        return True

    def count(self, size: int) -> None:
        """Bytes were settled."""
        self._bytes += size

    async def release(self, releases: Releases, *, shun: bool) -> None:
        """Give the lease up with the final checkpoint. The term is over before the request is sent.

        With `shun`, others go first: this worker got nowhere with the shard.
        """
        self._term.end()
        shard, mark = self._term.lease.shard_id, self._mark()
        request = leases.release(self._stream, shard, self._me, self._term.epoch, mark, shun=shun)
        self._tell("released", await releases.apply(request))

    async def hand_over(self, heir: WorkerId) -> None:
        """Pass the lease on to `heir` with the final checkpoint. The term is over before the request is sent."""
        self._term.end()
        shard, mark = self._term.lease.shard_id, self._mark()
        request = leases.hand_over(self._stream, shard, self._me, self._term.epoch, mark, heir)
        outcome = await persist("hand_over", lambda: self._ports.table.apply(request), self._ports.chance)
        self._tell("handed_over", outcome)

    def _tell(self, transition: str, outcome: Outcome) -> None:
        shard = self._term.lease.shard_id
        if isinstance(outcome, Applied):
            self._ports.observer.lease_changed(shard, transition)
            log.info("lease_passed_on", shard=shard, epoch=self._term.epoch, transition=transition)
        else:
            log.warning("lease_gone", shard=shard, epoch=self._term.epoch, transition=transition)

    def _rate_now(self) -> float:
        now = self._ports.clock.now()
        elapsed = max(now - self._rated_at, 1e-3)
        weight = min(elapsed / RATE_MEMORY_S, 1.0)
        self._rate += weight * (self._bytes / elapsed - self._rate)
        self._bytes, self._rated_at = 0, now
        return self._rate
