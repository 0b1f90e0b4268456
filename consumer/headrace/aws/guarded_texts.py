"""The statements of mode `latest`, by the shape of an item and the form of the statement."""

from __future__ import annotations

from typing import Any, Final, assert_never

import msgspec

from headrace.aws.statement_call import Names, Statement, text_json, where_key
from headrace.aws.statements import literal, quoted
from headrace.aws.write_request import TableKeys
from headrace.core.guarded import Form, Guard
from headrace.core.items import N, S

ALL_OLD: Final = "ALL_OLD"
MOST_SHAPES: Final = 4096


class Shapes:
    """The shapes of the items of all tables, each made once, and kept while there are not too many."""

    def __init__(self, keys: TableKeys, guard: Guard) -> None:
        self._keys = keys
        self._guard = guard
        self._made: dict[tuple[str, Names], Shape] = {}

    def of(self, table: str, names: Names) -> Shape:
        """The shape of an item with these attributes."""
        found = self._made.get((table, names))
        if found is None:
            if len(self._made) >= MOST_SHAPES:
                self._made.clear()
            found = self._made[table, names] = Shape(table, names, self._keys[table], self._guard)
        return found


class Shape:
    """Names of attributes in an order, and the statements that write an item of such names."""

    def __init__(self, table: str, names: Names, keys: Names, guard: Guard) -> None:
        self.names = names
        self.all_names = frozenset(names) | {guard.own_attribute}
        self._table = table
        self._keys = keys
        self._guard = guard
        self._key_at = [names.index(name) for name in keys]
        self._rest_at = [place for place, name in enumerate(names) if name not in keys]
        self._texts: dict[tuple[Form, Names], msgspec.Raw] = {}

    def statement(self, form: Form, values: list[Any], order: str, by: S | N | None, surplus: Names) -> Statement:
        """One statement. Raises ItemError where its text would be too long."""
        text = self._texts.get((form, surplus))
        if text is None:
            text = self._texts[form, surplus] = text_json(self._text(form, surplus), self.names)
        own = S(order)
        if form is Form.INSERT:
            return Statement(text, [*values, own])
        key = [values[place] for place in self._key_at]
        if form is Form.TRIM:
            return Statement(text, [*key, own], ALL_OLD)
        return Statement(text, [*[values[at] for at in self._rest_at], own, *key, *_compared(form, own, by)], ALL_OLD)

    def _text(self, form: Form, surplus: Names) -> str:
        table, first, own = quoted(self._table), quoted(self._guard.first), quoted(self._guard.own_attribute)
        where = f"WHERE {where_key(self._keys)}"
        if form is Form.TRIM:
            removals = " ".join(f"REMOVE {quoted(name)}" for name in surplus)
            return f"UPDATE {table} {removals} {where} AND {own} = ?"
        if form is Form.INSERT:
            pairs = ", ".join(f"{literal(name)}: ?" for name in (*self.names, self._guard.own_attribute))
            return f"INSERT INTO {table} VALUE {{{pairs}}}"
        changes = " ".join(f"SET {quoted(self.names[at])} = ?" for at in self._rest_at)
        update = f"UPDATE {table} {changes} SET {own} = ? {where}"  # noqa: S608 - names are quoted, values stand beside it
        match form:
            case Form.REPLACE:
                return f"{update} AND {first} < ?"
            case Form.UPDATE:
                return f"{update} AND {first} < ? RETURNING ALL OLD *"
            case Form.ADOPT:
                return f"{update} AND {first} IS MISSING RETURNING ALL OLD *"
            case Form.TIE:
                return f"{update} AND {first} = ? AND {own} < ? RETURNING ALL OLD *"
            case _:
                assert_never(form)


def _compared(form: Form, own: S, by: S | N | None) -> list[Any]:
    """The values that the guard of this form compares with."""
    match form:
        case Form.ADOPT:
            return []
        case Form.TIE:
            return [by, own]
        case _:
            return [own if by is None else by]
