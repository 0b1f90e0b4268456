"""The writing side of the benchmark's server: each operation's body to the items it brings, and its answer.

BatchWriteItem and PutItem are looked through for keys only. Statements are carried out on a small table in memory, for
what they are told depends on what is there: an INSERT of a key that exists and an UPDATE of an item that is newer are
refused as DynamoDB refuses them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec

TABLE: Final = "bench-items"
MOST_WRITES: Final = 25
ORDER: Final = "recordOrder"
"""Where mode `latest` keeps an item's order."""

NOTHING: Final = b"{}"
ALL_PROCESSED: Final = b'{"UnprocessedItems":{}}'

Item: TypeAlias = dict[str, msgspec.Raw]

_NUMBERED: Final = re.compile(rb'"reading_id": ?\{"S": ?"r(\d{9})"\}')
"""What names a record in an item; no string value can hold this text, for its quotes would be escaped there."""
_NUMBER: Final = re.compile(rb'\{"S": ?"r(\d{9})"\}')
_TABLE: Final = TABLE.encode()
_ITEMS_OF: Final = f'"{TABLE}"'.encode()
_WRITING: Final = frozenset({"BatchWriteItem", "PutItem", "BatchExecuteStatement"})
MOST: Final[Mapping[str, int]] = {"TransactWriteItems": 99}
"""Of a transaction, beside the lease's row, which is not kept here: one worker alone has nobody to be told."""
_HEAD: Final = 64
"""Bytes of a body within which it names its table. Dead letters and lease rows are written too, and are handed on."""
_NAMED: Final = re.compile(r"'((?:[^']|'')+)': \?")
_SET: Final = re.compile(r'SET "([^"]+)" = \?')
_WHERE: Final = re.compile(r'(?:WHERE|AND) "([^"]+)" (=|<) \?')


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a call brought: numbers of the records whose items were written, and the answer to it."""

    numbers: list[int]
    answer: bytes
    writes: int
    """Writes asked for; some may have been refused."""


class _Statement(msgspec.Struct):
    Statement: str
    Parameters: list[msgspec.Raw]


class _Statements(msgspec.Struct):
    Statements: list[_Statement]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A statement's text, read: names of what is set, and of what is asked for with how it is compared."""

    inserts: bool
    sets: tuple[str, ...]
    asks: tuple[tuple[str, str], ...]
    tells_old: bool


_read_statements = msgspec.json.Decoder(_Statements).decode
_encode = msgspec.json.Encoder().encode


def brings_items(operation: str, body: bytes) -> bool:
    """Whether the call writes to the serving table, and is this module's to answer."""
    if operation == "TransactWriteItems":
        return _ITEMS_OF in body
    return operation in _WRITING and body.find(_TABLE, 0, _HEAD) >= 0


@dataclass(slots=True)
class Items:
    """The serving table. Only statements leave items here; the other operations need none to be answered."""

    stored: dict[tuple[bytes, bytes], Item] = field(default_factory=dict)

    def take(self, operation: str, body: bytes) -> Arrived:
        """Carry out one call."""
        if operation == "BatchExecuteStatement":
            return self._execute(_read_statements(body).Statements)
        numbers = list(map(int, _NUMBERED.findall(body)))
        return Arrived(numbers, ALL_PROCESSED if operation == "BatchWriteItem" else NOTHING, len(numbers))

    def _execute(self, statements: list[_Statement]) -> Arrived:
        numbers: list[int] = []
        answers = []
        for statement in statements:
            plan = _plan(statement.Statement)
            carry_out = self._insert if plan.inserts else self._update
            answer, written = carry_out(plan, statement.Parameters)
            answers.append(answer)
            if written and (found := _NUMBER.fullmatch(written["reading_id"])):
                numbers.append(int(found[1]))
        return Arrived(numbers, _encode({"Responses": answers}), len(statements))

    def _insert(self, plan: _Plan, values: list[msgspec.Raw]) -> tuple[dict[str, Any], Item | None]:
        item = dict(zip(plan.sets, values, strict=True))
        key = bytes(item["pk"]), bytes(item["sk"])
        if key in self.stored:
            return _refusal("DuplicateItem", None), None
        self.stored[key] = item
        return {"TableName": TABLE}, item

    def _update(self, plan: _Plan, values: list[msgspec.Raw]) -> tuple[dict[str, Any], Item | None]:
        new, asked = dict(zip(plan.sets, values, strict=False)), values[len(plan.sets) :]
        wanted = [(name, sign, value) for (name, sign), value in zip(plan.asks, asked, strict=True)]
        key = bytes(wanted[0][2]), bytes(wanted[1][2])
        old = self.stored.get(key)
        if old is None or not all(_holds(old, *ask) for ask in wanted[2:]):
            return _refusal("ConditionalCheckFailed", old), None
        self.stored[key] = {**old, **new}
        return {"TableName": TABLE, **({"Item": old} if plan.tells_old else {})}, new


def sample_of(operation: str, body: bytes, number: int) -> dict[str, Any] | None:
    """The item of a record, out of a body that brings it, in DynamoDB's JSON."""
    name = {"S": f"r{number:09d}"}
    request = json.loads(body)
    for item in _items_in(operation, request):
        if item.get("reading_id") == name:
            return item
    return None


def _items_in(operation: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    match operation:
        case "BatchWriteItem":
            return [write["PutRequest"]["Item"] for write in request["RequestItems"][TABLE]]
        case "PutItem":
            return [request["Item"]]
        case "TransactWriteItems":
            return [write["Put"]["Item"] for write in request["TransactItems"] if "Put" in write]
        case _:
            return [_written(_plan(one["Statement"]), one["Parameters"]) for one in request["Statements"]]


def _written(plan: _Plan, values: list[Any]) -> dict[str, Any]:
    """The item that a statement leaves."""
    keys = [name for name, _ in plan.asks[:2]]
    names = (*plan.sets, *keys)
    return dict(zip(names, values, strict=False))


@lru_cache(256)
def _plan(text: str) -> _Plan:
    if text.startswith("INSERT"):
        return _Plan(inserts=True, sets=tuple(_NAMED.findall(text)), asks=(), tells_old=False)
    asks = tuple((name, sign) for name, sign in _WHERE.findall(text))
    return _Plan(inserts=False, sets=tuple(_SET.findall(text)), asks=asks, tells_old="RETURNING" in text)


def _holds(item: Item, name: str, sign: str, value: msgspec.Raw) -> bool:
    """Orders are texts of one length, so they compare as their JSON does."""
    there = item.get(name)
    if there is None:
        return False
    return bytes(there) < bytes(value) if sign == "<" else bytes(there) == bytes(value)


def _refusal(code: str, item: Item | None) -> dict[str, Any]:
    found = {"Item": item} if item else {}
    return {"Error": {"Code": code, "Message": "", **found}}
