"""Tumbling windows of one shard."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.windows import GRACE_S, LARGEST_STATE, Kept, Open, Windows, keep, kept_at
from headrace.model import Checkpoint, Record, ShardId, WorkerId

SHARD = ShardId("shardId-000000000000")


def record(arrival_s: float) -> Record:
    return Record(b"", "k", 1, arrival_s)


@given(
    st.builds(
        Kept,
        st.none() | st.builds(Open, st.integers(0, 2**40), st.dictionaries(st.text(), st.integers() | st.text())),
        st.integers(0, 2**40),
    )
)
def test_what_is_kept_comes_back_as_it_was(kept):
    """Any state that is JSON."""
    assert Kept.restored(kept.stored()) == kept


def test_what_is_kept_belongs_to_its_checkpoint_alone():
    """Beside another position it would count records twice, or not at all."""
    kept = Kept(Open(120, {"n": 7}), 60)
    row = keep("stream", SHARD, WorkerId("w"), Checkpoint.at(10), kept.stored(), 1_000.0).attributes

    assert kept_at(row, Checkpoint.at(10)) == kept
    assert kept_at(row, Checkpoint.at(11)) is None
    assert kept_at(None, Checkpoint.at(10)) is None


@given(st.lists(st.floats(1000, 2000), min_size=1), st.integers(1, 900))
def test_no_window_is_opened_twice_whatever_the_arrival_times(arrivals, length):
    """They are not in order: what comes late counts into a window that is open or next."""
    windows, begun = Windows(SHARD, length), []
    for arrival_s in arrivals:
        start_s = windows.start_of(record(arrival_s))
        if windows.kept.open is not None and start_s > windows.kept.open.start_s:
            windows.end(early=False)
            start_s = windows.start_of(record(arrival_s))
        if windows.kept.open is None:
            windows.begin(start_s)
            begun.append(start_s)
        assert windows.kept.open == Open(start_s, {})
        assert start_s >= arrival_s - length

    assert begun == sorted(set(begun))
    assert all(start_s % length == 0 for start_s in begun)


def test_a_call_is_told_the_bounds_and_the_state():
    """From the first call on, whose state is empty."""
    windows = Windows(SHARD, 60)
    with pytest.raises(ValueError, match="no window"):
        windows.call()
    windows.begin(windows.start_of(record(125.0)))
    first = windows.call()
    windows.carry({"n": 1})
    last = windows.call(is_final=True)

    assert (first.start_s, first.end_s, first.state, first.is_final) == (120, 180, {}, False)
    assert (last.start_s, last.state, last.is_final, last.is_terminated_early) == (120, {"n": 1}, True, False)


def test_a_window_is_over_a_while_after_its_end():
    """What arrived just before it may be read just after."""
    windows = Windows(SHARD, 60)
    assert not windows.is_over(10_000.0)
    windows.begin(120)

    assert not windows.is_over(180.0)
    assert windows.is_over(180.0 + GRACE_S)


def test_an_early_end_leaves_the_window_open_to_more():
    """With an empty state."""
    windows = Windows(SHARD, 60)
    windows.begin(120)
    windows.end(early=True)
    assert windows.start_of(record(130.0)) == 120
    windows.begin(120)
    windows.end(early=False)
    assert windows.start_of(record(130.0)) == 180


@pytest.mark.parametrize("noise", [False, True])
def test_a_state_that_is_too_large_is_noticed(noise):
    """By its size as JSON, and by what it takes in a row where it cannot be compressed."""
    text = "x" * LARGEST_STATE if not noise else "".join(random.Random(1).choices("0123456789abcdef", k=700_000))
    windows = Windows(SHARD, 60)
    windows.begin(0)
    windows.carry({"fits": "x" * (LARGEST_STATE - 100)})
    assert not windows.is_overfull
    windows.carry({"text": text})

    assert len(json.dumps(text)) > 600_000
    assert windows.is_overfull
