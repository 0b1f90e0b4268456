"""The low-water mark of a shard."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.tracker import Tracker
from headrace.model import TRIM_HORIZON, Checkpoint, Record


def records(first: int, count: int) -> list[Record]:
    return [Record(b"", "k", n, float(n), "s") for n in range(first, first + count)]


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Sizes of the spans, and the order in which the records are settled."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    return sizes, draw(st.permutations(range(sum(sizes))))


@given(runs())
def test_whatever_the_order_of_settling_the_mark_is_just_before_the_lowest_open_record(run):
    """The mark never passes an open record, never goes back, and moves as far as it may."""
    sizes, order = run
    tracker = Tracker(TRIM_HORIZON)
    places = []
    for size in sizes:
        span = tracker.admit(records(len(places), size))
        places += [(span, index) for index in range(size)]
    open_records = set(range(len(places)))

    for number in order:
        before = tracker.mark
        tracker.settle(*places[number])
        open_records.remove(number)
        lowest = min(open_records, default=len(places))

        assert tracker.mark == (Checkpoint.at(lowest - 1) if lowest else TRIM_HORIZON)
        assert tracker.mark >= before
        assert tracker.open_records == len(open_records)
        assert tracker.oldest_open_arrival_s == (float(lowest) if open_records else None)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=8), st.data())
def test_whole_spans_and_single_records_settle_alike(spans, data):
    """Settling a span whole gives the mark that settling its records one by one gives."""
    tracker, places = Tracker(TRIM_HORIZON), []
    first = 0
    for size, whole in spans:
        places.append((tracker.admit(records(first, size)), size, whole))
        first += size
    for span, size, whole in data.draw(st.permutations(places)):
        if whole:
            tracker.settle_all(span)
        else:
            for index in data.draw(st.permutations(range(size))):
                tracker.settle(span, index)

    assert tracker.mark == Checkpoint.at(first - 1)
    assert tracker.open_records == 0
    assert tracker.span_records == 0


def test_a_run_that_resumes_never_moves_its_mark_behind_the_checkpoint():
    """A record that comes again below the checkpoint changes nothing."""
    tracker = Tracker(Checkpoint.at(10))

    tracker.settle_all(tracker.admit(records(5, 2)))

    assert tracker.mark == Checkpoint.at(10)


def test_a_shard_is_drained_only_when_its_end_was_seen_and_nothing_is_open():
    """Both are needed."""
    tracker = Tracker(TRIM_HORIZON)
    span = tracker.admit(records(0, 2))

    tracker.end()
    assert not tracker.drained
    tracker.settle(span, 1)
    assert not tracker.drained
    tracker.settle(span, 0)
    assert tracker.drained


def test_after_the_end_nothing_is_admitted():
    """A record after the end would be lost."""
    tracker = Tracker(TRIM_HORIZON)
    tracker.end()

    with pytest.raises(ValueError, match="admitted"):
        tracker.admit(records(0, 1))


def test_a_record_is_settled_once():
    """A second settlement is a bug of the caller and must not move the mark."""
    tracker = Tracker(TRIM_HORIZON)
    span = tracker.admit(records(0, 2))
    tracker.settle(span, 1)

    with pytest.raises(ValueError, match="already"):
        tracker.settle(span, 1)
    with pytest.raises(ValueError, match="already"):
        tracker.settle_all(span)
    assert tracker.mark == TRIM_HORIZON


def test_the_record_that_holds_the_mark_can_be_named():
    """The oldest open one, however its span is settled."""
    tracker = Tracker(TRIM_HORIZON)
    assert tracker.oldest_open is None
    first, second = tracker.admit(records(0, 3)), tracker.admit(records(3, 2))
    assert tracker.oldest_open == 0
    tracker.settle(first, 0)
    tracker.settle(first, 2)
    tracker.settle_all(second)
    assert tracker.oldest_open == 1
    tracker.settle(first, 1)
    assert tracker.oldest_open is None


def test_a_span_settled_piecemeal_lets_go_of_its_payloads():
    """One record that waits for a retry does not keep its neighbours' data in memory."""

    class Payload(list):
        pass

    held = Payload(records(0, 3))
    alive = weakref.ref(held)
    tracker = Tracker(TRIM_HORIZON)
    span = tracker.admit(held)
    tracker.settle(span, 2)

    del held
    gc.collect()

    assert alive() is None
