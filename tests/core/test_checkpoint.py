"""The text form of a position."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.model import SHARD_END, TRIM_HORIZON, Checkpoint

positions = st.builds(Checkpoint.at, st.integers(0, 10**129 - 1), st.one_of(st.just(-1), st.integers(0, 10**8 - 1)))
checkpoints = st.one_of(st.just(TRIM_HORIZON), st.just(SHARD_END), positions)


@given(checkpoints)
def test_a_checkpoint_comes_back_from_its_text(checkpoint):
    """Nothing is lost, up to the 129 digits that Kinesis documents."""
    assert Checkpoint.decode(checkpoint.encode()) == checkpoint


@given(checkpoints, checkpoints)
def test_texts_sort_by_bytes_as_positions_do(one, other):
    """DynamoDB compares the text; an order of its own would let a checkpoint go back."""
    assert (one.encode().encode() < other.encode().encode()) == (one < other)


@pytest.mark.parametrize(
    "text", ["", "0", "abc", "0021", "00112", "001x", "001-1", "0011.", "0011.1", "~end", "003 12"]
)
def test_any_other_text_is_refused(text):
    """A damaged row is an error, never a position."""
    with pytest.raises(ValueError):
        Checkpoint.decode(text)
