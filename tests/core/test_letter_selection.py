"""Which letters are meant, in which order they go, and which wait for others of their key."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from headrace.core.letter_selection import FirstLetters, Gathering, Selection, key_of, order_of
from headrace.model import DeadLetter, Record, ShardId, WorkerId

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def letter(number, key="k", *, sub=-1, shard="shardId-1", reason="Rejected", minutes=0, size=1, stream="s", replay=0):
    record = Record(bytes(size), key, number, 0.0, shard, sub)
    buried_at = NOON + timedelta(minutes=minutes)
    return DeadLetter(stream, record, reason, "E", "m", 1, buried_at, WorkerId("w"), 1, replay=replay)


def numbers(letters):
    return [one.record.sequence_number for one in letters]


def gathered(letters, selection=None, **bounds):
    gathering = Gathering(selection or Selection(), FirstLetters(**bounds))
    for one in letters:
        gathering.see(one)
    return gathering


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), [1, 2, 3]),
        (Selection(shard=ShardId("shardId-2")), [2]),
        (Selection(partition_key="a"), [1]),
        (Selection(reason="NotJson"), [3]),
        (Selection(since=NOON + timedelta(minutes=1)), [2, 3]),
        (Selection(until=NOON + timedelta(minutes=1)), [1]),
        (Selection(sequence_number=3, reason="Rejected"), []),
    ],
)
def test_filters_all_have_to_fit(selection, taken):
    """Shard, key, reason, and times of burial: since the first one, before the second."""
    letters = [
        letter(1, "a"),
        letter(2, "b", shard="shardId-2", minutes=1),
        letter(3, "b", reason="NotJson", minutes=2),
    ]
    assert numbers(one for one in letters if selection.takes(one)) == taken


def test_letters_of_a_key_go_in_the_order_of_their_records():
    """Whatever the order they are read in, over shards (a child's numbers are greater) and inside an aggregate."""
    ordered = [letter(9), letter(10, sub=0), letter(10, sub=1), letter(100, shard="shardId-0"), letter(10**55)]
    shuffled = ordered.copy()
    random.Random(3).shuffle(shuffled)
    assert gathered(shuffled).by_key() == {key_of(ordered[0]): ordered}


def test_a_letter_does_not_overtake_one_of_its_key_that_is_not_selected():
    """It is kept back; other keys go."""
    letters = [letter(1, "a", reason="NotJson"), letter(2, "a"), letter(3, "b"), letter(4, "b", reason="NotJson")]
    gathering = gathered(letters[::-1], Selection(reason="Rejected"))
    assert [numbers(one) for one in gathering.by_key().values()] == [[3]]
    assert gathering.kept_back == 1


def test_what_is_behind_a_letter_that_failed_waits_and_the_failed_one_is_not_tried_again():
    """Until the next redrive."""
    failed = letter(2, "a")
    gathering = Gathering(Selection(), FirstLetters(), {key_of(failed): order_of(failed)})
    for one in [failed, letter(3, "a"), letter(4, "a"), letter(5, "b")]:
        gathering.see(one)
    assert [numbers(one) for one in gathering.by_key().values()] == [[5]]
    assert gathering.kept_back == 2


@pytest.mark.parametrize(("bounds", "taken"), [({"most": 3}, 3), ({"most_bytes": 250}, 2), ({"most_bytes": 1}, 1)])
def test_within_bounds_the_first_ones_are_taken_so_that_no_key_loses_its_order(bounds, taken):
    """Of number and of bytes, but one at least; the rest is for the next reading."""
    letters = [letter(number, f"k{number % 2}", size=100) for number in range(10)]
    random.Random(5).shuffle(letters)
    gathering = gathered(letters, **bounds)
    assert sorted(number for one in gathering.by_key().values() for number in numbers(one)) == list(range(taken))
    assert gathering.has_more
    assert gathering.kept_back == 0


def test_records_without_a_partition_key_wait_for_no_other():
    """There is no order among them."""
    assert len(gathered([letter(1, ""), letter(2, ""), letter(3, "a")]).by_key()) == 3


@pytest.mark.parametrize("replays", [(0, 7), (7, 0)])
def test_of_two_letters_of_a_record_that_of_the_later_reading_is_delivered(replays):
    """A queue keeps both, and removes both at once: the earlier one must not go in its stead."""
    twice = [letter(2, replay=replay) for replay in replays]
    (delivered,) = gathered([letter(1), *twice, letter(3)]).by_key().values()
    assert [(one.record.sequence_number, one.replay) for one in delivered] == [(1, 0), (2, 7), (3, 0)]
