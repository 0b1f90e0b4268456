"""What an owner's transaction asks of the lease's row, and what is remembered of records that may have letters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from headrace.core.lease_rows import lease_of
from headrace.core.leases import Progress, lease_key
from headrace.core.redriven import Fate, Standing, fate_of, note_first, redriven_key
from headrace.model import (
    SHARD_END,
    TRIM_HORIZON,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    DeadLetter,
    Lease,
    Record,
    ShardId,
    TrimHorizon,
    WorkerId,
)
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


# --- a shard that is read again ---------------------------------------------------------------------------------------

ARRIVED = datetime(2026, 1, 2, tzinfo=UTC)
START = TrimHorizon()


def letter(number: int, replay: int = 0) -> DeadLetter:
    record = Record(b"", "k", number, ARRIVED.timestamp(), SHARD)
    return DeadLetter("stream", record, "Rejected", "", "", 1, ARRIVED, ME, 1, replay=replay)


def read_again(first: int | None, checkpoint: Checkpoint, start=START, replay: int = 5) -> Lease:
    return Lease(
        SHARD, 9, checkpoint, start=start, replay=replay, first_read=None if first is None else Checkpoint.at(first)
    )


BEGUN = read_again(100, at(200))


@pytest.mark.parametrize(
    ("number", "lease", "fate"),
    [
        (99, BEGUN, Fate.DUE),
        (100, BEGUN, Fate.SETTLED),
        (200, BEGUN, Fate.SETTLED),
        (201, BEGUN, Fate.LATER),
        (100, read_again(100, TRIM_HORIZON), Fate.LATER),
        (300, read_again(100, SHARD_END), Fate.SETTLED),
        (300, read_again(None, SHARD_END), Fate.DUE),
        (300, replace(BEGUN, checkpoint=TRIM_HORIZON, first_read=SHARD_END), Fate.DUE),
        (100, read_again(None, TRIM_HORIZON), Fate.LATER),
        (100, read_again(None, TRIM_HORIZON, AtSequence(101)), Fate.DUE),
        (101, read_again(None, TRIM_HORIZON, AtSequence(101)), Fate.LATER),
        (100, read_again(None, TRIM_HORIZON, AtTimestamp(ARRIVED)), Fate.LATER),
        (100, read_again(None, TRIM_HORIZON, AtTimestamp(ARRIVED.replace(hour=1))), Fate.DUE),
    ],
)
def test_a_letter_of_before_is_written_only_where_the_replay_does_not_meet_its_record(number, lease, fate):
    """What was trimmed when it began, or lies before its place, nobody else writes."""
    assert fate_of(letter(number), lease) is fate


@pytest.mark.parametrize("lease", [BEGUN, read_again(None, TRIM_HORIZON), read_again(None, at(200), replay=0)])
def test_a_letter_of_this_reading_is_to_be_written_wherever_the_shard_stands(lease):
    """As ever."""
    assert fate_of(letter(150, lease.replay), lease) is Fate.DUE


def test_each_reading_has_rows_of_its_own():
    """Those of a shard that nobody ever put elsewhere are where they always were."""
    record = letter(150).record
    assert redriven_key("stream", record, 0).sk == f"{SHARD}#{at(150).encode()}"
    assert len({redriven_key("stream", record, replay) for replay in (0, 5, 9)}) == 3


def test_where_a_replay_begins_is_told_by_its_owner_alone():
    """A late word of an earlier owner changes nothing."""
    found, first = table(replay=6), at(101)
    assert isinstance(found.write(note_first("stream", SHARD, ME, 6, first)), Refused)
    assert isinstance(found.write(note_first("stream", SHARD, ME, 7, first)), Applied)
    assert lease_of({**found.rows[KEY], "sk": SHARD}).first_read == at(101)
