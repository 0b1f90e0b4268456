"""What the lease protocol relies on, asked of the in-memory table and of real servers alike."""

from __future__ import annotations

import asyncio

import pytest
from contract.lease_tables import DYNALITE, KEY, MINISTACK, given, row

from headrace.aws.lease_table import DynamoLeaseTable
from headrace.errors import NotFound, Rejected
from headrace.model import SHARD_END, TRIM_HORIZON, Checkpoint
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
    UpdateRow,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
    (AtMost("n", 10), AtMost("s", "c")),
    (AtMost("n", 5.5),),
    (AtMost("s", "\u00e9"),),
    (OneOf("s", ("a", "b")),),
    (OneOf("n", (4, 5)),),
    (Absent("other"), Present("n"), Present("pk")),
]
FAIL = [
    (Equals("n", 6),),
    (Equals("s", "B"),),
    (Equals("other", "x"),),
    (Equals("n", "5"),),
    (Equals("yes", 1),),
    (Equals("n", 5), Equals("s", "x")),
    (AtMost("n", 4),),
    (AtMost("n", 4.99),),
    (AtMost("n", -10),),
    (AtMost("yes", 1),),
    (AtMost("n", 9), AtMost("s", "a")),
    (AtMost("other", 1),),
    (AtMost("s", 99),),
    (OneOf("s", ("a", "c")),),
    (OneOf("yes", (0, 1)),),
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
async def test_a_write_whose_conditions_fail_changes_nothing_and_shows_the_row_it_met(backend, table, kind):
    """A refusal tells why."""
    await given(table, n=5, s="b", yes=True)
    for conditions in FAIL:
        outcome = await table.apply(WRITES[kind](conditions))

        assert isinstance(outcome, Refused), conditions
        if backend.shows_old_rows:
            assert outcome.row == row(n=5, s="b", yes=True), conditions
        assert await table.get(KEY) == row(n=5, s="b", yes=True), conditions


async def test_a_refusal_on_a_row_that_is_not_there_shows_none(table):
    """An absent owner is told apart from a dead one by this."""
    assert await table.apply(UpdateRow(KEY, (Equals("n", 1),), {"n": 2})) == Refused(None)
    assert await table.get(KEY) is None


async def test_an_update_of_a_row_that_is_not_there_makes_it_when_its_conditions_hold(table):
    """UpdateItem is an upsert: an operation that must not make a row has to say `Present`."""
    absent = UpdateRow(KEY, (Absent("own"),), {"own": "me"}, remove=("want",), discard={"pend": frozenset({"a"})})
    assert await table.apply(UpdateRow(KEY, (Present("pk"),), {"own": "me"})) == Refused(None)

    assert await table.apply(absent) == Applied(row(own="me"))
    assert await table.get(KEY) == row(own="me")


async def test_an_update_without_changes_leaves_the_row_as_it_is(table):
    """A condition alone may be asked."""
    await given(table, n=1)

    assert await table.apply(UpdateRow(KEY, (Equals("n", 1),))) == Applied(row(n=1))
    assert isinstance(await table.apply(UpdateRow(KEY, (Equals("n", 2),))), Refused)


async def test_an_attribute_may_have_any_name(table):
    """Reserved words, dots and dashes."""
    await given(table, **{"req.shardId-000": 1, "name": "n", "held#": 2})

    outcome = await table.apply(UpdateRow(KEY, (Equals("req.shardId-000", 1), Present("name")), {"req.shardId-000": 3}))

    assert outcome == Applied(row(**{"req.shardId-000": 3, "name": "n", "held#": 2}))


async def test_an_empty_set_cannot_be_written(table):
    """A row either has members or no such attribute."""
    for request in (PutRow(KEY, {"pend": frozenset()}), UpdateRow(KEY, (), {"pend": frozenset()})):
        with pytest.raises(Rejected):
            await table.apply(request)


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


async def test_checkpoints_from_the_trim_horizon_to_the_end_of_a_shard_compare_in_their_order(table):
    """The text of a position inside an aggregate lies between its neighbours, the two ends are the ends."""
    positions = [TRIM_HORIZON, Checkpoint.at(9), Checkpoint.at(10), Checkpoint.at(10, 0), Checkpoint.at(10, 12)]
    texts = [position.encode() for position in [*positions, Checkpoint.at(11), Checkpoint.at(10**56), SHARD_END]]
    for stored, text in enumerate(texts):
        await given(table, ck=text)
        asked = [await table.apply(UpdateRow(KEY, (AtMost("ck", other),))) for other in texts]

        assert [isinstance(outcome, Applied) for outcome in asked] == [stored <= at for at in range(len(texts))]


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


@pytest.mark.parametrize("backend", [MINISTACK, DYNALITE], indirect=True, scope="module")
async def test_a_table_that_is_not_there_is_not_found(backend):
    """Deleted while the worker runs: an operator can mend it."""
    table = DynamoLeaseTable(backend.client, "nowhere")
    for ask in (table.apply(PutRow(KEY, {})), table.get(KEY), table.query("W")):
        with pytest.raises(NotFound):
            await ask
