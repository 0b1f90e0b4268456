"""Results and the checkpoint that passes them as one transaction: what is asked, and what may become of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from headrace.operations import Effect
from headrace.rows import Request, Row


class UnknownTableError(LookupError):
    """The key attributes of a table have to be learned first."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """`operations` on distinct items, and rows of the lease table beside them: all of it or nothing takes place.

    `token` (at most 36 characters) makes a repeat of the same transaction harmless for ten minutes. For the counts:
    it stands for `records` and for `writes`, of which some may have been folded.
    """

    operations: Sequence[Effect]
    rows: Sequence[Request]
    token: str
    records: int
    writes: int


@dataclass(frozen=True, slots=True)
class Committed:
    """All of it took place."""


@dataclass(frozen=True, slots=True)
class RowRefused:
    """Nothing took place: a row's condition did not hold, the first one's that is told of, by its place.

    `row` is what was there, None where that was not told.
    """

    place: int
    row: Row | None


@dataclass(frozen=True, slots=True)
class OperationsRefused:
    """Nothing took place, and never will as it is: why, by the place of the operation. Empty where nobody told which."""

    reasons: Mapping[int, str]
    why: str = ""
    """Where nobody told which."""


CommitOutcome: TypeAlias = Committed | RowRefused | OperationsRefused
