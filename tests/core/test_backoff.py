"""The wait before the next try."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.backoff import Backoff, delay_s

UNITS = st.floats(0, 1, exclude_max=True)
ATTEMPTS = st.integers(1, 10_000)
RULES = st.builds(Backoff, first_s=st.floats(0.001, 10, allow_nan=False), cap_s=st.floats(10, 3600, allow_nan=False))


@given(ATTEMPTS, UNITS, RULES)
def test_a_wait_is_never_negative_and_never_reaches_the_cap(attempt, unit, rules):
    """Any attempt, however late, waits in [0, cap)."""
    assert 0 <= delay_s(attempt, unit, rules) < rules.cap_s


@given(ATTEMPTS, UNITS, RULES)
def test_the_bound_doubles_until_the_cap(attempt, unit, rules):
    """With the same draw, the next wait is twice this one or the cap's."""
    assert delay_s(attempt + 1, unit, rules) == min(2 * delay_s(attempt, unit, rules), unit * rules.cap_s)


def test_the_first_wait_is_drawn_from_the_whole_first_step():
    """Full jitter starts at nothing: callers that failed together spread over the whole step."""
    rules = Backoff(first_s=0.1, cap_s=20.0)
    assert delay_s(1, 0.0, rules) == 0.0
    assert delay_s(1, 0.5, rules) == 0.05
    assert delay_s(3, 0.5, rules) == 0.2


def test_the_thousandth_failure_does_not_overflow():
    """2**999 times anything is still only the cap."""
    assert delay_s(100_000, 0.5, Backoff()) == 10.0
