"""What a redriven letter asks for, written: through the sink, or once and for all where effects must not be repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, assert_never

import structlog

from headrace.core import redriven
from headrace.core.chunks import Chunk
from headrace.core.items import ItemError
from headrace.core.lease_rows import lease_of
from headrace.core.leases import lease_key
from headrace.core.record_order import order_of
from headrace.core.redriven import Fate
from headrace.core.write_modes import NotCarried
from headrace.errors import LeaseLost
from headrace.flow.delivery.chunk_outbox import FITS_NONE, Keys
from headrace.flow.delivery.commit import ask_until_answered
from headrace.flow.persist import persist
from headrace.flow.redrive.parts import NotYet
from headrace.model import DeadLetter, Lease, Permit, Record, ShardId
from headrace.operations import Effect
from headrace.ports import Clock, LeaseTable, Refusal, Sink, Transactions
from headrace.transactions import CommitOutcome, Committed, OperationsRefused, RowRefused, Transaction

log = structlog.get_logger(__name__)


class Writing(Protocol):
    """How the effects of letters are written."""

    async def is_settled(self, letter: DeadLetter, reading: int) -> bool:
        """Whether nothing of it is to be written any more. Raises NotYet where that will be known later.

        `reading` counts how often the letters were read, up to when this one was.
        """

    async def write(self, effects: Sequence[Effect], letter: DeadLetter, permit: Permit) -> Refusal | None:
        """Durable when it returns None, else why they will never be. Raises LeaseLost without the permit."""


@dataclass(frozen=True, slots=True)
class ThroughSink:
    """Implements `Writing`: what a repeat does is the sink's mode's."""

    sink: Sink

    async def is_settled(self, letter: DeadLetter, reading: int) -> bool:  # noqa: ARG002 - the port's
        """Never: what its effects do then is the mode's as well."""
        return False

    async def write(self, effects: Sequence[Effect], letter: DeadLetter, permit: Permit) -> Refusal | None:
        """See `Writing`."""
        order = order_of(letter.generation, letter.record)
        refusals = await self.sink.submit([(0, effect) for effect in effects], permit, lambda _: order)
        return next(iter(refusals.values()), None)


@dataclass(frozen=True, slots=True)
class _Looks:
    """How the lease of a shard was found last, at letters of which reading, and how `before` those were read."""

    reading: int
    lease: Lease
    before: Lease | None


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
    looks: dict[ShardId, _Looks] = field(default_factory=dict)

    async def is_settled(self, letter: DeadLetter, reading: int) -> bool:
        """Whether an operator had its record read again since: by the lease of its shard.

        The lease must have shown it before the letter was read: the one that was read may else be older than that of the
        replay, and they are removed together.
        """
        shard = ShardId(letter.record.shard_id)
        row = await persist("read_lease", lambda: self.table.get(lease_key(self.label, shard)), self.chance)
        if row is None:
            return False
        lease = lease_of(row)
        before = self._look(lease, reading)
        match redriven.fate_of(letter, lease):
            case Fate.DUE:
                return False
            case Fate.SETTLED if before and redriven.fate_of(letter, before) is Fate.SETTLED:
                log.info("letter_found_read_again", **_place(letter.record))
                return True
            case Fate.SETTLED:
                raise NotYet("its shard was read again")
            case Fate.LATER:
                raise NotYet("its shard is read again, and has not come to the record yet")
            case fate:
                assert_never(fate)

    def _look(self, lease: Lease, reading: int) -> Lease | None:
        """How the lease was before the letters were read, in the same replay, if it was looked at then."""
        last = self.looks.get(lease.shard_id)
        before = None if last is None else last.lease if last.reading < reading else last.before
        self.looks[lease.shard_id] = _Looks(reading, lease, before)
        return before if before is not None and before.replay == lease.replay else None

    async def write(self, effects: Sequence[Effect], letter: DeadLetter, permit: Permit) -> Refusal | None:
        """See `Writing`."""
        chunk = Chunk(folds=True)
        try:
            if not chunk.add(await Keys(self.transactions, self.chance).of(effects), 0):
                return FITS_NONE
        except (ItemError, NotCarried) as error:
            return Refusal(str(error))
        row = redriven.redrive(self.label, letter.record, letter.replay, self.clock.wall().timestamp())
        wanted = Transaction(tuple(chunk.operations.values()), (row,), "", 1, chunk.writes)
        return await self._settled(await self._asked(wanted, permit), letter)

    async def _asked(self, wanted: Transaction, permit: Permit) -> CommitOutcome:
        def insist() -> None:
            if not permit():
                raise LeaseLost("this redrive has lost its turn to another one")

        return await ask_until_answered(self.transactions, wanted, insist, permit, self.chance)

    async def _settled(self, outcome: CommitOutcome, letter: DeadLetter) -> Refusal | None:
        match outcome:
            case Committed():
                return None
            case RowRefused():
                log.info("letter_found_redriven", **_place(letter.record))
                return None
            case OperationsRefused(reasons, why):
                key = redriven.redriven_key(self.label, letter.record, letter.replay)
                if await persist("read_redriven", lambda: self.table.get(key), self.chance) is not None:
                    log.info("letter_found_redriven", **_place(letter.record))
                    return None
                return Refusal(next(iter(reasons.values()), why))


def _place(record: Record) -> dict[str, str]:
    return {"shard": record.shard_id, "sequence_number": str(record.sequence_number)}
