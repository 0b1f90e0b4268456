"""Partition keys that wait for a retry."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.parking import Parking
from headrace.model import Instant


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 1)), max_size=40),
    st.lists(st.booleans(), max_size=40),
)
def test_the_records_of_a_key_leave_in_the_order_they_came(arrivals, fails_again):
    """Whatever fails again, and whatever the other keys do."""
    parking: Parking[int] = Parking()
    out: dict[str, list[int]] = {}
    expected: dict[str, list[int]] = {}
    for number, (key, fails, due) in enumerate(arrivals):
        if key in parking:
            parking.follow(key, number)
        elif fails:
            parking.park(key, number, Instant(due))
        else:
            out.setdefault(key, []).append(number)
        expected.setdefault(key, []).append(number)
    now = Instant(1.0)
    while (key := parking.take_due(now)) is not None:
        while key in parking:
            if fails_again and fails_again.pop():
                now = Instant(now + 1)
                parking.postpone(key, parking.head(key), now)
                break
            out.setdefault(key, []).append(parking.head(key))
            parking.advance(key)

    assert out == expected
    assert (len(parking), parking.waiting, parking.next_due()) == (0, 0, None)


def test_a_key_is_due_at_its_heads_time_and_not_before():
    """The earliest comes first."""
    parking: Parking[str] = Parking()
    parking.park("late", "x", Instant(5.0))
    parking.park("soon", "y", Instant(2.0))

    assert parking.next_due() == 2.0
    assert parking.take_due(Instant(1.9)) is None
    assert parking.take_due(Instant(2.0)) == "soon"
    assert parking.take_due(Instant(4.9)) is None
