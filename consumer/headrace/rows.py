"""Conditional writes as immutable values: what the lease protocol asks of its table, without saying how it is asked.

A request is built once, as a value, before anything is sent; a late or repeated send can then never carry newer
numbers. The AWS edge renders these as expressions, the in-memory table evaluates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

Value: TypeAlias = str | int | float | bool | frozenset[str]
"""An attribute: S, N, N, BOOL or SS. A string set is never empty in a row: an emptied one is absent, as in DynamoDB."""

Row: TypeAlias = Mapping[str, Value]
"""One row with its key attributes `pk` and `sk`."""


class Key(NamedTuple):
    """The key of one row."""

    pk: str
    sk: str


@dataclass(frozen=True, slots=True)
class Equals:
    """The attribute is there and equals `value`."""

    attribute: str
    value: Value


@dataclass(frozen=True, slots=True)
class AtMost:
    """The attribute is there and is <= `value` (strings by UTF-8 bytes, numbers by value)."""

    attribute: str
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """The attribute is there and equals one of `values`."""

    attribute: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """The row has no such attribute. `Absent("pk")` means that there is no row."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Present:
    """The row has the attribute. `Present("pk")` means that the row exists."""

    attribute: str


Condition: TypeAlias = Equals | AtMost | OneOf | Absent | Present


@dataclass(frozen=True, slots=True)
class PutRow:
    """Write the whole row if every condition holds on what is there."""

    key: Key
    attributes: Mapping[str, Value]
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateRow:
    """Change attributes of one row if every condition holds. `discard` takes members out of string sets."""

    key: Key
    conditions: tuple[Condition, ...]
    assign: Mapping[str, Value] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    discard: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeleteRow:
    """Delete one row if every condition holds."""

    key: Key
    conditions: tuple[Condition, ...]


MOST_AT_ONCE: Final = 25
"""Updates in one call of `apply_each` (BatchExecuteStatement, API reference)."""

Request: TypeAlias = PutRow | UpdateRow | DeleteRow


@dataclass(frozen=True, slots=True)
class Applied:
    """The write took place; `row` is the row after it (empty after a delete)."""

    row: Row


@dataclass(frozen=True, slots=True)
class Refused:
    """A condition did not hold; `row` is what was there, None where there was no row."""

    row: Row | None


Outcome: TypeAlias = Applied | Refused


@dataclass(frozen=True, slots=True)
class TransactionApplied:
    """Every member took place."""


@dataclass(frozen=True, slots=True)
class TransactionRefused:
    """Nothing took place. `refused` has, per member, the refusal or None where that member was not the cause."""

    refused: tuple[Refused | None, ...]


TransactionOutcome: TypeAlias = TransactionApplied | TransactionRefused
