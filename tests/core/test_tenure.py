"""Trust windows against silence limits."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headrace.core.tenure import LeaseTiming, Tenure
from headrace.model import Instant

ROUNDING_S = 1e-6
"""Of a time of day as seconds since 1970."""

rates = st.floats(0.99, 1.01)


@given(
    duration=st.floats(2, 300),
    owner_rate=rates,
    observer_rate=rates,
    sent=st.floats(0, 1000),
    latency=st.floats(0, 30),
    read_later=st.floats(0, 30),
)
def test_an_owners_trust_ends_before_any_observer_may_fence(
    duration, owner_rate, observer_rate, sent, latency, read_later
):
    """For every pair of clocks within 1 % and every delay: the proof of the protocol, by random numbers.

    Real times: the heartbeat leaves at `sent`, is applied within `latency`, and is first read after that.
    """
    timing = LeaseTiming.derived(duration)
    trust_ends = sent + timing.trust_window_s / owner_rate
    fence_leaves = sent + latency + read_later + timing.duration_s / observer_rate

    assert trust_ends < fence_leaves


@given(st.floats(2, 300))
def test_a_derived_timing_leaves_room_for_heartbeats_and_calls(duration):
    """At least three tries in the window, and a call may start right after a heartbeat."""
    timing = LeaseTiming.derived(duration)

    assert timing.heartbeat_period_s * 3 <= timing.trust_window_s < timing.duration_s
    assert timing.call_timeout_s + timing.heartbeat_period_s < timing.trust_window_s


def test_the_default_lease_has_the_documented_figures():
    """10 s: heartbeats each 2 s, polls each 1 s, calls of up to 3 s, takeover within 11.1 s."""
    timing = LeaseTiming.derived(10)

    assert (timing.heartbeat_period_s, timing.poll_period_s, timing.call_timeout_s) == (2, 1, 3)
    assert timing.trust_window_s == pytest.approx(9.75, abs=0.01)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"trust_window_s": 9.9}, "longer lease"),
        ({"heartbeat_period_s": 4.0}, "fewer than 3 tries"),
        ({"call_timeout_s": 8.0}, "could not start"),
    ],
)
def test_a_combination_that_breaks_a_rule_is_refused_with_the_rule(changed, rule):
    """A timing object that exists is safe."""
    values = {
        "duration_s": 10.0,
        "trust_window_s": 9.7,
        "heartbeat_period_s": 2.0,
        "poll_period_s": 1.0,
        "call_timeout_s": 3.0,
    }

    LeaseTiming(**values)
    with pytest.raises(ValueError, match=rule):
        LeaseTiming(**values | changed)


@given(anchor=st.floats(0, 1e6), window=st.floats(1, 100), call=st.floats(0, 5), later=st.floats(0, 200))
def test_a_call_is_permitted_only_if_it_would_end_within_the_trust(anchor, window, call, later):
    """The issue rule: start only if now + longest duration <= end of trust."""
    tenure = Tenure(1, Instant(anchor), 1e9, window)
    now = Instant(anchor + later)
    assume(abs(now + call - anchor - window) > ROUNDING_S)

    assert tenure.permits(now, 1e9 + (now - anchor), call) == (now + call <= anchor + window)


@given(later=st.floats(0, 9), drift=st.floats(-20, 20).filter(lambda drift: abs(abs(drift) - 1.0) > 1e-6))
def test_trust_ends_when_the_time_of_day_and_the_clock_drift_apart(later, drift):
    """A hypervisor that stops a machine may stop its clock too; the time of day then jumps."""
    tenure = Tenure(1, Instant(100.0), 1e9, 10.0)
    permitted = tenure.permits(Instant(100.0 + later), 1e9 + later + drift, 0.0)

    assert permitted == (abs(drift) <= 1.0 and later + max(drift, 0.0) <= 10.0)


def test_a_stop_too_short_to_tell_from_a_slewed_clock_is_not_added_to_the_trust():
    """Stopped for 0.9 s with its clock, in the last second of its window: others may already own the leases."""
    tenure = Tenure(1, Instant(100.0), 1e9, 9.75)

    assert tenure.permits(Instant(109.5), 1e9 + 9.5, 0.0)
    assert not tenure.permits(Instant(109.5), 1e9 + 9.5 + 0.9, 0.0)
