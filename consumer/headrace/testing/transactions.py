"""Results and checkpoints in one transaction, in memory, with DynamoDB's own semantics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal
from typing import Any

from headrace.core.item_keys import ItemKey, key_of
from headrace.core.items import ItemError, N, careful_attributes
from headrace.errors import LeaseLost, Rejected
from headrace.model import Permit
from headrace.operations import Delete, Effect, Increment, Put, Update
from headrace.testing.conditions import holds
from headrace.testing.lease_table import TOKEN_CHARACTERS, TRANSACTION_MEMBERS, MemoryLeaseTable
from headrace.testing.sink import TABLE, MemorySink
from headrace.transactions import CommitOutcome, Committed, OperationsRefused, RowRefused, Transaction


class MemoryTransactions:
    """Implements `ports.Transactions` over the tables of a sink and a lease table, all in memory.

    `latency_s` is asked for each transaction, which takes effect after half of it. `refuses` says why DynamoDB would not
    take an effect, or None.
    """

    def __init__(
        self,
        sink: MemorySink,
        leases: MemoryLeaseTable,
        key_attributes: tuple[str, ...] = ("pk",),
        *,
        refuses: Callable[[Effect], str | None] = lambda _: None,
        latency_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._sink = sink
        self._leases = leases
        self._key_attributes = key_attributes
        self._refuses = refuses
        self._latency_s = latency_s
        self._done: dict[str, Transaction] = {}

    def key(self, effect: Effect) -> Hashable:
        """Equal for effects on one item. Raises ItemError when it has no key."""
        item = effect.item if isinstance(effect, Put) else effect.key
        return effect.table or TABLE, key_of(item, self._key_attributes)

    async def learn(self, table: str | None) -> None:
        """Every table has the same key."""

    async def commit(self, transaction: Transaction, permit: Permit) -> CommitOutcome:
        """All of it or nothing, after the latency."""
        if not permit():
            raise LeaseLost("the permit to write ended before the request was sent")
        latency_s = self._latency_s()
        await asyncio.sleep(latency_s / 2)
        outcome = self.write(transaction)
        await asyncio.sleep(latency_s / 2)
        return outcome

    def write(self, transaction: Transaction) -> CommitOutcome:
        """All of it or nothing, now."""
        self._validate(transaction)
        if transaction.token in self._done:
            if self._done[transaction.token] != transaction:
                raise Rejected("IdempotentParameterMismatchException: the token belongs to another transaction")
            return Committed()
        for place, row in enumerate(transaction.rows):
            refused = self._leases.refusal(row)
            if refused is not None:
                return RowRefused(place, refused.row)
        items = [self._after(effect) for effect in transaction.operations]
        if reasons := {place: item for place, item in enumerate(items) if isinstance(item, str)}:
            return OperationsRefused(reasons)
        for effect, item in zip(transaction.operations, items, strict=True):
            self._store(effect, item)
        for row in transaction.rows:
            self._leases.write(row)
        self._done[transaction.token] = transaction
        return Committed()

    def _validate(self, transaction: Transaction) -> None:
        operations = transaction.operations
        if len(operations) + len(transaction.rows) > TRANSACTION_MEMBERS:
            raise Rejected(f"ValidationException: a transaction has 1 to {TRANSACTION_MEMBERS} members")
        if len({self.key(effect) for effect in operations}) < len(operations):
            raise Rejected("ValidationException: a transaction names each item once")
        if not 1 <= len(transaction.token) <= TOKEN_CHARACTERS:
            raise Rejected(f"ValidationException: a token has 1 to {TOKEN_CHARACTERS} characters")

    def _place(self, effect: Effect) -> tuple[dict[ItemKey, dict[str, Any]], ItemKey]:
        item = effect.item if isinstance(effect, Put) else effect.key
        return self._sink.tables.setdefault(effect.table or TABLE, {}), key_of(item, self._key_attributes)

    def _after(self, effect: Effect) -> dict[str, Any] | str | None:
        """The item as it will be, None where it will be gone; as text, why DynamoDB does not take the operation."""
        table, key = self._place(effect)
        there = table.get(key)
        if (why := self._refuses(effect)) is not None:
            return why
        if not isinstance(effect, Increment) and effect.condition is not None and not holds(effect.condition, there):
            return f"its condition does not hold: {effect.condition.expression}"
        try:
            match effect:
                case Delete():
                    return None
                case Put():
                    item = dict(effect.item)
                case Update():
                    item = _changed(there, effect)
                case Increment():
                    item = _changed(there, Update(effect.key, increment=effect.by))
            careful_attributes(item)
        except (ItemError, TypeError) as error:
            return str(error)
        return item

    def _store(self, effect: Effect, item: Any) -> None:
        table, key = self._place(effect)
        if item is None:
            table.pop(key, None)
        else:
            table[key] = item
        self._sink.written.append(effect)


def _changed(there: Mapping[str, Any] | None, update: Update) -> dict[str, Any]:
    """Raises TypeError for what DynamoDB does not add or change."""
    touched = {*update.assign, *update.increment, *update.remove}
    if not touched.isdisjoint(update.key):
        raise TypeError("an update cannot change the key")
    item = {**(there or {}), **update.key, **update.assign}
    for name, by in update.increment.items():
        item[name] = _total(item.get(name, 0), by)
    return {name: value for name, value in item.items() if name not in update.remove}


def _total(one: Any, by: Any) -> int | Decimal:
    if type(one) is int and type(by) is int:
        return one + by
    numbers = [_decimal(value) for value in (one, by) if _is_number(value)]
    if len(numbers) < 2:  # noqa: PLR2004 - both of them
        raise TypeError("An operand in the update expression has an incorrect data type")
    return sum(numbers, Decimal(0))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal | N) and not isinstance(value, bool)


def _decimal(value: Any) -> Decimal:
    match value:
        case N():
            return Decimal(value.N)
        case float():
            return Decimal(repr(value))
        case _:
            return Decimal(value)
