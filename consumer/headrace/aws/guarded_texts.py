"""The statements of mode `latest`, by the shape of an item and the form of the statement."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, assert_never

import msgspec

from headrace.aws.statement_call import (
    Names,
    Statement,
    beside,
    insert_text,
    parameters,
    text_json,
    where_key,
)
from headrace.aws.statements import quoted
from headrace.core.guarded import Form, Guard
from headrace.core.items import N, S
from headrace.core.native import CompiledValues, compiled_values

_encode = msgspec.json.Encoder().encode

ALL_OLD: Final = "ALL_OLD"


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
        own_at = len(names)
        self._order = [*self._rest_at, own_at, *self._key_at]
        self._sets_and_key: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(*self._order)
        self._places: dict[int, bytes] = {}
        """That order as the transcoder takes it, by the number of values behind the item's."""
        self._texts: dict[Form, msgspec.Raw] = {}

    def statement(self, form: Form, values: Sequence[Any], own: S, compared: list[Any]) -> Statement:
        """Write the item with the order `own`; `compared` are the values of the guard.

        Raises ItemError where its text would be too long.
        """
        text = self._texts.get(form)
        if text is None:
            text = self._texts[form] = text_json(self._text(form), self.names)
        if (compiled := compiled_values(values)) is not None:
            return self._compiled(form, text, compiled, (own, *compared))
        given = (*values, beside(values, own))
        if form is Form.INSERT:
            return Statement(text, parameters(given))
        asked = (beside(values, value) for value in compared)
        return Statement(text, parameters((*self._sets_and_key(given), *asked)), ALL_OLD)

    def replacement(self, values: Sequence[Any], own: str, expected: str) -> Statement:
        """`statement` in the form that nearly all have, of values that are JSON already."""
        text = self._texts.get(Form.REPLACE)
        if text is None or (compiled := compiled_values(values)) is None:
            return self.statement(Form.REPLACE, values, S(own), [S(expected)])
        return self._arranged(text, compiled, (own, expected))

    def _compiled(self, form: Form, text: msgspec.Raw, values: CompiledValues, more: Iterable[S | N]) -> Statement:
        """The same of values that the transcoder made; `more` is the order, and what is compared."""
        texts = tuple([value.S if type(value) is S else _encode(value) for value in more])
        if form is Form.INSERT:
            return Statement(text, msgspec.Raw(values.listed(texts)))
        return self._arranged(text, values, texts)

    def _arranged(self, text: msgspec.Raw, values: CompiledValues, texts: tuple[str | bytes, ...]) -> Statement:
        places = self._places.get(len(texts))
        if places is None:
            behind = len(self.names) + 1
            order = (*self._order, *range(behind, behind + len(texts) - 1))
            places = self._places[len(texts)] = struct.pack(f"<{len(order)}H", *order)
        return Statement(text, msgspec.Raw(values.arranged(places, texts)), ALL_OLD)

    def trim(self, surplus: Names, values: Sequence[Any], own: S) -> Statement:
        """Take these attributes away if the order is still `own`. Raises ItemError where its text would be too long."""
        removals = " ".join(f"REMOVE {quoted(name)}" for name in surplus)
        where = f"{where_key(self._keys)} AND {quoted(self._guard.own_attribute)} = ?"
        text = text_json(f"UPDATE {quoted(self._table)} {removals} WHERE {where}", surplus)
        key_and_own = (*(values[at] for at in self._key_at), beside(values, own))
        return Statement(text, parameters(key_and_own), ALL_OLD)

    def _text(self, form: Form) -> str:
        table, first, own = quoted(self._table), quoted(self._guard.first), quoted(self._guard.own_attribute)
        if form is Form.INSERT:
            return insert_text(self._table, (*self.names, self._guard.own_attribute))
        changes = " ".join(f"SET {quoted(self.names[at])} = ?" for at in self._rest_at)
        update = f"UPDATE {table} {changes} SET {own} = ? WHERE {where_key(self._keys)}"  # noqa: S608 - names are quoted, values stand beside it
        match form:
            case Form.REPLACE:
                return f"{update} AND {own} = ?"
            case Form.UPDATE:
                return f"{update} AND {first} < ? RETURNING ALL OLD *"
            case Form.ADOPT:
                return f"{update} AND {first} IS MISSING RETURNING ALL OLD *"
            case Form.TIE:
                return f"{update} AND {first} = ? AND {own} < ? RETURNING ALL OLD *"
            case Form.TRIM:
                raise ValueError("what is taken away differs from item to item: see `trim`")
            case _:
                assert_never(form)
