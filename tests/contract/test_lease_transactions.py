"""All or nothing: what the end of a shard relies on, in memory and on a real server."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from contract.lease_tables import KEY, MEMORY, MINISTACK, given, row

from headrace.errors import Rejected, Throttled
from headrace.ports import LeaseTable
from headrace.rows import (
    Absent,
    Equals,
    Key,
    PutRow,
    Refused,
    TransactionApplied,
    TransactionRefused,
    UpdateRow,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("backend", [MEMORY, MINISTACK], indirect=True, scope="module"),
]

CHILD = Key("L#stream#4", "child")
OTHER = Key("L#stream#5", "other")


@pytest.fixture
def token() -> str:
    """Tokens are an account's, not a table's."""
    return str(uuid4())


async def test_a_transaction_takes_effect_as_a_whole(table, token):
    """The end of a shard and its children's rows."""
    await given(table, own="me")
    requests = (
        UpdateRow(KEY, (Equals("own", "me"),), {"done": True}, remove=("own",)),
        PutRow(CHILD, {"ep": 0}, (Absent("pk"),)),
    )

    assert await table.transact(requests, token) == TransactionApplied()
    assert await table.get(KEY) == row(done=True)
    assert await table.get(CHILD) == row(CHILD, ep=0)


async def test_a_transaction_with_one_refused_member_changes_nothing_and_says_which(table, token):
    """The refused child is read again, the others are innocent."""
    await given(table, own="me")
    await given(table, CHILD, ep=3)
    requests = (
        UpdateRow(KEY, (Equals("own", "me"),), {"done": True}),
        PutRow(CHILD, {"ep": 0}, (Absent("pk"),)),
        PutRow(OTHER, {"ep": 0}, (Absent("pk"),)),
    )

    outcome = await table.transact(requests, token)

    assert outcome == TransactionRefused((None, Refused(row(CHILD, ep=3)), None))
    assert await table.get(KEY) == row(own="me")
    assert await table.get(OTHER) is None


async def test_the_same_transaction_under_the_same_token_is_applied_once(table, token):
    """A repeat after a lost answer is a success, though its conditions would fail now."""
    requests = (PutRow(CHILD, {"ep": 0}, (Absent("pk"),)),)

    assert await table.transact(requests, token) == TransactionApplied()
    assert await table.transact(requests, token) == TransactionApplied()
    assert isinstance(await table.transact(requests, str(uuid4())), TransactionRefused)


async def test_a_token_belongs_to_one_transaction(table, token):
    """Another content under it is a bug and must not pass for a success."""
    await table.transact((PutRow(CHILD, {"ep": 0}),), token)

    with pytest.raises(Rejected):
        await table.transact((PutRow(CHILD, {"ep": 1}),), token)


async def test_of_transactions_that_race_for_one_row_exactly_one_is_applied(table):
    """The others are refused by their condition, or told to come again by a conflict."""
    await given(table, n=0)
    async with asyncio.TaskGroup() as racers:
        tries = [racers.create_task(step_and_make(table, racer)) for racer in range(10)]

    assert [attempt.result() for attempt in tries].count(TransactionApplied()) == 1
    assert (await table.get(KEY))["n"] == 1
    assert len(await table.query("made")) == 1


async def step_and_make(table: LeaseTable, racer: int):
    requests = (
        UpdateRow(KEY, (Equals("n", 0),), {"n": 1}),
        PutRow(Key("made", str(racer)), {"n": racer}, (Absent("pk"),)),
    )
    try:
        return await table.transact(requests, str(uuid4()))
    except Throttled as conflict:
        return conflict


@pytest.mark.parametrize("keys", [("a", "a"), [str(number) for number in range(101)]], ids=["one row twice", "101"])
async def test_a_transaction_that_cannot_be_is_rejected(table, token, keys):
    """At most a hundred members, each on a row of its own; trying again would change nothing."""
    with pytest.raises(Rejected):
        await table.transact([PutRow(Key("pk", key), {"n": 1}) for key in keys], token)

    assert await table.query("pk") == []
