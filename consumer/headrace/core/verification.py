"""Was anything lost or overtaken? Compares what a stream acknowledged with what its consumers left behind. Pure.

A serving table may hold two things for a record, and they prove different things:

* its **own item**: an item that exists for this record alone. Every record must have one, or a dead letter.
* the **state** of its key: one item that each record of the key overwrites. It must come from the last record of the key
  that was not given up; an older one there means that a newer one was overtaken.

An item is a record's own when one of the table's key attributes contains the record's sequence number, and for a record
inside an aggregate its sub-sequence number behind that; any other item that carries a sequence number is a state. Which of them the table is made of is its design, seen from what is in it, or
said by the user where a key has no sequence number and is for one record all the same (for example key and n). A table of
own items alone can't show order; one of states alone can't show an earlier record of a key: that one counts as written
once the key's state has come past it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from headrace.core.ledger import Acknowledged, LedgerError, Position

DIGEST_ATTRIBUTE: Final = "payload_digest"
"""Where an item may carry `core.ledger.digest_of` its payload, to prove that it came through unchanged."""

KEY_ATTRIBUTE: Final = "key"
"""The payload field, and so the attribute of an item, that holds the partition key of a produced record."""

SAMPLES: Final = 10
"""How many of the missing records and overtaken keys are named."""


NOWHERE: Final = Position(-1)
"""Before every record."""

_POSITION: Final = re.compile(r"([0-9]+)(?:\.([0-9]{8}))?")
"""`model.Record.position`."""


class Design(StrEnum):
    """What a serving table is made of."""

    RECORDS = "records"
    LATEST = "latest"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Trace:
    """What one item of the serving table says. `key` and `digest` are None where the item does not carry them."""

    position: Position
    is_own: bool
    key: str | None = None
    digest: str | None = None


def trace_of(item: Mapping[str, str], key_attributes: Iterable[str], sequence_attribute: str) -> Trace | None:
    """The trace in an item whose texts and numbers are given as text; None when it carries no sequence number."""
    found = _POSITION.fullmatch(item.get(sequence_attribute, ""))
    if found is None:
        return None
    position = Position(int(found[1]), int(found[2] or -1))
    own = any(_names(item.get(name, ""), position) for name in key_attributes)
    return Trace(position, own, item.get(KEY_ATTRIBUTE), item.get(DIGEST_ATTRIBUTE))


def _names(text: str, position: Position) -> bool:
    """Whether there is this sequence number in it and, of an aggregate's record, the sub-sequence number behind that."""
    numbers = [int(part) for part in re.findall(r"[0-9]+", text)]
    if position.sequence_number not in numbers:
        return False
    behind = numbers[numbers.index(position.sequence_number) + 1 :]
    return position.sub_sequence_number < 0 or position.sub_sequence_number in behind


@dataclass(frozen=True, slots=True)
class Lost:
    """A record to look for."""

    shard: str
    sequence_number: str
    key: str
    n: int


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A key whose state is not from its last record. `found_n` is None when there is no state at all."""

    key: str
    last_n: int
    found_n: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """The result. Every produced record is in exactly one of `written`, `dead_lettered` and `missing`.

    `overwritten` are the written ones that only a later state of their key vouches for. `healthy_dead_lettered` were not
    made as poison. `duplicated` are own items too many, `also_written` dead letters whose record has an own item as well.
    `damaged` items have another payload or key than the record. `foreign` items are of no record in the ledger: another
    run's, or of a call that broke off and was sent again. `misordered` is None when the table can't show order.
    """

    design: Design
    produced: int
    written: int
    overwritten: int
    dead_lettered: int
    healthy_dead_lettered: int
    missing: int
    duplicated: int
    also_written: int
    damaged: int
    foreign: int
    keys: int
    misordered: int | None
    lost: tuple[Lost, ...] = ()
    overtaken: tuple[Overtaken, ...] = ()

    @property
    def holds(self) -> bool:
        """Nothing is missing, damaged or overtaken."""
        return not (self.missing or self.damaged or self.misordered)


class Verification:
    """Collects the evidence, in any order, and judges it."""

    def __init__(self, produced: Iterable[Acknowledged]) -> None:
        """Raises LedgerError for a position that is there twice: then items can't be told apart by it."""
        self._records: dict[Position, Acknowledged] = {}
        for record in produced:
            position = record.position
            if position in self._records:
                raise LedgerError(f"sequence number {_number(record)} is there twice; in a stream it must be unique")
            self._records[position] = record
        self._keys = {record.key for record in self._records.values()}
        self._buried: set[Position] = set()
        self._own: Counter[Position] = Counter()
        self._states: Counter[Position] = Counter()
        self._foreign: set[Position] = set()
        self._newest: dict[str, Position] = {}
        self._damaged = 0

    @property
    def produced(self) -> int:
        """Records in the ledger."""
        return len(self._records)

    def bury(self, position: Position) -> None:
        """There is a dead letter of this record."""
        if position in self._records:
            self._buried.add(position)

    def see(self, trace: Trace) -> None:
        """There is an item with this trace."""
        record = self._records.get(trace.position)
        if record is None:
            self._foreign.add(trace.position)
        else:
            self._damaged += not _matches(record, trace)
            (self._own if trace.is_own else self._states)[trace.position] += 1
        key = trace.key if record is None else record.key
        if not trace.is_own and key in self._keys:
            self._newest[key] = max(self._newest.get(key, NOWHERE), trace.position)

    def design(self) -> Design:
        """What the table is made of, from what is in it."""
        if self._own and self._newest:
            return Design.BOTH
        return Design.LATEST if self._newest else Design.RECORDS

    def report(self, design: Design | None = None) -> Report:
        """Judge the evidence, for this design or for the one seen."""
        design = design or self.design()
        own = self._own + self._states if design is Design.RECORDS else self._own
        missing = [place for place in self._records if not (place in self._buried or self._is_written(place, design))]
        written = self._records.keys() - self._buried - set(missing)
        overtaken = None if design is Design.RECORDS else self._overtaken(design)
        return Report(
            design=design,
            produced=len(self._records),
            written=len(written),
            overwritten=len(written - self._states.keys()) if design is Design.LATEST else 0,
            dead_lettered=len(self._buried),
            healthy_dead_lettered=sum(not self._records[place].poison for place in self._buried),
            missing=len(missing),
            duplicated=sum(count - 1 for count in own.values()),
            also_written=len(self._buried & own.keys()),
            damaged=self._damaged,
            foreign=len(self._foreign),
            keys=len(self._keys),
            misordered=None if overtaken is None else len(overtaken),
            lost=tuple(_lost(self._records[place]) for place in missing[:SAMPLES]),
            overtaken=tuple((overtaken or [])[:SAMPLES]),
        )

    def _is_written(self, position: Position, design: Design) -> bool:
        if design is Design.LATEST:
            return self._newest.get(self._records[position].key, NOWHERE) >= position
        return position in self._own or (design is Design.RECORDS and position in self._states)

    def _overtaken(self, design: Design) -> list[Overtaken]:
        """Keys whose state is behind their last record.

        Beside own items the last one is the last that was written: one that is missing is told once, as missing.
        """
        alive = self._records.keys() - self._buried
        last = self._last(alive if design is Design.LATEST else alive & self._own.keys())
        behind = ((key, place) for key, place in last.items() if self._newest.get(key, NOWHERE) < place)
        return [Overtaken(key, self._records[place].n, self._found_n(key)) for key, place in behind]

    def _found_n(self, key: str) -> int | None:
        found = self._records.get(self._newest.get(key, NOWHERE))
        return found.n if found else None

    def _last(self, positions: Iterable[Position]) -> dict[str, Position]:
        """The highest of these positions, by key."""
        last: dict[str, Position] = {}
        for position in positions:
            key = self._records[position].key
            last[key] = max(last.get(key, NOWHERE), position)
        return last


def _matches(record: Acknowledged, trace: Trace) -> bool:
    return trace.key in {None, record.key} and trace.digest in {None, record.digest}


def _lost(record: Acknowledged) -> Lost:
    return Lost(record.shard, _number(record), record.key, record.n)


def _number(record: Acknowledged) -> str:
    """As the stream wrote it, and as `headrace dead-letters` writes that of a record inside an aggregate."""
    sub = record.sub_sequence_number
    return record.sequence_text if sub < 0 else f"{record.sequence_text}.{sub}"
