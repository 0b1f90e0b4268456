"""Batches by size and window."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.batching import Batcher, BatchRules
from headrace.model import Instant, Record


def page(first: int, count: int) -> list[Record]:
    return [Record(b"", "k", n, 0.0) for n in range(first, first + count)]


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 17), st.data())
def test_every_record_leaves_once_in_order_in_batches_of_at_most_the_size(pages, size, data):
    """Whatever the pages look like and however adding and taking interleave."""
    batcher = Batcher(BatchRules(size=size))
    added, out = 0, []
    for count in pages:
        batcher.add(page(added, count), Instant(0.0))
        added += count
        for _ in range(data.draw(st.integers(0, 3))):
            batch = batcher.take()
            assert len(batch) <= size
            out += batch
        assert batcher.waiting == added - len(out)
    while batch := batcher.take():
        out += batch

    assert [record.sequence_number for record in out] == list(range(added))


def test_without_a_window_a_single_record_is_due_at_once():
    """As in the event source mapping with a window of 0."""
    batcher = Batcher(BatchRules(size=100))
    assert batcher.due_at() is None

    batcher.add(page(0, 1), Instant(5.0))

    assert batcher.due_at() == float("-inf")


def test_with_a_window_a_short_batch_waits_for_it_and_a_full_one_does_not():
    """The first of size and window closes the batch."""
    batcher = Batcher(BatchRules(size=3, window_s=10.0))
    batcher.add(page(0, 2), Instant(5.0))
    assert batcher.due_at() == 15.0

    batcher.add(page(2, 1), Instant(6.0))

    assert batcher.due_at() == float("-inf")


def test_the_window_runs_from_the_oldest_record_that_is_still_held():
    """A batch that was taken gives the next one its own window."""
    batcher = Batcher(BatchRules(size=2, window_s=10.0))
    batcher.add(page(0, 2), Instant(5.0))
    batcher.add(page(2, 1), Instant(8.0))

    batcher.take()

    assert batcher.due_at() == 18.0
