"""What a redriven letter asks for, written: through the sink, or once and for all where effects must not be repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from headrace.core import redriven
from headrace.core.chunks import Chunk
from headrace.core.items import ItemError
from headrace.core.record_order import order_of
from headrace.core.write_modes import NotCarried
from headrace.errors import LeaseLost
from headrace.flow.delivery.chunk_outbox import FITS_NONE, Keys
from headrace.flow.delivery.commit import ask_until_answered
from headrace.flow.persist import persist
from headrace.model import DeadLetter, Permit, Record
from headrace.operations import Effect
from headrace.ports import Clock, LeaseTable, Refusal, Sink, Transactions
from headrace.transactions import CommitOutcome, Committed, OperationsRefused, RowRefused, Transaction

log = structlog.get_logger(__name__)


class Writing(Protocol):
    """How the effects of letters are written."""

    async def write(self, effects: Sequence[Effect], letter: DeadLetter, permit: Permit) -> Refusal | None:
        """Durable when it returns None, else why they will never be. Raises LeaseLost without the permit."""


@dataclass(frozen=True, slots=True)
class ThroughSink:
    """Implements `Writing`: what a repeat does is the sink's mode's."""

    sink: Sink

    async def write(self, effects: Sequence[Effect], letter: DeadLetter, permit: Permit) -> Refusal | None:
        """See `Writing`."""
        order = order_of(letter.generation, letter.record)
        refusals = await self.sink.submit([(0, effect) for effect in effects], permit, lambda _: order)
        return next(iter(refusals.values()), None)


@dataclass(frozen=True, slots=True)
class Once:
    """Implements `Writing`: the effects and a row that tells of them in one transaction (`core.redriven`).

    `label` is the name under which the lease rows of the stream stand; `chance` draws the jitter.
    """

    transactions: Transactions
    table: LeaseTable
    label: str
    clock: Clock
    chance: Callable[[], float]

    async def write(self, effects: Sequence[Effect], letter: DeadLetter, permit: Permit) -> Refusal | None:
        """See `Writing`."""
        chunk = Chunk(folds=True)
        try:
            if not chunk.add(await Keys(self.transactions, self.chance).of(effects), 0):
                return FITS_NONE
        except (ItemError, NotCarried) as error:
            return Refusal(str(error))
        row = redriven.redrive(self.label, letter.record, self.clock.wall().timestamp())
        wanted = Transaction(tuple(chunk.operations.values()), (row,), "", 1, chunk.writes)
        return await self._settled(await self._asked(wanted, permit), letter.record)

    async def _asked(self, wanted: Transaction, permit: Permit) -> CommitOutcome:
        def insist() -> None:
            if not permit():
                raise LeaseLost("this redrive has lost its turn to another one")

        return await ask_until_answered(self.transactions, wanted, insist, permit, self.chance)

    async def _settled(self, outcome: CommitOutcome, record: Record) -> Refusal | None:
        match outcome:
            case Committed():
                return None
            case RowRefused():
                self._tell(record)
                return None
            case OperationsRefused(reasons, why):
                key = redriven.redriven_key(self.label, record)
                if await persist("read_redriven", lambda: self.table.get(key), self.chance) is not None:
                    self._tell(record)
                    return None
                return Refusal(next(iter(reasons.values()), why))

    def _tell(self, record: Record) -> None:
        log.info("letter_found_redriven", shard=record.shard_id, sequence_number=str(record.sequence_number))
