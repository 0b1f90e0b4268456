"""Several conditional updates in one call, each by itself: asked of the in-memory table and of a real server alike."""

from __future__ import annotations

import pytest
from contract.lease_tables import MEMORY, MINISTACK

from headrace.rows import Absent, Applied, AtMost, Equals, Key, OneOf, Present, PutRow, Refused, UpdateRow

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("backend", [MEMORY, MINISTACK], indirect=True, scope="module"),
]


def key(n: int) -> Key:
    return Key("L#together", f"shard-{n}")


async def rows(table, count: int) -> None:
    for n in range(count):
        await table.apply(PutRow(key(n), {"own": "me", "ep": n, "ck": "0019", "want": "you"}))


def release(n: int, owner: str = "me", ck: str = "00217") -> UpdateRow:
    conditions = (Equals("own", owner), Equals("ep", n), AtMost("ck", ck))
    return UpdateRow(key(n), conditions, {"ck": ck}, remove=("own", "want", "never-there"))


async def test_each_update_of_a_call_succeeds_or_fails_by_itself(table):
    """A refusal shows the row that was met; the others take place."""
    await rows(table, 3)

    outcomes = await table.apply_each([release(0), release(1, owner="other"), release(2), release(9)])

    assert isinstance(outcomes[0], Applied)
    assert isinstance(outcomes[1], Refused)
    assert outcomes[1].row["own"] == "me"
    assert isinstance(outcomes[2], Applied)
    assert outcomes[3] == Refused(None), "no row is made"
    assert await table.get(key(0)) == {"pk": "L#together", "sk": "shard-0", "ep": 0, "ck": "00217"}
    assert (await table.get(key(1)))["ck"] == "0019"
    assert await table.get(key(9)) is None


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (Present("own"), True),
        (Absent("own"), False),
        (Absent("nothing"), True),
        (Present("nothing"), False),
        (OneOf("own", ("you", "me")), True),
        (OneOf("own", ("you", "they")), False),
        (AtMost("ck", "0019"), True),
        (AtMost("ck", "0018"), False),
        (Equals("ep", 0), True),
        (Equals("ep", 1), False),
        (Equals("nothing", 1), False),
    ],
)
async def test_every_kind_of_condition_holds_or_fails_as_it_does_alone(table, condition, holds):
    """The same words in another language."""
    await rows(table, 1)
    update = UpdateRow(key(0), (condition,), {"seen": True})

    (outcome,) = await table.apply_each([update])

    assert isinstance(outcome, Applied) == holds
    assert isinstance(await table.apply(update), Applied) == holds


async def test_twenty_five_fit_in_a_call(table):
    """The most that a call may have."""
    await rows(table, 25)

    assert all(isinstance(o, Applied) for o in await table.apply_each([release(n) for n in range(25)]))
