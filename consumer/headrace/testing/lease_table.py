"""The lease table in memory: the same requests, evaluated instead of rendered, with DynamoDB's own semantics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import assert_never

from headrace.errors import Rejected
from headrace.rows import (
    Absent,
    Applied,
    AtMost,
    Condition,
    DeleteRow,
    Equals,
    Key,
    OneOf,
    Outcome,
    Present,
    PutRow,
    Refused,
    Request,
    Row,
    TransactionApplied,
    TransactionOutcome,
    TransactionRefused,
    UpdateRow,
    Value,
)

EMPTY: Row = {}


class MemoryLeaseTable:
    """Implements `ports.LeaseTable`. Every call lets other tasks run once before it takes effect."""

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self._transactions: dict[str, tuple[Request, ...]] = {}

    async def apply(self, request: Request) -> Outcome:
        """One conditional write."""
        await asyncio.sleep(0)
        refused = self._refusal(request)
        return self._write(request) if refused is None else refused

    async def transact(self, requests: Sequence[Request], token: str) -> TransactionOutcome:
        """All or none; a token that was applied before changes nothing. Raises Rejected for another call under it."""
        await asyncio.sleep(0)
        if token in self._transactions:
            if self._transactions[token] != tuple(requests):
                raise Rejected("IdempotentParameterMismatchException: the token belongs to another transaction")
            return TransactionApplied()
        refused = tuple(self._refusal(request) for request in requests)
        if any(refused):
            return TransactionRefused(refused)
        for request in requests:
            self._write(request)
        self._transactions[token] = tuple(requests)
        return TransactionApplied()

    async def query(self, pk: str) -> list[Row]:
        """Every row of a partition, by sort key."""
        await asyncio.sleep(0)
        return [row for key, row in sorted(self.rows.items()) if key.pk == pk]

    async def get(self, key: Key) -> Row | None:
        """One row."""
        await asyncio.sleep(0)
        return self.rows.get(key)

    def _refusal(self, request: Request) -> Refused | None:
        row = self.rows.get(request.key)
        met = all(_holds(condition, EMPTY if row is None else row) for condition in request.conditions)
        return None if met else Refused(row)

    def _write(self, request: Request) -> Applied:
        match request:
            case PutRow():
                row: Row = {**_key(request.key), **request.attributes}
            case UpdateRow():
                row = _updated(self.rows.get(request.key, _key(request.key)), request)
            case DeleteRow():
                self.rows.pop(request.key, None)
                return Applied(EMPTY)
            case _:
                assert_never(request)
        self.rows[request.key] = row
        return Applied(row)


def _key(key: Key) -> dict[str, Value]:
    return {"pk": key.pk, "sk": key.sk}


def _updated(row: Row, request: UpdateRow) -> Row:
    changed = {name: value for name, value in row.items() if name not in request.remove}
    for name, members in request.discard.items():
        held = changed.pop(name, frozenset())
        if isinstance(held, frozenset) and (left := held - members):
            changed[name] = left
    return {**changed, **request.assign}


def _holds(condition: Condition, row: Row) -> bool:
    match condition:
        case Equals(attribute, value):
            return row.get(attribute) == value
        case AtMost(attribute, value):
            return attribute in row and _at_most(row[attribute], value)
        case OneOf(attribute, values):
            return row.get(attribute) in values
        case Absent(attribute):
            return attribute not in row
        case Present(attribute):
            return attribute in row
        case _:
            assert_never(condition)


def _at_most(one: Value, other: Value) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.encode() <= other.encode()
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one <= other
    return False
