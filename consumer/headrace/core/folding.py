"""Two writes of one item, one after the other, as one write that leaves the item as both would have.

A transaction names each item once. What cannot be told without knowing the stored item (a condition, a change of a value
that is no number) is not folded: the two then go into different transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any, Final

from headrace.core.items import N
from headrace.operations import Delete, Effect, Increment, Put, Update

EXACT: Final = Context(prec=38, traps=[Inexact, InvalidOperation, Overflow])
"""Digits of a number (DynamoDB developer guide, "Naming rules and data types"): what needs more is left to the server."""


def fold(earlier: Effect, later: Effect) -> Effect | None:
    """Both, as one; None where that cannot be told. They are of one item."""
    if not (_is_plain(earlier) and _is_plain(later)):
        return None
    if isinstance(later, Put | Delete):
        return later
    match earlier:
        case Put():
            return _put_changed(earlier, _update(later))
        case Delete():
            return None
        case _:
            return _changed_twice(_update(earlier), _update(later))


def _is_plain(effect: Effect) -> bool:
    """Without a condition, and without a change of the key, which DynamoDB refuses."""
    match effect:
        case Put() | Delete():
            return effect.condition is None
        case Increment():
            return effect.key.keys().isdisjoint(effect.by)
        case Update():
            touched = {*effect.assign, *effect.increment, *effect.remove}
            return effect.condition is None and effect.key.keys().isdisjoint(touched)


def _update(change: Update | Increment) -> Update:
    return Update(change.key, increment=change.by, table=change.table) if isinstance(change, Increment) else change


def _put_changed(put: Put, change: Update) -> Put | None:
    item = {name: value for name, value in put.item.items() if name not in change.remove}
    sums = _sums(item, change.increment)
    return None if sums is None else Put({**item, **change.assign, **sums}, put.table)


def _changed_twice(first: Update, then: Update) -> Update | None:
    untouched = {name: value for name, value in first.assign.items() if name not in then.remove}
    gone = [name for name in first.remove if name not in then.assign and name not in then.increment]
    counted = {
        name: value for name, value in first.increment.items() if name not in then.assign and name not in then.remove
    }
    # what was assigned or taken away has a value that is known, and is assigned what it comes to
    known = {name: by for name, by in then.increment.items() if name in untouched or name in first.remove}
    assigned = _sums(untouched, known)
    increments = _sums(counted, {name: by for name, by in then.increment.items() if name not in known})
    if assigned is None or increments is None:
        return None
    return Update(
        first.key,
        assign={**untouched, **then.assign, **assigned},
        increment={**counted, **increments},
        remove=[*gone, *(name for name in then.remove if name not in gone)],
        table=first.table,
    )


def _sums(numbers: Mapping[str, Any], by: Mapping[str, Any]) -> dict[str, Any] | None:
    """Each number of `by` and the one that it is added to, an absent one being 0; None where one cannot be told."""
    sums: dict[str, Any] = {}
    for name, more in by.items():
        total = _sum(numbers.get(name, 0), more)
        if total is None:
            return None
        sums[name] = total
    return sums


def _sum(one: Any, other: Any) -> int | Decimal | None:
    if type(one) is int and type(other) is int:
        return one + other
    try:
        return EXACT.add(_decimal(one), _decimal(other))
    except (ArithmeticError, ValueError, TypeError):
        return None


def _decimal(value: Any) -> Decimal:
    """What DynamoDB takes a number for. Raises TypeError where it is none."""
    match value:
        case bool():
            raise TypeError("no number")
        case N():
            return Decimal(value.N)
        case float():
            return Decimal(float.__repr__(value))
        case int() | Decimal():
            return Decimal(value)
        case _:
            raise TypeError("no number")
