"""What a transaction of operations and a lease's row does, in memory and on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from contract.lease_tables import KEY, MEMORY, MINISTACK

from headrace.aws.channel import open_channel
from headrace.aws.key_schema import SETTING
from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.tables import KEY as KEY_SCHEMA
from headrace.aws.tables import TYPES as KEY_TYPES
from headrace.aws.transactions import DynamoTransactions
from headrace.core.chunks import MOST_OPERATIONS
from headrace.core.items import ItemError
from headrace.errors import LeaseLost, Rejected, SettingsError
from headrace.flow.clock import SystemClock
from headrace.operations import Condition, Delete, Effect, Increment, Put, Update
from headrace.ports import LeaseTable, Transactions
from headrace.rows import Absent, AtMost, Equals, PutRow, UpdateRow
from headrace.testing.lease_table import MemoryLeaseTable
from headrace.testing.sink import MemorySink
from headrace.testing.transactions import MemoryTransactions
from headrace.transactions import (
    CommitOutcome,
    Committed,
    OperationsRefused,
    RowRefused,
    Transaction,
    UnknownTableError,
)


def always() -> bool:
    return True


@dataclass
class Place:
    """Two tables for results and one for leases, with the row of one lease."""

    transactions: Transactions
    leases: LeaseTable
    read: Callable[..., Awaitable[dict[str, Any] | None]]
    other: str

    async def commit(
        self, *operations: Effect, before: str = "056", to: str = "057", token: str | None = None, epoch: int = 7
    ) -> CommitOutcome:
        """Move the lease's checkpoint with these operations."""
        row = UpdateRow(
            KEY, (Equals("own", "me"), Equals("ep", epoch), AtMost("ck", before), Absent("done")), {"ck": to}
        )
        keys = set()
        for effect in operations:
            try:
                keys.add(self.transactions.key(effect))
            except UnknownTableError:
                await self.transactions.learn(effect.table)
                keys.add(self.transactions.key(effect))
        assert len(keys) == len(operations)
        asked = Transaction(operations, (row,), token or uuid4().hex, len(operations), len(operations))
        return await self.transactions.commit(asked, always)

    async def checkpoint(self) -> Any:
        row = await self.leases.get(KEY)
        assert row is not None
        return row["ck"]


@pytest.fixture(params=[MEMORY, MINISTACK])
async def place(request, aws) -> AsyncIterator[Place]:
    if request.param == "memory":
        sink, rows = MemorySink(), MemoryLeaseTable()

        async def find(pk: str, table: str = "serving-table") -> dict[str, Any] | None:
            return sink.tables.get(table, {}).get((pk,))

        made = Place(MemoryTransactions(sink, rows), rows, find, "other")
        await rows.apply(PutRow(KEY, {"own": "me", "ep": 7, "ck": "056"}))
        yield made
        return
    async with aws(request.getfixturevalue("ministack")) as clients:
        tables = [f"{name}-{uuid4()}" for name in ("results", "other")]
        for table in tables:
            await clients.dynamodb.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        lease_table = f"leases-{uuid4()}"
        await clients.dynamodb.create_table(
            TableName=lease_table, KeySchema=KEY_SCHEMA, AttributeDefinitions=KEY_TYPES, BillingMode="PAY_PER_REQUEST"
        )

        async def read(pk: str, table: str = tables[0]) -> dict[str, Any] | None:
            answer = await clients.dynamodb.get_item(TableName=table, Key={"pk": {"S": pk}}, ConsistentRead=True)
            return {name: _value(value) for name, value in answer["Item"].items()} if "Item" in answer else None

        rows = DynamoLeaseTable(clients.leases, lease_table)
        await rows.apply(PutRow(KEY, {"own": "me", "ep": 7, "ck": "056"}))
        clock = SystemClock()
        async with open_channel(clients.session, clients.dynamodb, clock, connections=2, timeout_s=10) as channel:
            transactions = DynamoTransactions(channel, clients.dynamodb, tables[0], lease_table)
            await transactions.check()
            yield Place(transactions, rows, read, tables[1])


def _value(value: dict[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    return Decimal(inner) if kind == "N" else inner


async def test_every_kind_of_operation_takes_place_with_the_checkpoint(place):
    """In one table or several; names may be any text."""
    assert await place.commit(Put({"pk": "gone", "n": 1}), Put({"pk": "shrunk", "n": 1, "size": 2})) == Committed()
    outcome = await place.commit(
        Put({"pk": "a", "n": 1, "list": ["x"]}),
        Delete({"pk": "gone"}),
        Delete({"pk": "never was"}),
        Update({"pk": "shrunk"}, assign={"status": "new", "a.b": 1}, increment={"n": 4}, remove=["size"]),
        Update({"pk": "born"}, assign={"status": "new"}),
        Increment({"pk": "count"}, {"count": 3, "sum": 0.5}),
        Put({"pk": "a", "n": 2}, place.other),
        before="057",
        to="058",
    )
    assert outcome == Committed()
    assert await place.read("gone") is None
    assert await place.read("shrunk") == {"pk": "shrunk", "n": 5, "status": "new", "a.b": 1}
    assert await place.read("born") == {"pk": "born", "status": "new"}
    assert await place.read("count") == {"pk": "count", "count": 3, "sum": Decimal("0.5")}
    assert (await place.read("a"))["n"] == 1
    assert (await place.read("a", place.other))["n"] == 2
    assert await place.checkpoint() == "058"


async def test_as_many_operations_as_a_chunk_may_have_go_with_the_row(place):
    """And the counters add up."""
    for turn in range(2):
        operations = [Increment({"pk": f"k{number}"}, {"count": 1}) for number in range(MOST_OPERATIONS)]
        assert await place.commit(*operations, before=f"05{6 + turn}", to=f"05{7 + turn}") == Committed()
    assert [(await place.read(f"k{number}"))["count"] for number in range(MOST_OPERATIONS)] == [2] * MOST_OPERATIONS


@pytest.mark.parametrize("stale", [{"epoch": 6}, {"before": "055"}])
async def test_under_another_epoch_or_behind_the_checkpoint_nothing_takes_place_and_the_row_is_told(place, stale):
    """A worker that lost the lease; a transaction that was applied before. A condition of the user's says nothing then."""
    outcome = await place.commit(
        Increment({"pk": "count"}, {"count": 1}),
        Put({"pk": "a"}, condition=Condition("attribute_exists(pk)")),
        to="099",
        **stale,
    )
    assert isinstance(outcome, RowRefused)
    assert outcome.place == 0
    assert outcome.row is not None
    assert (outcome.row["own"], outcome.row["ep"], outcome.row["ck"]) == ("me", 7, "056")
    assert await place.read("count") is None
    assert await place.checkpoint() == "056"


async def test_a_transaction_that_is_sent_twice_takes_place_once(place):
    """Under its token, and under another one by its checkpoint."""
    once = Increment({"pk": "count"}, {"count": 1})
    assert await place.commit(once, token="token") == Committed()
    again = await place.commit(once, token="token")
    assert again == Committed() or isinstance(again, RowRefused)
    assert isinstance(await place.commit(once, token="other"), RowRefused)
    assert (await place.read("count"))["count"] == 1


CONDITIONS = [
    ("attribute_exists(pk)", {}, {}, True),
    ("attribute_not_exists(pk)", {}, {}, False),
    ("attribute_not_exists(nothing) AND n < :n", {":n": 6}, {}, True),
    ("n < :n OR (NOT #s = :s)", {":n": 5, ":s": "open"}, {"#s": "status"}, False),
    (
        "#s IN (:a, :b) and n between :low and :high",
        {":a": "x", ":b": "open", ":low": 5, ":high": 5.0},
        {"#s": "status"},
        True,
    ),
    ("begins_with(#s, :start)", {":start": "op"}, {"#s": "status"}, True),
    ("contains(tags, :tag)", {":tag": "z"}, {}, False),
    ("size(tags) = :two", {":two": 2}, {}, True),
    ("n <> :n", {":n": "5"}, {}, True),
    ("nowhere = :n", {":n": 5}, {}, False),
]


@pytest.mark.parametrize(("expression", "values", "names", "holds"), CONDITIONS)
async def test_a_condition_of_the_users_decides_over_all_of_the_transaction(place, expression, values, names, holds):
    """What it says is told by the place of its operation."""
    condition = Condition(expression, values, names)
    for kind in (Put({"pk": "a", "n": 6}), Update({"pk": "a"}, assign={"n": 6}), Delete({"pk": "a"})):
        before = await place.checkpoint()
        await place.commit(
            Put({"pk": "a", "n": 5, "status": "open", "tags": ["x", "y"]}), before=before, to=f"{before}.1"
        )
        operation = msgspec.structs.replace(kind, condition=condition)
        count = Increment({"pk": "count"}, {"count": 1})
        outcome = await place.commit(count, operation, before=f"{before}.1", to=f"{before}.2")
        if holds:
            assert outcome == Committed()
            assert ((await place.read("a")) or {}).get("n") == (None if isinstance(kind, Delete) else 6)
        else:
            assert isinstance(outcome, OperationsRefused)
            reasons = dict(outcome.reasons)
            assert reasons == {1: f"its condition does not hold: {expression}"}
            assert await place.read("count") is None
        assert await place.checkpoint() == (f"{before}.2" if holds else f"{before}.1")


@pytest.mark.parametrize(
    "operation",
    [
        Put({"pk": "a", "n": float("nan")}),
        Put({"pk": "a", "n": object()}),
        Update({"pk": "a"}, assign={"n": set()}),
        Increment({"pk": "text"}, {"n": 1}),
    ],
)
async def test_an_operation_that_can_never_take_place_is_told_apart_from_its_neighbours(place, operation):
    """A value that DynamoDB has no type for, a sum with what is no number."""
    await place.commit(Put({"pk": "text", "n": "five"}))
    outcome = await place.commit(
        Increment({"pk": "count"}, {"count": 1}), operation, Put({"pk": "b"}), before="057", to="058"
    )
    assert isinstance(outcome, OperationsRefused)
    assert set(outcome.reasons) == {1}
    assert await place.read("b") is None
    assert await place.read("count") is None


@pytest.mark.parametrize(
    "effect", [Put({"n": 1}), Increment({"id": 7}, {"n": 1}), Delete({"pk": None}), Put({"pk": True})]
)
async def test_an_operation_without_a_key_has_none(place, effect):
    """Found before anything is sent."""
    with pytest.raises(ItemError, match="pk"):
        place.transactions.key(effect)


async def test_without_the_permit_nothing_is_sent(place):
    """The lease is no longer trusted."""
    asked = Transaction((Put({"pk": "a"}),), (UpdateRow(KEY, (), {"ck": "099"}),), "t", 1, 1)
    with pytest.raises(LeaseLost):
        await place.transactions.commit(asked, lambda: False)
    assert await place.checkpoint() == "056"


@pytest.mark.servers
async def test_what_only_the_server_refuses_is_told_or_at_least_refused_as_a_whole(request, place):
    """An item over 400 KB, a key of the wrong type or empty: the flow halves what nobody told apart."""
    for bad in (Put({"pk": "big", "text": "x" * 410_000}), Put({"pk": 7}), Put({"pk": ""})):
        try:
            outcome = await place.commit(Put({"pk": "neighbour"}), bad)
        except Rejected:
            outcome = OperationsRefused({}, "as a whole")
        if "memory" not in request.node.name:
            assert isinstance(outcome, OperationsRefused), bad
            assert set(outcome.reasons) <= {1}
            assert await place.read("neighbour") is None


@pytest.mark.servers
async def test_a_table_that_is_not_there_is_found_at_the_start(aws, ministack):
    """The message names the setting and the mend."""
    async with (
        aws(ministack) as clients,
        open_channel(clients.session, clients.dynamodb, SystemClock(), connections=1, timeout_s=10) as channel,
    ):
        with pytest.raises(SettingsError, match=f"{SETTING}.*no such table.*Create it"):
            await DynamoTransactions(channel, clients.dynamodb, "nowhere", "leases").check()
