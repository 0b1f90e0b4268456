"""Writes of handled records on their way into transactions, in the order of the shard, one transaction at a time.

A transaction moves the checkpoint, so it takes records from the first one that is open on, and none that lies behind one
still being handled. While it is under way the next records are handled, and go together into the next one.

Where DynamoDB refuses it, the record behind the refusal goes alone, after those before it: refused alone, it is buried, and
so are the later records of its key where keys are parked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, TypeAlias

from headrace.core.chunks import MOST_OPERATIONS, Chunk, KeyedWrites
from headrace.core.items import ItemError
from headrace.core.tracker import Span
from headrace.core.write_modes import NotCarried
from headrace.flow.delivery.burial import Cause
from headrace.flow.delivery.commit import Commits, Reached, Redriven, Settled, Wanted
from headrace.flow.delivery.consignment import Waiting, Writes
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.in_flight import InFlight
from headrace.flow.persist import persist
from headrace.model import Checkpoint
from headrace.operations import Effect
from headrace.ports import Refusal, Transactions
from headrace.traces import Trace
from headrace.transactions import OperationsRefused, UnknownTableError

Place: TypeAlias = tuple[Span, int]

MOST_RECORDS: Final = 1000
"""Records of one chunk, of which most then ask for nothing, or are folded."""

FITS_NONE: Final = Refusal(
    f"its writes fit into no transaction: at most {MOST_OPERATIONS} items, and two writes of one item only where they "
    "can be told as one"
)


@dataclass(eq=False, slots=True)
class Slot:
    """A record in its place: what it asks for once it is handled, or why it will be buried."""

    record: Waiting
    effects: Sequence[Effect] | None = None
    cause: Cause | None = None
    writes: KeyedWrites | None = None
    """Its effects, with the keys of their items."""
    trace: Trace | None = None

    @property
    def is_handled(self) -> bool:
        """Whether the handler is done with it, or will not be asked."""
        return self.effects is not None or self.cause is not None


@dataclass(frozen=True, slots=True)
class Keys:
    """What is known of the tables: the key of each write, learned where it has to be. `chance` draws the jitter."""

    transactions: Transactions
    chance: Callable[[], float]

    async def of(self, effects: Sequence[Effect]) -> KeyedWrites:
        """The writes with their keys. Raises ItemError, NotCarried."""
        while True:
            try:
                return [(self.transactions.key(effect), effect) for effect in effects]
            except UnknownTableError:
                for table in {effect.table for effect in effects}:
                    await persist("learn_table", partial(self.transactions.learn, table), self.chance)


class ChunkOutbox:
    """Implements `outbox.Outgoing` for one shard."""

    def __init__(
        self, commits: Commits, keys: Keys, settlement: Settlement, in_flight: InFlight, *, folds: bool
    ) -> None:
        self._commits = commits
        self._keys = keys
        self._settlement = settlement
        self._in_flight = in_flight
        self._folds = folds
        self._slots: deque[Slot] = deque()
        self._open: dict[Place, Slot] = {}
        """Slots of records that are being handled."""
        self._suspect: Slot | None = None
        """Goes alone."""
        self._most: int | None = None
        """Records of the next chunk, while nobody knows which one was refused."""
        self._came = asyncio.Event()
        self._moved = asyncio.Event()
        self._held = 0
        """Writes that are counted as in flight."""

    @property
    def has_some(self) -> bool:
        """Whether writes are on their way."""
        return self._held > 0

    def expect(self, records: Iterable[Waiting]) -> None:
        """The next records of the shard; each will be sent or given up."""
        for one in records:
            slot = Slot(one)
            self._slots.append(slot)
            self._open[one.span, one.index] = slot

    async def send(self, record: Waiting, writes: Writes) -> None:
        """The writes of a record; it is settled when they are durable."""
        self.put(record, [effect for _, effect in writes])

    def put(self, record: Waiting, effects: Sequence[Effect]) -> None:
        """Likewise."""
        slot = self._open.pop((record.span, record.index))
        slot.record, slot.effects = record, effects
        if record.record.partition_key in self._settlement.parked.keys:  # one before it was refused meanwhile
            self._hold_back(slot)
        self._hold(len(effects))
        self._came.set()

    def give_up(self, record: Waiting, cause: Cause) -> None:
        """It will be buried in its turn."""
        slot = self._open.pop((record.span, record.index))
        slot.record, slot.cause = record, cause
        self._came.set()

    async def run(self) -> None:
        """Commit and bury, in the order of records, for ever. Raises LeaseLost."""
        while True:
            await self._settle_next()

    async def _settle_next(self) -> None:
        if not self._is_first_handled:
            self._came.clear()
            await self._came.wait()
        elif self._slots[0].cause is not None:
            await self._bury()
        else:
            await self._commit()

    @property
    def _is_first_handled(self) -> bool:
        return bool(self._slots) and self._slots[0].is_handled

    async def emptied(self) -> None:
        """Wait until all is settled that waits for nobody's handling."""
        while self._is_first_handled:
            self._moved.clear()
            await self._moved.wait()

    def abandon(self) -> None:
        """Nobody will settle here what is still on its way."""
        self._hold(-self._held)

    # --- bury ----------------------------------------------------------------------------------------------------------

    async def _bury(self) -> None:
        """The records up to the next one that is not to be buried."""
        causes: dict[int, Cause] = {}
        for slot in islice(self._slots, MOST_OPERATIONS):
            if slot.cause is None:
                break
            causes[len(causes)] = slot.cause
        records = [slot.record.record for slot in islice(self._slots, len(causes))]
        await self._commits.announce(records, self._settlement.mark)
        await self._settlement.bury([slot.record for slot in islice(self._slots, len(causes))], causes)
        self._let_go(len(causes))

    def _refuse(self, slot: Slot, refusal: Refusal) -> None:
        parked, key = self._settlement.parked, slot.record.record.partition_key
        parked.begin(slot.record.record)
        slot.cause = Cause.refused(refusal, slot.record.attempts + 1)
        if key in parked.keys:
            for later in islice(self._slots, self._slots.index(slot) + 1, None):
                if later.effects is not None and later.cause is None and later.record.record.partition_key == key:
                    self._hold_back(later)

    def _hold_back(self, slot: Slot) -> None:
        """It was handled, and has to follow an earlier record of its key into the dead letters all the same."""
        self._settlement.parked.begin(slot.record.record)
        slot.cause = Cause.key_parked()

    # --- commit --------------------------------------------------------------------------------------------------------

    async def _commit(self) -> None:
        chunk = await self._cut()
        if chunk.operations:
            slots = self._slots
            end = Checkpoint.of(slots[chunk.records - 1].record.record)
            once = slots[0].record.record if self._may_have_letter(slots[0]) else None
            wanted = Wanted(tuple(chunk.operations.values()), chunk.records, chunk.writes, end, once)
            self._follow(await self._send(wanted, chunk), chunk, end)
        elif chunk.records:
            self._settle(chunk.records)

    async def _send(self, wanted: Wanted, chunk: Chunk) -> Settled:  # noqa: ARG002 - who traces asks what it is made of
        return await self._commits.commit(wanted, self._settlement.mark)

    async def _cut(self) -> Chunk:
        """The next records that are handled, as many as one transaction takes; the first may turn out to fit none."""
        chunk = Chunk(folds=self._folds)
        for slot in list(islice(self._slots, self._most or MOST_RECORDS)):
            goes_alone = slot is self._suspect or self._may_have_letter(slot)
            if slot.effects is None or slot.cause is not None or (goes_alone and chunk.records):
                break
            if slot.writes is None and not await self._find_keys(slot, slot.effects):
                break
            if not chunk.add(slot.writes or (), len(slot.record.record.data)):
                if not chunk.records:
                    self._refuse(slot, FITS_NONE)
                break
            if goes_alone:
                break
        return chunk

    def _may_have_letter(self, slot: Slot) -> bool:
        return bool(self._commits.dead) and Checkpoint.of(slot.record.record) in self._commits.dead

    async def _find_keys(self, slot: Slot, effects: Sequence[Effect]) -> bool:
        try:
            slot.writes = await self._keys.of(effects)
        except (ItemError, NotCarried) as error:
            self._refuse(slot, Refusal(str(error)))
        return slot.cause is None

    def _follow(self, settled: Settled, chunk: Chunk, end: Checkpoint) -> None:
        match settled:
            case Reached(position) if position == end:
                self._settle(chunk.records)
            case Reached(position):
                self._settle(sum(Checkpoint.of(slot.record.record) <= position for slot in self._slots))
            case Redriven():
                self._settle(1)
            case OperationsRefused():
                self._narrow(settled, chunk)

    def _narrow(self, refused: OperationsRefused, chunk: Chunk) -> None:
        """Find the record behind a refusal; refused alone, it is to be buried."""
        if chunk.records == 1:
            self._refuse(self._slots[0], Refusal(next(iter(refused.reasons.values()), refused.why)))
            self._suspect = self._most = None
        elif refused.reasons:
            self._suspect = self._slots[chunk.first_to_write(list(refused.reasons))]
        else:
            self._most = chunk.records // 2

    def _settle(self, records: int) -> None:
        self._settlement.settle([slot.record for slot in islice(self._slots, records)])
        self._most = None
        self._let_go(records)

    def _let_go(self, records: int) -> None:
        for _ in range(records):
            slot = self._slots.popleft()
            self._hold(-len(slot.effects or ()))
            if slot is self._suspect:
                self._suspect = None
        self._moved.set()

    def _hold(self, writes: int) -> None:
        self._held += writes
        self._in_flight.release(-writes)
