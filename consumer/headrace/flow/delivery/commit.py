"""One chunk of operations and the checkpoint behind them, in one transaction, until it is certain what became of it.

The lease's row decides. The transaction asks that owner and epoch are this run's and that the checkpoint is not beyond
the chunk's beginning, and moves the checkpoint to its end. So a second try of what was applied is refused, and the row
that refuses it tells that it was; a worker that lost the lease is refused whatever it still has in the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol, TypeAlias

import structlog

from headrace.core import lease_rows, leases, redriven
from headrace.core.identity import fresh_token
from headrace.core.redriven import Standing
from headrace.errors import AwsError, LeaseLost, Rejected, Unavailable
from headrace.flow.persist import persist
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import Checkpoint, Permit, Record
from headrace.operations import Effect
from headrace.ports import Transactions
from headrace.rows import Outcome, Refused, Request, Row
from headrace.transactions import CommitOutcome, Committed, OperationsRefused, RowRefused, Transaction

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


@dataclass(frozen=True, slots=True)
class Redriven:
    """The effects of the record were written before, from its dead letter."""


Settled: TypeAlias = Reached | Redriven | OperationsRefused


@dataclass(frozen=True, slots=True)
class Wanted:
    """Operations on distinct items that stand for `records` with `writes`, the last of them at `end`.

    `once` is the record behind them where a redrive may write its effects too.
    """

    operations: Sequence[Effect]
    records: int
    writes: int
    end: Checkpoint
    once: Record | None = None


class Commits:
    """Of one shard, one after the other."""

    def __init__(self, term: Term, place: Workplace, transactions: Transactions, row: CheckpointRow) -> None:
        self.dead = term.lease.may_have_letters
        """Positions behind the checkpoint of which letters may be stored."""
        self._term = term
        self._me = place.me
        self._label = place.label
        self._ports = place.ports
        self._transactions = transactions
        self._row = row

    async def commit(self, wanted: Wanted, before: Checkpoint) -> Settled:
        """See it through; everything up to `before` is settled. Raises LeaseLost."""
        async with self._row.turn:
            progress = self._row.progress_to(wanted.end)
            rows: list[Request] = [self._standing(before).advance(progress)]
            if wanted.once is not None:
                wall_s = self._ports.clock.wall().timestamp()
                rows.append(redriven.redrive(self._label, wanted.once, self._term.lease.replay, wall_s))
            transaction = Transaction(wanted.operations, rows, "", wanted.records, wanted.writes)
            outcome = await ask_until_answered(
                self._transactions, transaction, self._term.insist, self._term.permits, self._ports.chance
            )
            settled = await self._settled(outcome, wanted, before)
            if isinstance(settled, Reached):
                self.dead = frozenset(position for position in self.dead if position > settled.position)
                self._row.note(replace(progress, reached=settled.position))
        return settled

    async def announce(self, records: Sequence[Record], before: Checkpoint) -> None:
        """Tell whoever owns the shard next that letters of these records may be stored. Raises LeaseLost."""
        positions = frozenset(Checkpoint.of(record) for record in records)

        async def apply() -> Outcome:
            self._term.insist()
            return await self._ports.table.apply(request)

        async with self._row.turn:
            # What the checkpoint has passed goes, or a handler that fails for everything would fill the row.
            ahead = frozenset(position for position in self.dead | positions if position > before)
            request = self._standing(before).announce(ahead)
            if isinstance(await persist("announce_letters", apply, self._ports.chance), Refused):
                self._lose()
            self.dead = ahead

    def _standing(self, before: Checkpoint) -> Standing:
        return Standing(self._label, self._term.lease.shard_id, self._me, self._term.epoch, before, self.dead)

    async def _settled(self, outcome: CommitOutcome, wanted: Wanted, before: Checkpoint) -> Settled:
        match outcome:
            case Committed():
                return Reached(wanted.end)
            case RowRefused(place=0, row=there):
                reached = self._reached(there or await self._lease_row(), before)
                return self._lose() if reached is None else Reached(reached)
            case RowRefused():
                return Redriven()
            case OperationsRefused():
                reached = self._reached(await self._lease_row(), before)
                return outcome if reached is None else Reached(reached)

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


async def ask_until_answered(
    transactions: Transactions,
    wanted: Transaction,
    insist: Callable[[], None],
    permit: Permit,
    chance: Callable[[], float],
) -> CommitOutcome:
    """Send it until there is an answer, with one token for as long as an earlier try may still be applied.

    `insist` raises LeaseLost once nothing more may be sent.
    """
    token = fresh_token(chance)

    async def ask() -> CommitOutcome:
        nonlocal token
        insist()
        try:
            return await transactions.commit(replace(wanted, token=token), permit)
        except Unavailable:
            raise
        except Rejected as error:
            return OperationsRefused({}, str(error))
        except AwsError:
            token = fresh_token(chance)
            raise

    return await persist("commit", ask, chance, mendable=(AwsError,))
