"""Makes a shard's progress durable: coalesced checkpoints, the final release, and the end of the shard.

Every write names owner and epoch, and a checkpoint moves only forward. A write without an answer is never read as
success: the next checkpoint simply says more, a release ends the term before it is sent, and the end of a shard is
repeated until the table shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, NamedTuple

import structlog

from headrace.core import lease_rows, leases, redriven, windows
from headrace.core.throughput import Rate
from headrace.errors import AwsError, LeaseLost, Retryable
from headrace.flow.persist import persist
from headrace.flow.releases import Releases
from headrace.flow.term import Term
from headrace.model import Checkpoint, WorkerId
from headrace.ports import Ports
from headrace.rows import Applied, Outcome, Refused, Row, TransactionRefused
from headrace.tasks import is_set_within

log = structlog.get_logger(__name__)

IDLE_S: Final = 60.0
"""After this long without a checkpoint a shard looks whether its row tells something that holds no longer."""


class SettledUpTo(NamedTuple):
    """Everything up to `mark` is settled, and so is all that arrived before `up_to_s` (epoch seconds).

    `windows` is what has to be kept of tumbling windows at `mark`, None without them.
    """

    mark: Checkpoint
    up_to_s: float
    windows: str | None = None


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
        self.turn = asyncio.Lock()
        """Of whoever writes the lease's row while the shard runs: two writes at once would be in each other's way."""

    async def note_first(self, first: Checkpoint) -> None:
        """Tell with which record the shard is read again (see `redriven.note_first`). Raises LeaseLost."""
        shard = self._term.lease.shard_id
        request = redriven.note_first(self._stream, shard, self._me, self._term.epoch, first)
        async with self.turn:
            outcome = await persist("note_first", lambda: self._ports.table.apply(request), self._ports.chance)
        if isinstance(outcome, Refused):
            self._term.end()
            raise LeaseLost(f"{shard}: another worker owns the lease")

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
        async with self.turn:
            return await self._flush()

    async def _flush(self) -> bool:
        progress = self._progress()
        if not progress.is_news_after(self._written):
            return True
        shard = self._term.lease.shard_id
        try:
            outcome = await self._write(progress)
        except Retryable as error:
            log.info("checkpoint_unanswered", shard=shard, error=str(error))
            return False
        except AwsError as error:
            log.error("checkpoint_refused", shard=shard, error=str(error))  # noqa: TRY400 - one line
            return False
        if outcome is not None and not lease_rows.is_owned(outcome.row, self._me, self._term.epoch):
            self._term.end()
            raise LeaseLost(f"{shard}: another worker owns the lease")
        self._written = progress
        self._ports.observer.checkpoint_written(shard)
        return True

    async def _write(self, progress: leases.Progress) -> Refused | None:
        shard = self._term.lease.shard_id
        request = leases.checkpoint(self._stream, shard, self._me, self._term.epoch, progress)
        if progress.windows is None:
            outcome = await self._ports.table.apply(request)
            return outcome if isinstance(outcome, Refused) else None
        wall_s = self._ports.clock.wall().timestamp()
        both = (request, windows.keep(self._stream, shard, self._me, progress.reached, progress.windows, wall_s))
        answer = await self._ports.table.transact(both, leases.end_token(self._stream, both))
        return answer.refused[0] if isinstance(answer, TransactionRefused) else None

    def progress_to(self, reached: Checkpoint) -> leases.Progress:
        """What a transaction may tell that moves the checkpoint to `reached` by itself."""
        return replace(self._progress(), reached=reached)

    def note(self, written: leases.Progress) -> None:
        """A transaction wrote this."""
        self._written = written
        self._ports.observer.checkpoint_written(self._term.lease.shard_id)

    def count(self, size: int) -> None:
        """Bytes were settled."""
        self._rate.count(size)

    async def release(self, releases: Releases, *, shun: bool) -> None:
        """Give the lease up with the final checkpoint. The term is over before the request is sent.

        With `shun`, others go first: this worker got nowhere with the shard.
        """
        shard = self._term.lease.shard_id

        async def release(progress: leases.Progress) -> Outcome:
            return await releases.apply(
                leases.release(self._stream, shard, self._me, self._term.epoch, progress, shun=shun)
            )

        self._tell("released", await self._leave(release))

    async def hand_over(self, heir: WorkerId) -> None:
        """Pass the lease on to `heir` with the final checkpoint. The term is over before the request is sent."""
        shard = self._term.lease.shard_id

        async def hand_over(progress: leases.Progress) -> Outcome:
            request = leases.hand_over(self._stream, shard, self._me, self._term.epoch, progress, heir)
            return await persist("hand_over", lambda: self._ports.table.apply(request), self._ports.chance)

        self._tell("handed_over", await self._leave(hand_over))

    async def _leave(self, write: Callable[[leases.Progress], Awaitable[Outcome]]) -> Outcome:
        """The last write of the term, which is over before it is sent.

        One before it that got no answer may have moved the checkpoint, or do so between two tries: the row that refuses
        tells how far.
        """
        progress = await self._final()
        self._term.end()
        while True:
            outcome = await write(progress)
            if isinstance(outcome, Applied) or not lease_rows.is_owned(outcome.row, self._me, self._term.epoch):
                return outcome
            moved = _caught_up(progress, outcome.row)
            if moved == progress:
                return outcome
            progress = moved

    def _tell(self, transition: str, outcome: Outcome) -> None:
        shard = self._term.lease.shard_id
        if isinstance(outcome, Applied):
            self._ports.observer.lease_changed(shard, transition)
            log.info("lease_passed_on", shard=shard, epoch=self._term.epoch, transition=transition)
        else:
            log.warning("lease_gone", shard=shard, epoch=self._term.epoch, transition=transition)

    async def _final(self) -> leases.Progress:
        """What the last write may tell: a position without what is kept of its windows would lose them."""
        progress = self._progress()
        if progress.windows is None or await self.flush():
            return progress
        return self._written

    def _progress(self) -> leases.Progress:
        mark, up_to_s, kept = self._reached()
        return leases.Progress(mark, up_to_s, self._rate.now(self._ports.clock.now()), kept)


def _caught_up(progress: leases.Progress, row: Row | None) -> leases.Progress:
    """At least what the row tells."""
    if row is None:
        return progress
    there = lease_rows.lease_of(row)
    up_to_s = max(progress.up_to_s, there.up_to_s)
    return replace(progress, reached=max(progress.reached, there.checkpoint), up_to_s=up_to_s)
