"""How a lane closes batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.batching import BatchRules
from headrace.core.lane import EventLimit, Lane, lane_of
from headrace.model import Instant


@given(
    st.lists(st.integers(1, 60), max_size=80),
    st.integers(1, 12),
    st.integers(5, 100) | st.none(),
    st.integers(0, 20),
)
def test_batches_are_the_items_in_order_within_count_and_bytes(sizes, count, room, overhead):
    """Nothing is lost or doubled; only an item that is too large by itself exceeds the bytes, alone."""
    lane: Lane[int] = Lane(BatchRules(count), EventLimit(None if room is None else room + overhead, overhead))
    for number, size in enumerate(sizes):
        lane.add(number, size, Instant(0.0))

    batches = []
    while len(lane):
        assert lane.due_at() == float("-inf")
        batches.append(lane.take())

    assert [number for batch in batches for number in batch] == list(range(len(sizes)))
    for batch, following in zip(batches, [*batches[1:], None], strict=False):
        taken = sum(sizes[number] for number in batch)
        assert 1 <= len(batch) <= count
        assert room is None or taken <= room or len(batch) == 1
        if following is not None and len(batch) < count:
            assert room is not None
            assert taken + sizes[following[0]] > room, "it was closed before it had to be"
    assert lane.due_at() is None


def test_a_batch_waits_for_its_window_unless_count_or_bytes_complete_it():
    """From the first item on; bytes complete it when the next item has no room."""
    lane: Lane[str] = Lane(BatchRules(3, 10.0), EventLimit(100, 0))
    lane.add("a", 60, Instant(5.0))
    assert lane.due_at() == 15.0
    lane.add("b", 40, Instant(6.0))
    assert lane.due_at() == 15.0, "it is full to the byte, and nothing more has come"
    lane.add("c", 1, Instant(7.0))
    assert lane.due_at() == float("-inf")
    assert lane.take() == ["a", "b"]
    assert lane.due_at() == 17.0
    lane.add("d", 1, Instant(8.0))
    lane.add("e", 1, Instant(8.0))
    assert lane.due_at() == float("-inf"), "three of three"


def test_a_batch_ends_before_what_does_not_belong_to_it():
    """A record of a later tumbling window, say."""
    lane: Lane[int] = Lane(BatchRules(10), EventLimit())
    for number in (1, 2, 30, 4):
        lane.add(number, 0, Instant(0.0))

    assert lane.first() == 1
    assert lane.take(lambda number: number < 10) == [1, 2]
    assert lane.take(lambda number: number < 10) == []
    assert lane.take() == [30, 4]


@given(st.text(), st.integers(1, 100))
def test_a_key_is_always_in_the_same_lane(key, lanes):
    """Also a key that is no valid Unicode."""
    assert 0 <= lane_of(key, lanes) < lanes
    assert lane_of(key, lanes) == lane_of(key, lanes)
    assert lane_of("\ud800", lanes) < lanes


def test_keys_are_spread_over_the_lanes():
    """No lane of ten has more than twice its share of 1,000 keys."""
    found = [lane_of(f"device-{number}", 10) for number in range(1000)]

    assert max(found.count(lane) for lane in range(10)) < 200
