"""Spans of time as a person says them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.spans import ago


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.26, "0.3 s"),
        (9.0, "9 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7384, "2 h 3 min"),
        (90_000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_a_span_has_at_most_two_units(seconds, text):
    """Short enough for a sentence, exact enough to act on."""
    assert ago(seconds) == text


@given(st.floats(0, 1e9))
def test_no_span_is_without_a_text(seconds):
    """From no time at all to decades."""
    assert ago(seconds).split()[-1] in {"s", "min", "h", "d"}
