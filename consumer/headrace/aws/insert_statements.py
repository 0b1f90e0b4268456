"""Mode `insert`: 25 PartiQL INSERTs a request. An item that is there is never touched.

An INSERT of a key that exists is refused by itself (`DuplicateItem`; developer guide, "PartiQL insert statements"), which
is what a repeat of a record should meet: it is counted, and the write is settled.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

from headrace.aws import statement_call
from headrace.aws.statement_call import (
    DUPLICATE,
    MOST_SHAPES,
    Call,
    Statement,
    Wrap,
    careful,
    fault_of,
    insert_text,
    item_of,
    parameters,
    text_json,
    trouble,
    wrapping,
)
from headrace.aws.submission import Submission, Write
from headrace.aws.write_counts import WriteCounts
from headrace.aws.write_request import ALL_DONE, Answered, TableKeys, Writes
from headrace.core.native import Native
from headrace.core.write_modes import WriteMode, insist
from headrace.core.write_queue import Line
from headrace.errors import AwsError
from headrace.operations import Effect, Put


class InsertStatements:
    """Implements `write_request.WriteRequest` for mode `insert`."""

    target = statement_call.TARGET
    is_ordered = False

    def __init__(self, keys: TableKeys, counts: WriteCounts, native: Native | None = None) -> None:
        self._keys = keys
        self._wrap = wrapping(native)
        self._counts = counts
        self._text = lru_cache(MOST_SHAPES)(lambda table, names: text_json(insert_text(table, names), names))

    def write(self, index: int, effect: Effect, submission: Submission, order: str) -> Write:  # noqa: ARG002 - the protocol's
        """One insert. Raises UnknownTableError, ItemError, NotCarried."""
        if type(effect) is not Put or effect.condition is not None:
            insist(effect, WriteMode.INSERT)
        return Write(self._keys.key(effect), effect, submission, index)

    def arrange(self, line: Line[Write]) -> None:
        """The first of several is the one that the table would keep."""
        line.reverse()

    def encode(self, part: Writes) -> bytes:
        """The request body. Raises ValueError, TypeError or RecursionError when a write cannot be encoded: see `fault`."""
        effects = [line[-1].effect for line in part.values()]
        try:
            return statement_call.encode([self._statement(effect, self._wrap) for effect in effects])
        except (TypeError, ValueError, RecursionError):
            return statement_call.encode([self._statement(effect, careful) for effect in effects])

    def fault(self, write: Write) -> str | None:
        """Why this write cannot be encoded, without any value of it; None if it can."""
        return fault_of(lambda: Call([self._statement(write.effect, careful)]))

    def read(self, part: Writes, answer: bytes) -> Answered:
        """Which are to be sent again, or refused. Raises Unavailable for an answer that makes no sense."""
        later: set[Hashable] = set()
        refused: dict[Hashable, str] = {}
        found: AwsError | None = None
        for key, response in zip(part, statement_call.read(answer, len(part), self._keys.default), strict=True):
            error = response.Error
            if error is None:
                continue
            if error.Code == DUPLICATE:
                self._counts.duplicates += 1
            elif (passing := trouble(error)) is not None:
                later.add(key)
                found = passing
            else:
                refused[key] = error.Message or error.Code
        return Answered(later=later, refused=refused, trouble=found) if later or refused else ALL_DONE

    def _statement(self, effect: Effect, wrap: Wrap) -> Statement:
        names, values = wrap(item_of(effect))
        return Statement(self._text(effect.table or self._keys.default, names), parameters(values))
