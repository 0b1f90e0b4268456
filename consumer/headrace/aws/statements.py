"""Updates of lease rows as PartiQL statements: many share one call, and each succeeds or fails by itself.

What PartiQL says otherwise than an expression: conditions stand in WHERE beside the whole key, OR is not known there, an
update of a row that is not there is refused like any other condition, and members cannot be taken out of a set here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, assert_never

from headrace.rows import Absent, AtMost, Condition, Equals, OneOf, Present, UpdateRow, Value

Wire: TypeAlias = dict[str, Any]


def statement(request: UpdateRow, table: str, wire: Callable[[Value], Wire]) -> Mapping[str, Any]:
    """One member of BatchExecuteStatement. Raises ValueError for an update that PartiQL cannot say."""
    if request.discard:
        raise ValueError("PartiQL takes no members out of a set")
    values: list[Value] = [*request.assign.values(), request.key.pk, request.key.sk]
    changes = [f"SET {quoted(name)} = ?" for name in request.assign]
    changes += [f"REMOVE {quoted(name)}" for name in request.remove]
    conditions = [_condition(condition, values) for condition in request.conditions]
    where = " AND ".join(['"pk" = ?', '"sk" = ?', *conditions])
    return {
        "Statement": f"UPDATE {quoted(table)} {' '.join(changes)} WHERE {where}",
        "Parameters": [wire(value) for value in values],
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _condition(condition: Condition, values: list[Value]) -> str:
    name = quoted(condition.attribute)
    match condition:
        case Equals(_, value):
            values.append(value)
            return f"{name} = ?"
        case AtMost(_, value):
            values.append(value)
            return f"{name} <= ?"
        case OneOf(_, several):
            values.extend(several)
            return f"{name} IN [{', '.join('?' for _ in several)}]"
        case Absent():
            return f"{name} IS MISSING"
        case Present():
            return f"{name} IS NOT MISSING"
        case _:
            assert_never(condition)


def quoted(name: str) -> str:
    """A name as PartiQL takes it, whatever characters it holds."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as PartiQL takes it."""
    return "'" + text.replace("'", "''") + "'"
