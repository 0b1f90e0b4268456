"""What an owner's transaction asks of the lease's row, and what is remembered of records that may have letters."""

from __future__ import annotations

import pytest

from headrace.core.leases import Progress, lease_key
from headrace.core.redriven import Standing
from headrace.model import Checkpoint, ShardId, WorkerId
from headrace.rows import Applied, PutRow, Refused
from headrace.testing.lease_table import MemoryLeaseTable

SHARD, ME = ShardId("shard"), WorkerId("me")
KEY = lease_key("stream", SHARD)


def at(number: int) -> Checkpoint:
    return Checkpoint.at(number)


def standing(before: int, *dead: int, epoch: int = 7, me: str = "me") -> Standing:
    return Standing("stream", SHARD, WorkerId(me), epoch, at(before), frozenset(map(at, dead)))


def table(**changed) -> MemoryLeaseTable:
    found = MemoryLeaseTable()
    row = {"own": "me", "ep": 7, "ck": at(100).encode()}
    found.write(PutRow(KEY, {**row, **changed}))
    return found


def dead(found: MemoryLeaseTable) -> set[Checkpoint]:
    return {Checkpoint.decode(text) for text in found.rows[KEY].get("dead", frozenset())}


def advance(found: MemoryLeaseTable, asked: Standing, reached: int) -> Applied | Refused:
    return found.write(asked.advance(Progress(at(reached), 1.0)))


@pytest.mark.parametrize(
    "asked",
    [
        standing(100, epoch=6),
        standing(100, epoch=8),
        standing(100, me="other"),
        standing(99),
        standing(100, 101),
    ],
    ids=["an older epoch", "a newer epoch", "another owner", "a passed checkpoint", "letters that nobody announced"],
)
def test_the_row_refuses_whoever_does_not_know_it_as_it_is(asked):
    """A worker that lost the lease, an earlier try that comes late."""
    assert isinstance(advance(table(), asked, 110), Refused)


def test_an_owner_that_knows_the_row_moves_the_checkpoint():
    """Also over records that needed no transaction."""
    found = table()
    assert isinstance(advance(found, standing(105), 110), Applied)
    assert found.rows[KEY]["ck"] == at(110).encode()
    assert isinstance(advance(table(done=True), standing(100), 110), Refused)


def test_what_may_have_letters_is_told_until_the_checkpoint_has_passed_it():
    """And a try from before it was told is refused."""
    found = table()
    assert isinstance(found.write(standing(100).announce(frozenset({at(101), at(103)}))), Applied)
    assert isinstance(found.write(standing(100).announce(frozenset({at(101), at(103)}))), Applied)
    assert dead(found) == {at(101), at(103)}
    assert isinstance(advance(found, standing(100), 102), Refused)
    assert isinstance(advance(found, standing(100, 101, 103), 102), Applied)
    assert dead(found) == {at(103)}
    assert isinstance(advance(found, standing(102, 103), 110), Applied)
    assert dead(found) == set()


def test_nobody_announces_letters_for_a_lease_that_is_lost():
    """Nor behind a checkpoint that has moved on."""
    for asked in (standing(100, epoch=6), standing(99), standing(100, me="other")):
        assert isinstance(table().write(asked.announce(frozenset({at(101)}))), Refused)
