"""What a handler asks to be written: the operations on items of the sink's table, or of another one they name.

Keys and items are plain dicts; values may be what JSON has, and Decimal, bytes and sets. Which operations a write mode
carries is told by `core.write_modes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec


class Condition(msgspec.Struct, frozen=True, gc=False):
    """What must hold of the stored item for an operation to take place; only in mode `transactional`.

    `expression` is a condition expression of DynamoDB (developer guide, "Condition and filter expressions");
    `values` gives its placeholders (`:amount`), `names` its stand-ins for names that are reserved words (`#status`).
    """

    expression: str
    values: Mapping[str, Any] = {}
    names: Mapping[str, str] = {}


class Put(msgspec.Struct, frozen=True, gc=False):
    """Write `item`, replacing what has the same key. `table` is the sink table unless named."""

    item: Mapping[str, Any]
    table: str | None = None
    condition: Condition | None = None


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Delete the item with `key` (all key attributes). Deleting what is not there is a success."""

    key: Mapping[str, Any]
    table: str | None = None
    condition: Condition | None = None


class Update(msgspec.Struct, frozen=True, gc=False):
    """Change attributes of the item with `key`, which comes into being if it is not there.

    `assign` sets attributes, `increment` adds to numbers (an absent one counts as 0), `remove` takes attributes away. The
    names are whole top-level attributes, whatever characters they hold. Only in mode `transactional`.
    """

    key: Mapping[str, Any]
    assign: Mapping[str, Any] = {}
    increment: Mapping[str, int | float | Decimal] = {}
    remove: Sequence[str] = ()
    table: str | None = None
    condition: Condition | None = None


class Increment(msgspec.Struct, frozen=True, gc=False):
    """Add to numbers of the item with `key`, which comes into being if it is not there; an absent number counts as 0.

    Only in mode `transactional`: in every other a record that is repeated would be counted twice.
    """

    key: Mapping[str, Any]
    by: Mapping[str, int | float | Decimal]
    table: str | None = None


Effect: TypeAlias = Put | Delete | Update | Increment
"""One write that a record asks for."""

Effects: TypeAlias = Effect | Mapping[str, Any] | Sequence[Any] | None
"""What a record handler may return: a mapping is short for `Put`; a sequence holds several; None asks for nothing."""
