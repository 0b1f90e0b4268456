"""What the lease protocol relies on, asked of the in-memory table and of real servers alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.tables import ensure_table
from headrace.errors import AwsError
from headrace.model import Checkpoint
from headrace.ports import LeaseTable
from headrace.rows import (
    Absent,
    Applied,
    AtMost,
    DeleteRow,
    Equals,
    Key,
    OneOf,
    Present,
    PutRow,
    Refused,
    TransactionApplied,
    TransactionRefused,
    UpdateRow,
)
from headrace.testing.lease_table import MemoryLeaseTable

REAL = pytest.param("ministack", marks=pytest.mark.servers)
SECOND = pytest.param("dynalite", marks=pytest.mark.servers)


@pytest.fixture(params=["memory", REAL, SECOND])
async def table(request, aws) -> AsyncIterator[LeaseTable]:
    """An empty table."""
    if request.param == "memory":
        yield MemoryLeaseTable()
        return
    server = request.getfixturevalue(request.param)
    async with aws(server) as clients:
        name = f"leases-{uuid4()}"
        await ensure_table(clients.dynamodb, name, setting="HEADRACE_LEASE_TABLE", create=True, ttl_attribute="exp")
        table = DynamoLeaseTable(clients.leases, name)
        table.shows_old_rows = request.param != "dynalite"  # type: ignore[attr-defined]
        yield table


@pytest.fixture
def transactional(table, request) -> LeaseTable:
    """A table on a server that has transactions."""
    if not getattr(table, "shows_old_rows", True):
        pytest.skip("dynalite has no transactions")
    return table


@pytest.fixture
def token() -> str:
    """Tokens are an account's, not a table's."""
    return str(uuid4())


KEY = Key("L#stream#3", "shard")


def row(key: Key = KEY, **attributes):
    return {"pk": key.pk, "sk": key.sk, **attributes}


async def given(table: LeaseTable, key: Key = KEY, **attributes) -> None:
    assert isinstance(await table.apply(PutRow(key, attributes)), Applied)


async def test_every_kind_of_value_comes_back_as_it_went_in(table):
    """Text, whole and broken numbers, truth, and sets of text."""
    values = {"text": "t", "whole": 7, "broken": 1.25, "yes": True, "no": False, "set": frozenset({"a", "b"})}
    await given(table, **values)

    found = await table.get(KEY)

    assert found == row(**values)
    assert type(found["whole"]) is int
    assert found["yes"] is True


async def test_a_row_that_is_not_there_reads_as_none(table):
    """Absence is no error."""
    assert await table.get(KEY) is None
    assert await table.query(KEY.pk) == []


HOLD = [
    (Equals("n", 5),),
    (Equals("s", "b"),),
    (Equals("yes", True),),
    (AtMost("n", 5), AtMost("s", "b")),
    (AtMost("n", 9), AtMost("s", "c")),
    (OneOf("s", ("a", "b")),),
    (Absent("other"), Present("n"), Present("pk")),
]
FAIL = [
    (Equals("n", 6),),
    (Equals("s", "B"),),
    (Equals("other", "x"),),
    (AtMost("n", 4),),
    (AtMost("n", 9), AtMost("s", "a")),
    (AtMost("other", 1),),
    (AtMost("s", 99),),
    (OneOf("s", ("a", "c")),),
    (Absent("n"),),
    (Absent("pk"),),
    (Present("other"),),
]


async def test_an_update_whose_conditions_hold_is_applied_and_shows_the_row_after_it(table):
    """ALL_NEW: what a take starts from."""
    for number, conditions in enumerate(HOLD):
        key = Key("hold", str(number))
        await given(table, key, n=5, s="b", yes=True)

        outcome = await table.apply(UpdateRow(key, conditions, {"new": 1}, remove=("yes",)))

        assert outcome == Applied(row(key, n=5, s="b", new=1)), conditions
        assert await table.get(key) == row(key, n=5, s="b", new=1), conditions


WRITES = {
    "put": lambda conditions: PutRow(KEY, {"new": 1}, conditions),
    "update": lambda conditions: UpdateRow(KEY, conditions, {"new": 1}),
    "delete": lambda conditions: DeleteRow(KEY, conditions),
}


@pytest.mark.parametrize("kind", WRITES)
async def test_a_write_whose_conditions_fail_changes_nothing_and_shows_the_row_it_met(table, kind):
    """A refusal tells why."""
    await given(table, n=5, s="b", yes=True)
    for conditions in FAIL:
        outcome = await table.apply(WRITES[kind](conditions))

        assert isinstance(outcome, Refused), conditions
        if getattr(table, "shows_old_rows", True):
            assert outcome.row == row(n=5, s="b", yes=True), conditions
        assert await table.get(KEY) == row(n=5, s="b", yes=True), conditions


async def test_a_refusal_on_a_row_that_is_not_there_shows_none(table):
    """An absent owner is told apart from a dead one by this."""
    assert await table.apply(UpdateRow(KEY, (Equals("n", 1),), {"n": 2})) == Refused(None)
    assert await table.get(KEY) is None


async def test_a_put_that_must_be_the_first_is_refused_the_second_time(table):
    """Rows are made once."""
    await given(table, n=1)

    outcome = await table.apply(PutRow(KEY, {"n": 2}, (Absent("pk"),)))

    assert isinstance(outcome, Refused)
    assert await table.get(KEY) == row(n=1)


async def test_a_put_replaces_the_whole_row(table):
    """Nothing of the old row is left."""
    await given(table, n=1, old=True)
    await given(table, n=2)

    assert await table.get(KEY) == row(n=2)


async def test_a_delete_whose_conditions_hold_removes_the_row(table):
    """And only then."""
    await given(table, n=1)

    assert await table.apply(DeleteRow(KEY, (Equals("n", 1),))) == Applied({})
    assert await table.get(KEY) is None


async def test_members_leave_a_set_one_by_one_and_an_empty_set_is_absent(table):
    """The gate of a child with two parents."""
    await given(table, pend=frozenset({"a", "b"}))

    await table.apply(UpdateRow(KEY, (Present("pk"),), discard={"pend": frozenset({"a"})}))
    assert await table.get(KEY) == row(pend=frozenset({"b"}))
    assert isinstance(await table.apply(UpdateRow(KEY, (Absent("pend"),), {"own": "me"})), Refused)
    await table.apply(UpdateRow(KEY, (Present("pk"),), discard={"pend": frozenset({"b"})}))

    assert await table.get(KEY) == row()
    assert isinstance(await table.apply(UpdateRow(KEY, (Absent("pend"),), {"own": "me"})), Applied)


async def test_leaving_a_set_that_is_not_there_changes_nothing(table):
    """The second of two transactions may find the gate open already."""
    await given(table, n=1)

    assert await table.apply(UpdateRow(KEY, (), discard={"pend": frozenset({"a"})})) == Applied(row(n=1))


async def test_checkpoints_compare_by_position_whatever_their_length(table):
    """`ck <= :c` is what keeps a checkpoint from going back."""
    for number in (0, 9, 10**55, 10**56 - 1, 10**56, 10**128):
        key = Key("ck", str(number))
        await given(table, key, ck=Checkpoint.at(number).encode())
        for other, applied in ((number, True), (number + 1, True), (max(0, number - 1), number == 0)):
            reached = Checkpoint.at(other).encode()

            outcome = await table.apply(UpdateRow(key, (AtMost("ck", reached),), {"seen": True}))

            assert isinstance(outcome, Applied) == applied, (number, other)


async def test_of_many_who_race_for_one_step_exactly_one_wins(table):
    """Twenty writers, five steps: compare-and-set loses no update and grants none twice."""
    await given(table, n=0)
    wins = 0
    for step in range(5):
        async with asyncio.TaskGroup() as racers:
            tries = [
                racers.create_task(table.apply(UpdateRow(KEY, (Equals("n", step),), {"n": step + 1, "by": str(racer)})))
                for racer in range(20)
            ]
        wins += sum(isinstance(attempt.result(), Applied) for attempt in tries)

    assert wins == 5
    assert (await table.get(KEY))["n"] == 5


async def test_a_query_returns_all_of_one_partition_and_nothing_else(table):
    """More than one page of 1 MB on a real server."""
    blob = "x" * 60_000
    async with asyncio.TaskGroup() as writers:
        for number in range(20):
            writers.create_task(given(table, Key("W", f"w{number:02}"), n=number, blob=blob))
        writers.create_task(given(table, Key("M", "stream"), n=99))

    found = await table.query("W")

    assert sorted(r["n"] for r in found) == list(range(20))


CHILD = Key("L#stream#4", "child")
OTHER = Key("L#stream#5", "other")


async def test_a_transaction_takes_effect_as_a_whole(transactional, token):
    """The end of a shard and its children's rows."""
    await given(transactional, own="me")
    requests = (
        UpdateRow(KEY, (Equals("own", "me"),), {"done": True}, remove=("own",)),
        PutRow(CHILD, {"ep": 0}, (Absent("pk"),)),
    )

    assert await transactional.transact(requests, token) == TransactionApplied()
    assert await transactional.get(KEY) == row(done=True)
    assert await transactional.get(CHILD) == row(CHILD, ep=0)


async def test_a_transaction_with_one_refused_member_changes_nothing_and_says_which(transactional, token):
    """The refused child is read again, the others are innocent."""
    await given(transactional, own="me")
    await given(transactional, CHILD, ep=3)
    requests = (
        UpdateRow(KEY, (Equals("own", "me"),), {"done": True}),
        PutRow(CHILD, {"ep": 0}, (Absent("pk"),)),
        PutRow(OTHER, {"ep": 0}, (Absent("pk"),)),
    )

    outcome = await transactional.transact(requests, token)

    assert outcome == TransactionRefused((None, Refused(row(CHILD, ep=3)), None))
    assert await transactional.get(KEY) == row(own="me")
    assert await transactional.get(OTHER) is None


async def test_the_same_transaction_under_the_same_token_is_applied_once(transactional, token):
    """A repeat after a lost answer is a success, though its conditions would fail now."""
    requests = (PutRow(CHILD, {"ep": 0}, (Absent("pk"),)),)

    assert await transactional.transact(requests, token) == TransactionApplied()
    assert await transactional.transact(requests, token) == TransactionApplied()
    assert isinstance(await transactional.transact(requests, str(uuid4())), TransactionRefused)


async def test_a_token_belongs_to_one_transaction(transactional, token):
    """Another content under it is a bug and must not pass for a success."""
    await transactional.transact((PutRow(CHILD, {"ep": 0}),), token)

    with pytest.raises(AwsError):
        await transactional.transact((PutRow(CHILD, {"ep": 1}),), token)
