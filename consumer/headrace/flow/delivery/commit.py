"""One chunk of operations and the checkpoint behind them, in one transaction, until it is certain what became of it.

The lease's row decides. The transaction asks that owner and epoch are this run's and that the checkpoint is not beyond
the chunk's beginning, and moves the checkpoint to its end. So a second try of what was applied is refused, and the row
that refuses it tells that it was; a worker that lost the lease is refused whatever it still has in the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol, TypeAlias

import structlog

from headrace.core import lease_rows, leases
from headrace.core.identity import fresh_token
from headrace.errors import AwsError, LeaseLost, Rejected, Unavailable
from headrace.flow.persist import persist
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import Checkpoint
from headrace.operations import Effect
from headrace.ports import CommitOutcome, Committed, OperationsRefused, RowRefused, Transaction, Transactions
from headrace.rows import Row, UpdateRow

log = structlog.get_logger(__name__)


class CheckpointRow(Protocol):
    """What the checkpoint's keeper gives and is told: the row is written by one at a time."""

    turn: asyncio.Lock

    def progress_to(self, reached: Checkpoint) -> leases.Progress:
        """What a transaction may tell that moves the checkpoint to `reached` by itself."""

    def note(self, written: leases.Progress) -> None:
        """A transaction wrote this."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Everything up to here is durable, and the checkpoint is here."""

    position: Checkpoint


Settled: TypeAlias = Reached | OperationsRefused


@dataclass(frozen=True, slots=True)
class Wanted:
    """Operations on distinct items that stand for `records` with `writes`, the last of them at `end`."""

    operations: Sequence[Effect]
    records: int
    writes: int
    end: Checkpoint


class Commits:
    """Of one shard, one after the other."""

    def __init__(self, term: Term, place: Workplace, transactions: Transactions, row: CheckpointRow) -> None:
        self._term = term
        self._me = place.me
        self._label = place.label
        self._ports = place.ports
        self._transactions = transactions
        self._row = row

    async def commit(self, wanted: Wanted, before: Checkpoint) -> Settled:
        """See it through; everything up to `before` is settled. Raises LeaseLost."""
        shard, epoch = self._term.lease.shard_id, self._term.epoch
        async with self._row.turn:
            progress = self._row.progress_to(wanted.end)
            row = leases.advance(self._label, shard, self._me, epoch, before, progress)
            outcome = await self._answered(wanted, row)
            match outcome:
                case Committed():
                    settled: Settled = Reached(wanted.end)
                case RowRefused(there):
                    settled = Reached(self._reached(there or await self._lease_row(), before) or self._lose())
                case OperationsRefused():
                    reached = self._reached(await self._lease_row(), before)
                    settled = outcome if reached is None else Reached(reached)
            if isinstance(settled, Reached):
                self._row.note(replace(progress, reached=settled.position))
        return settled

    async def _answered(self, wanted: Wanted, row: UpdateRow) -> CommitOutcome:
        """Ask until there is an answer, with one token for as long as an earlier try may still be applied."""
        token = fresh_token(self._ports.chance)

        async def ask() -> CommitOutcome:
            nonlocal token
            self._term.insist()
            transaction = Transaction(wanted.operations, row, token, wanted.records, wanted.writes)
            try:
                return await self._transactions.commit(transaction, self._term.permits)
            except Unavailable:
                raise
            except Rejected as error:
                return OperationsRefused({}, str(error))
            except AwsError:
                token = fresh_token(self._ports.chance)
                raise

        return await persist("commit", ask, self._ports.chance, mendable=(AwsError,))

    def _reached(self, row: Row | None, before: Checkpoint) -> Checkpoint | None:
        """How far an earlier try of this run moved the checkpoint, if it did. Raises LeaseLost."""
        if row is None or not lease_rows.is_owned(row, self._me, self._term.epoch):
            self._lose()
        lease = lease_rows.lease_of(row)
        if lease.checkpoint <= before:
            return None
        log.info("commit_found_applied", shard=lease.shard_id, checkpoint=lease.checkpoint.encode())
        return lease.checkpoint

    async def _lease_row(self) -> Row | None:
        key = leases.lease_key(self._label, self._term.lease.shard_id)
        return await persist("read_lease", lambda: self._ports.table.get(key), self._ports.chance)

    def _lose(self) -> NoReturn:
        self._term.end()
        raise LeaseLost(f"{self._term.lease.shard_id}: another worker owns the lease")
