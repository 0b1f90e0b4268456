"""DynamoDB's condition expressions, evaluated on items in memory.

Developer guide, "Condition and filter expressions, operators, and functions". Operands are top-level attributes, placeholders
of values, and `size` of an attribute; paths into maps and lists are not understood and raise ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

from headrace.operations import Condition

TOKEN: Final = re.compile(r"\s*(<>|<=|>=|[=<>(),]|[:#]?[A-Za-z_][\w-]*)")

COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": lambda one, other: one == other,
    "<>": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}

Item: TypeAlias = Mapping[str, Any]


class _Missing:
    """What an attribute is that is not there."""


MISSING: Final = _Missing()


def holds(condition: Condition, item: Item | None) -> bool:
    """Whether it holds of a stored item, None where there is none. Raises ValueError for one that makes no sense."""
    parser = _Parser(condition, item or {})
    verdict = parser.any_of()
    if parser.peek():
        raise ValueError(f"{parser.peek()!r} is not expected in {condition.expression!r}")
    return verdict


class _Parser:
    """Evaluates while it reads; OR binds least, then AND, then NOT."""

    def __init__(self, condition: Condition, item: Item) -> None:
        self._condition = condition
        self._item = item
        self._tokens = _tokens(condition.expression)
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.peek()
        if not token or (expected and token.upper() not in expected):
            raise ValueError(f"{self._condition.expression!r} lacks {' or '.join(expected) or 'an operand'}")
        self._at += 1
        return token

    def any_of(self) -> bool:
        verdict = self.all_of()
        while self.peek().upper() == "OR":
            self.take()
            verdict = self.all_of() or verdict
        return verdict

    def all_of(self) -> bool:
        verdict = self.one()
        while self.peek().upper() == "AND":
            self.take()
            verdict = self.one() and verdict
        return verdict

    def one(self) -> bool:
        if self.peek().upper() == "NOT":
            self.take()
            return not self.one()
        if self.peek() == "(":
            self.take()
            verdict = self.any_of()
            self.take(")")
            return verdict
        return self._function() if self.peek().lower() in FUNCTIONS else self._comparison()

    def _function(self) -> bool:
        name = self.take().lower()
        operands = self._operands()
        if len(operands) != len(FUNCTIONS[name][0]):
            raise ValueError(f"{name} takes {', '.join(FUNCTIONS[name][0])}")
        return bool(FUNCTIONS[name][1](*operands))

    def _operands(self) -> list[Any]:
        self.take("(")
        operands = [self._operand()]
        while self.take(",", ")") == ",":
            operands.append(self._operand())
        return operands

    def _comparison(self) -> bool:
        one = self._operand()
        match self.take(*COMPARISONS, "BETWEEN", "IN").upper():
            case "BETWEEN":
                low = self._operand()
                self.take("AND")
                high = self._operand()
                return _compare("<=", low, one) and _compare("<=", one, high)
            case "IN":
                return any(_compare("=", one, other) for other in self._operands())
            case sign:
                return _compare(sign, one, self._operand())

    def _operand(self) -> Any:
        token = self.take()
        if token.lower() == "size":
            (measured,) = self._operands()
            return MISSING if measured is MISSING else Decimal(len(measured))
        if token[0] == ":":
            return _plain(self._condition.values[token])
        name = self._condition.names[token] if token[0] == "#" else token
        return _plain(self._item[name]) if name in self._item else MISSING


FUNCTIONS: Final[Mapping[str, tuple[tuple[str, ...], Callable[..., Any]]]] = {
    "attribute_exists": (("a name",), lambda one: one is not MISSING),
    "attribute_not_exists": (("a name",), lambda one: one is MISSING),
    "begins_with": (
        ("a name", "a value"),
        lambda one, start: isinstance(one, str | bytes) and type(one) is type(start) and one[: len(start)] == start,
    ),
    "contains": (
        ("a name", "a value"),
        lambda one, part: isinstance(one, str | bytes | list | tuple | set | frozenset) and part in one,
    ),
}


def _compare(sign: str, one: Any, other: Any) -> bool:
    """Values of different types are never equal, and neither is less."""
    if one is MISSING or other is MISSING:
        return False
    if type(one) is not type(other):
        return sign == "<>"
    return COMPARISONS[sign](one, other)


def _plain(value: Any) -> Any:
    """Numbers are compared by value, whatever their type is here."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(repr(value))
    return value


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        token = TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"{text[at:]!r} is not understood")
        found.append(token[1])
        at = token.end()
    return found
