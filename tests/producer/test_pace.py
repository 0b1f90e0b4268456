"""The schedule: what is due when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_producer.pace import Pace

PLENTY = 10**9


@given(st.floats(0.1, 50_000), st.lists(st.floats(0, 30), max_size=20))
def test_late_ticks_are_made_up_and_the_rate_never_drifts(rate, instants):
    """Whatever the ticks were, after t seconds rate x t records were due."""
    made = 0
    for elapsed_s in sorted(instants):
        made += Pace(rate).due(elapsed_s, made, PLENTY)
        assert made == int(rate * elapsed_s)


@pytest.mark.parametrize(
    ("pace", "total"),
    [
        (Pace(2000, None, 20), 40_000),
        (Pace(2000, 500, 20), 500),
        (Pace(2000, 90_000, 20), 40_000),
        (Pace(None, 7, 20), 7),
        (Pace(None, None, 20), None),
        (Pace(2000), None),
        (Pace(0.5, None, 3), 2),
    ],
)
def test_the_total_is_the_nearest_limit_that_can_be_counted(pace, total):
    """Time without a rate can't be."""
    assert pace.total == total


def test_nothing_is_due_past_the_total():
    """However late it is."""
    assert Pace(100, 150).due(60, 140, PLENTY) == 10
    assert Pace(100, 150).due(60, 150, PLENTY) == 0


def test_a_full_backlog_holds_back_what_is_due():
    """Memory stays bounded when the stream is slow."""
    assert Pace(100).due(10, 0, 25) == 25
    assert Pace(100).due(10, 0, 0) == 0


def test_without_a_rate_as_many_are_due_as_there_is_room_for():
    """The stream sets the speed."""
    assert Pace(None).due(0.0, 3, 25) == 25


@pytest.mark.parametrize(
    ("pace", "elapsed_s", "made", "ended"),
    [
        (Pace(10, 5), 0.1, 5, True),
        (Pace(10, 5), 99, 4, False),
        (Pace(10, None, 1), 99, 9, False),
        (Pace(10, None, 1), 1, 10, True),
        (Pace(None, None, 2), 1.9, 10**6, False),
        (Pace(None, None, 2), 2, 0, True),
        (Pace(10), 10**6, 10**7, False),
    ],
)
def test_a_counted_run_ends_by_count_and_another_by_time(pace, elapsed_s, made, ended):
    """A slow machine still produces all that was asked for."""
    assert pace.ended(elapsed_s, made) is ended


@pytest.mark.parametrize(("rate", "tick_s"), [(1, 0.1), (2000, 0.1), (10_000, 0.05), (10**6, 0.005), (None, 0.005)])
def test_a_tick_is_as_long_as_filling_a_call_takes_within_bounds(rate, tick_s):
    """Calls are full where they can be, and no record waits for long."""
    assert Pace(rate).tick_s == tick_s


def test_the_next_tick_is_counted_from_the_start():
    """A late one shifts no other."""
    assert Pace(2000).until_tick_s(0.73) == pytest.approx(0.07)


def test_a_timer_that_wakes_a_hair_too_early_is_not_asked_to_wait_for_a_hair():
    """Three times 0.1 is a little less than 0.3 in binary: waiting for the rest would spin."""
    assert min(Pace(2000).until_tick_s(tick * 0.1) for tick in range(1000)) > 0.0009
