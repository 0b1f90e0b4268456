"""The lease table in memory: the same requests, evaluated instead of rendered, with DynamoDB's own semantics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, assert_never

from headrace.errors import AwsError, Rejected
from headrace.rows import (
    MOST_AT_ONCE,
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

EMPTY: Final[Row] = {}

TRANSACTION_MEMBERS: Final = 100
TOKEN_CHARACTERS: Final = 36
"""Limits of TransactWriteItems (API reference)."""


class MemoryLeaseTable:
    """Implements `ports.LeaseTable`. Every call lets other tasks run once before it takes effect.

    What DynamoDB would refuse as a request (an empty set, a row named twice in a transaction) raises Rejected here too.
    `write`, `write_each` and `write_all` are the same calls taking effect at once, for a network that is simulated.
    """

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self._transactions: dict[str, tuple[Request, ...]] = {}

    async def apply(self, request: Request) -> Outcome:
        """One conditional write."""
        await asyncio.sleep(0)
        return self.write(request)

    async def apply_each(self, requests: Sequence[UpdateRow]) -> list[Outcome | AwsError]:
        """Each by itself; unlike an update alone, one of a row that is not there makes none."""
        members = tuple(requests)
        await asyncio.sleep(0)
        return self.write_each(members)

    async def transact(self, requests: Sequence[Request], token: str) -> TransactionOutcome:
        """All or none; a token that was applied before changes nothing. Raises Rejected for another call under it."""
        members = tuple(requests)
        await asyncio.sleep(0)
        return self.write_all(members, token)

    async def query(self, pk: str, *, consistent: bool = False) -> list[Row]:  # noqa: ARG002 - always is
        """Every row of a partition, by sort key."""
        await asyncio.sleep(0)
        return [self.rows[key] for key in sorted(key for key in self.rows if key.pk == pk)]

    async def get(self, key: Key) -> Row | None:
        """One row."""
        await asyncio.sleep(0)
        return self.rows.get(key)

    def write(self, request: Request) -> Outcome:
        """One conditional write, now."""
        _validate(request)
        refused = self.refusal(request)
        return self._write(request) if refused is None else refused

    def write_each(self, requests: Sequence[UpdateRow]) -> list[Outcome | AwsError]:
        """Updates of different rows, each by itself, now."""
        _validate_each(requests)
        return [self._apply_one(request) for request in requests]

    def write_all(self, requests: tuple[Request, ...], token: str) -> TransactionOutcome:
        """All or none, now."""
        _validate_transaction(requests, token)
        if token in self._transactions:
            if self._transactions[token] != requests:
                raise Rejected("IdempotentParameterMismatchException: the token belongs to another transaction")
            return TransactionApplied()
        refused = tuple(self.refusal(request) for request in requests)
        if any(refused):
            return TransactionRefused(refused)
        for request in requests:
            self._write(request)
        self._transactions[token] = requests
        return TransactionApplied()

    def _apply_one(self, request: UpdateRow) -> Outcome:
        refused = Refused(None) if request.key not in self.rows else self.refusal(request)
        if refused is not None:
            return refused
        self._write(request)
        return Applied(EMPTY)

    def refusal(self, request: Request) -> Refused | None:
        """Whether its conditions do not hold now."""
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


# --- conditions -------------------------------------------------------------------------------------------------------


def _holds(condition: Condition, row: Row) -> bool:
    match condition:
        case Equals(attribute, value):
            return attribute in row and _equal(row[attribute], value)
        case AtMost(attribute, value):
            return attribute in row and _at_most(row[attribute], value)
        case OneOf(attribute, values):
            return attribute in row and any(_equal(row[attribute], value) for value in values)
        case Absent(attribute):
            return attribute not in row
        case Present(attribute):
            return attribute in row
        case _:
            assert_never(condition)


def _equal(one: Value, other: Value) -> bool:
    """Of one type and equal: to Python alone 1 equals True."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _at_most(one: Value, other: Value) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one <= other  # by code points, which is the order of their UTF-8 bytes
    if _is_number(one) and _is_number(other):
        return one <= other  # type: ignore[operator]
    return False


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- requests that DynamoDB refuses -----------------------------------------------------------------------------------


def _validate(request: Request) -> None:
    match request:
        case PutRow():
            written = list(request.attributes.values())
        case UpdateRow():
            written = [*request.assign.values(), *request.discard.values()]
        case DeleteRow():
            return
        case _:
            assert_never(request)
    if frozenset() in written:
        raise Rejected("ValidationException: a string set may not be empty")


def _validate_each(requests: Sequence[UpdateRow]) -> None:
    for request in requests:
        _validate(request)
    if not 1 <= len(requests) <= MOST_AT_ONCE:
        raise Rejected(f"ValidationException: a batch has 1 to {MOST_AT_ONCE} statements")
    if len({request.key for request in requests}) < len(requests):
        raise Rejected("ValidationException: Provided list of item keys contains duplicates")


def _validate_transaction(requests: tuple[Request, ...], token: str) -> None:
    for request in requests:
        _validate(request)
    if not 1 <= len(requests) <= TRANSACTION_MEMBERS:
        raise Rejected(f"ValidationException: a transaction has 1 to {TRANSACTION_MEMBERS} members")
    if len({request.key for request in requests}) < len(requests):
        raise Rejected("ValidationException: a transaction names each row once")
    if not 1 <= len(token) <= TOKEN_CHARACTERS:
        raise Rejected(f"ValidationException: a token has 1 to {TOKEN_CHARACTERS} characters")
