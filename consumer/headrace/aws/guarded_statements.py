"""Mode `latest`: 25 guarded PartiQL statements a request. An older record never replaces a newer one.

An item carries the order of the record that wrote it; see `core.guarded` for the walk of a write. In the steady state,
with keys that this worker wrote last, a write is one UPDATE of what it is known to be.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias, assert_never

import msgspec

from headrace.aws import statement_call
from headrace.aws.guarded_texts import Shape
from headrace.aws.statement_call import (
    CONDITION_FAILED,
    DUPLICATE,
    MOST_SHAPES,
    Call,
    Statement,
    StatementAnswer,
    Wrap,
    careful,
    fault_of,
    item_of,
    wrapping,
)
from headrace.aws.submission import Submission, Write
from headrace.aws.write_counts import WriteCounts
from headrace.aws.write_request import ALL_DONE, Answered, TableKeys, Writes
from headrace.core import guarded
from headrace.core.guarded import Ask, Form, Guard, Refuse, Same, Stale
from headrace.core.items import N, S
from headrace.core.known_items import KnownItems
from headrace.core.native import Native
from headrace.core.rendered_items import RenderedValues
from headrace.core.write_modes import WriteMode, insist
from headrace.core.write_queue import Line
from headrace.errors import AwsError, Unavailable
from headrace.operations import Effect, Put

MOST_TURNS: Final = 6
"""Answers in a row that change the form before a write waits: somebody else makes and deletes the same item."""

MOST_TRIMMED: Final = 25
"""Attributes taken away by one statement, whose text is limited."""

SURE: Final = 16
"""How far the count of new and known keys goes to either side: so many surprises turn the guess."""


Rank: TypeAlias = tuple[str, Any, str]


class GuardedWrite(Write, gc=False, eq=False):
    """A write with what it is compared by, and where it stands on its walk."""

    order: str
    by: S | N | None
    rank: Rank
    form: Form | None = None
    expected: str = ""
    """The order that the item is known to have; for `Form.REPLACE`."""
    turns: int = 0
    surplus: tuple[str, ...] = ()
    shape: Shape | None = None


class Known(msgspec.Struct, frozen=True, gc=False):
    """What is known of an item: the order that was written last, its rank, and the shape of its attributes."""

    order: str
    rank: Rank
    shape: Shape


class GuardedStatements:
    """Implements `write_request.WriteRequest` for mode `latest`."""

    target = statement_call.TARGET
    is_ordered = True

    def __init__(self, keys: TableKeys, counts: WriteCounts, guard: Guard, native: Native | None = None) -> None:
        self._keys = keys
        self._wrap = wrapping(native)
        self._counts = counts
        self._guard = guard
        self._shape_of = lru_cache(MOST_SHAPES)(lambda table, names: Shape(table, names, keys[table], guard))
        self._known = KnownItems()
        self._newness = 0
        """Of keys not known here: positive while most of them turned out to be new."""

    def write(self, index: int, effect: Effect, submission: Submission, order: str) -> Write:
        """One guarded put. Raises UnknownTableError, ItemError, NotCarried."""
        if type(effect) is not Put or effect.condition is not None:
            insist(effect, WriteMode.LATEST)
        by = self._guard.value_of(item_of(effect))
        return GuardedWrite(self._keys.key(effect), effect, submission, index, order, by, guarded.rank(order, by))

    def arrange(self, line: Line[Write]) -> None:
        """The newest of several is the one that would be left."""
        line.sort(key=_rank)

    def encode(self, part: Writes) -> bytes:
        """The request body. Raises ValueError, TypeError or RecursionError when a write cannot be encoded: see `fault`."""
        writes = [_guarded(line[-1]) for line in part.values()]
        try:
            return statement_call.encode([self._again(write) or self._statement(write, self._wrap) for write in writes])
        except (TypeError, ValueError, RecursionError):
            return statement_call.encode([self._statement(write, careful) for write in writes])

    def fault(self, write: Write) -> str | None:
        """Why this write cannot be encoded, without any value of it; None if it can."""
        return fault_of(lambda: Call([self._statement(_guarded(write), careful)]))

    def read(self, part: Writes, answer: bytes) -> Answered:
        """Which walk on, wait, or are refused. Raises Unavailable for an answer that makes no sense."""
        reading = _Reading()
        responses = statement_call.read(answer, len(part), self._keys.default)
        for (key, line), response in zip(part.items(), responses, strict=True):
            write = _guarded(line[-1])
            if write.form is Form.REPLACE and response.Error is None:
                self._known.add(key, Known(write.order, write.rank, _shape(write)))
            else:
                self._read_one(key, write, response, reading)
        return reading.answered

    # --- ask -----------------------------------------------------------------------------------------------------------

    def _again(self, write: GuardedWrite) -> Statement | None:
        """The steady state in one step: the item is text, and of a key that was written last from here. None where it is not."""
        item = item_of(write.effect)
        if write.form is not None or type(item) is not RenderedValues:
            return None
        known: Known | None = self._known.get(write.key)
        if known is None or known.shape.names is not item.names or known.rank >= write.rank:
            return None
        write.form, write.shape, write.expected = Form.REPLACE, known.shape, known.order
        return known.shape.replacement(item.values_json, write.order, known.order)

    def _statement(self, write: GuardedWrite, wrap: Wrap) -> Statement:
        names, values = wrap(item_of(write.effect))
        write.shape = shape = self._shape_of(write.effect.table or self._keys.default, names)
        if write.form is None:
            write.form = self._first_form(write, shape)
        if write.form is Form.TRIM:
            return shape.trim(write.surplus[:MOST_TRIMMED], values, S(write.order))
        return shape.statement(write.form, values, S(write.order), _compared(write))

    def _first_form(self, write: GuardedWrite, shape: Shape) -> Form:
        known: Known | None = self._known.get(write.key)
        if known is None:
            return Form.INSERT if self._newness > 0 else Form.UPDATE
        if known.shape.names != shape.names or known.rank >= write.rank:
            return Form.UPDATE
        write.expected = known.order
        return Form.REPLACE

    # --- read ----------------------------------------------------------------------------------------------------------

    def _read_one(self, key: Hashable, write: GuardedWrite, response: StatementAnswer, reading: _Reading) -> None:
        error = response.Error
        if error is None:
            self._took_place(key, write, response, reading)
        elif error.Code == DUPLICATE:
            self._turn(key, write, Form.UPDATE, reading)
        elif error.Code == CONDITION_FAILED:
            self._met(key, write, error.Item, reading)
        elif (passing := statement_call.trouble(error)) is not None:
            reading.later.add(key)
            reading.trouble = passing
        else:
            reading.refused[key] = error.Message or error.Code

    def _took_place(self, key: Hashable, write: GuardedWrite, response: StatementAnswer, reading: _Reading) -> None:
        if write.form is Form.INSERT:
            self._guess(1)
        elif write.form is Form.UPDATE:
            self._guess(-1)
        if write.form is Form.TRIM:
            self._trims(key, write, write.surplus[MOST_TRIMMED:], reading)
        else:
            self._trims(key, write, self._surplus(write, response.Item), reading)

    def _met(self, key: Hashable, write: GuardedWrite, stored: guarded.Stored | None, reading: _Reading) -> None:
        if write.form is Form.TRIM:
            return  # a newer one has come, with attributes of its own
        match guarded.met(stored, self._guard, write.order, write.by):
            case Ask(form=form):
                self._turn(key, write, form, reading)
            case Stale():
                self._counts.stale += 1
            case Same():
                self._counts.duplicates += 1
                self._trims(key, write, self._surplus(write, stored), reading)
            case Refuse(reason=reason):
                reading.refused[key] = reason
            case step:
                assert_never(step)

    def _turn(self, key: Hashable, write: GuardedWrite, form: Form, reading: _Reading) -> None:
        if write.form is Form.UPDATE and form is Form.INSERT:
            self._guess(1)
        elif write.form is Form.INSERT:
            self._guess(-1)
        write.form = form
        write.turns += 1
        if write.turns % MOST_TURNS:
            reading.at_once.add(key)
        else:
            reading.later.add(key)
            reading.trouble = Unavailable(f"an item is there and is not, {write.turns} times in a row")

    def _surplus(self, write: GuardedWrite, before: Mapping[str, Any] | None) -> tuple[str, ...]:
        """Attributes of the item before that this one does not have."""
        return tuple(sorted(before.keys() - _shape(write).all_names)) if before else ()

    def _trims(self, key: Hashable, write: GuardedWrite, surplus: tuple[str, ...], reading: _Reading) -> None:
        """The item is there; what is left of the one before is taken away next."""
        if surplus:
            write.form, write.surplus = Form.TRIM, surplus
            reading.at_once.add(key)
        else:
            self._known.add(key, Known(write.order, write.rank, _shape(write)))

    def _guess(self, surprise: int) -> None:
        self._newness = max(-SURE, min(SURE, self._newness + surprise))


class _Reading:
    """What has been read of an answer so far."""

    def __init__(self) -> None:
        self.later: set[Hashable] = set()
        self.at_once: set[Hashable] = set()
        self.refused: dict[Hashable, str] = {}
        self.trouble: AwsError | None = None

    @property
    def answered(self) -> Answered:
        if not (self.later or self.at_once or self.refused):
            return ALL_DONE
        return Answered(self.later, self.at_once, self.refused, self.trouble)


def _guarded(write: Write) -> GuardedWrite:
    assert isinstance(write, GuardedWrite)  # noqa: S101 - this mode makes no others
    return write


def _shape(write: GuardedWrite) -> Shape:
    assert write.shape is not None  # noqa: S101 - it was sent
    return write.shape


def _compared(write: GuardedWrite) -> list[Any]:
    """The values that the guard of the write's form compares with."""
    match write.form:
        case Form.ADOPT | Form.INSERT:
            return []
        case Form.REPLACE:
            return [S(write.expected)]
        case Form.TIE:
            return [write.by, S(write.order)]
        case _:
            return [S(write.order) if write.by is None else write.by]


def _rank(write: Write) -> Rank:
    return _guarded(write).rank
