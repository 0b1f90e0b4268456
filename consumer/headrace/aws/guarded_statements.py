"""Mode `latest`: 25 guarded PartiQL statements a request. An older record never replaces a newer one.

An item carries the order of the record that wrote it; see `core.guarded` for the walk of a write. In the steady state,
with keys that this worker has written before, a write is one UPDATE.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, assert_never

from headrace.aws import statement_call
from headrace.aws.guarded_texts import Shape, Shapes
from headrace.aws.statement_call import (
    CONDITION_FAILED,
    DUPLICATE,
    Call,
    Statement,
    StatementAnswer,
    Wrap,
    careful,
    fault_of,
    item_of,
    wrapped,
)
from headrace.aws.submission import Submission, Write
from headrace.aws.write_counts import WriteCounts
from headrace.aws.write_request import ALL_DONE, Answered, TableKeys, Writes
from headrace.core import guarded
from headrace.core.guarded import Ask, Form, Guard, Refuse, Same, Stale
from headrace.core.items import N, S
from headrace.core.known_items import KnownItems
from headrace.core.write_modes import WriteMode, insist
from headrace.core.write_queue import Line
from headrace.errors import AwsError
from headrace.operations import Effect

MOST_TURNS: Final = 6
"""Answers in a row that change the form before a write waits: somebody else makes and deletes the same item."""

SURE: Final = 16
"""How far the count of new and known keys goes to either side: so many surprises turn the guess."""


class GuardedWrite(Write, gc=False, eq=False):
    """A write with what it is compared by, and where it stands on its walk."""

    order: str
    by: S | N | None
    form: Form | None = None
    turns: int = 0
    surplus: tuple[str, ...] = ()
    shape: Shape | None = None


class GuardedStatements:
    """Implements `write_request.WriteRequest` for mode `latest`."""

    target = statement_call.TARGET
    is_ordered = True

    def __init__(self, keys: TableKeys, counts: WriteCounts, guard: Guard) -> None:
        self._keys = keys
        self._counts = counts
        self._guard = guard
        self._shapes = Shapes(keys, guard)
        self._known = KnownItems()
        self._newness = 0
        """Of keys not known here: positive while most of them turned out to be new."""

    def write(self, index: int, effect: Effect, submission: Submission, order: str) -> Write:
        """One guarded put. Raises UnknownTableError, ItemError, NotCarried."""
        insist(effect, WriteMode.LATEST)
        by = self._guard.value_of(item_of(effect))
        return GuardedWrite(self._keys.key(effect), effect, submission, index, order, by)

    def arrange(self, line: Line[Write]) -> None:
        """The newest of several is the one that would be left."""
        line.sort(key=_rank)

    def encode(self, part: Writes) -> bytes:
        """The request body. Raises ValueError, TypeError or RecursionError when a write cannot be encoded: see `fault`."""
        writes = [_guarded(line[-1]) for line in part.values()]
        try:
            return statement_call.encode([self._statement(write, wrapped) for write in writes])
        except (TypeError, ValueError, RecursionError):
            return statement_call.encode([self._statement(write, careful) for write in writes])

    def fault(self, write: Write) -> str | None:
        """Why this write cannot be encoded, without any value of it; None if it can."""
        return fault_of(lambda: Call([self._statement(_guarded(write), careful)]))

    def read(self, part: Writes, answer: bytes) -> Answered:
        """Which walk on, wait, or are refused. Raises Unavailable for an answer that makes no sense."""
        reading = _Reading()
        for (key, line), response in zip(part.items(), statement_call.read(answer, len(part)), strict=True):
            self._read_one(key, _guarded(line[-1]), response, reading)
        return reading.answered

    # --- ask -----------------------------------------------------------------------------------------------------------

    def _statement(self, write: GuardedWrite, wrap: Wrap) -> Statement:
        names, values = wrap(item_of(write.effect))
        write.shape = shape = self._shapes.of(write.effect.table or self._keys.default, names)
        if write.form is None:
            write.form = self._first_form(write, shape)
        return shape.statement(write.form, values, write.order, write.by, write.surplus)

    def _first_form(self, write: GuardedWrite, shape: Shape) -> Form:
        known = self._known.get(write.key)
        if known is None:
            return Form.INSERT if self._newness > 0 else Form.UPDATE
        # With an order of the user's, other shards may write the same item, and with other attributes.
        is_mine = known == (write.submission.permit, shape.names) and write.by is None
        return Form.REPLACE if is_mine else Form.UPDATE

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
        if write.form is not Form.TRIM and response.Item and self._trims(key, write, response.Item.keys(), reading):
            return
        self._done(key, write)

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
                if not (stored and self._trims(key, write, stored.keys(), reading)):
                    self._done(key, write)
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
        (reading.later if write.turns % MOST_TURNS == 0 else reading.at_once).add(key)

    def _trims(self, key: Hashable, write: GuardedWrite, before: Any, reading: _Reading) -> bool:
        """Whether the item before had attributes that this one does not have: they are taken away next."""
        surplus = tuple(sorted(before - _shape(write).all_names))
        if surplus:
            write.form, write.surplus = Form.TRIM, surplus
            reading.at_once.add(key)
        return bool(surplus)

    def _done(self, key: Hashable, write: GuardedWrite) -> None:
        self._known.add(key, (write.submission.permit, _shape(write).names))

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


def _rank(write: Write) -> Any:
    mine = _guarded(write)
    return guarded.rank(mine.order, mine.by)
