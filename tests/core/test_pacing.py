"""When a shard is asked again."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.pacing import Pace, PaceRules
from headrace.model import Instant, Page, Record

RECORDS = [Record(b"", "k", n, 0.0) for n in range(10)]


def page(records: int, behind_s: float) -> Page:
    return Page(RECORDS[:records], "next", behind_s, 0)


@given(st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 10), st.floats(0, 100)), max_size=60))
def test_no_second_holds_more_than_five_calls(answers):
    """Kinesis' own limit, whatever the answers say."""
    pace, now, calls = Pace(PaceRules(poll_interval_s=0.25)), 0.0, []
    for latency, records, behind in answers:
        now = max(now, pace.next_call())
        pace.called(Instant(now))
        calls.append(now)
        now += latency
        pace.answered(page(records, behind), limit=10)

    assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in zip(calls, calls[5:], strict=False))


def test_at_the_tip_the_next_call_waits_for_the_poll_interval():
    """Room is left for other consumers."""
    pace = Pace(PaceRules(poll_interval_s=0.5))
    pace.called(Instant(10.0))
    pace.answered(page(3, 0.0), limit=10)

    assert pace.next_call() == 10.5


def test_while_behind_the_next_call_goes_out_at_once():
    """An empty page far behind the tip is normal, and so is a server that always says 0 but fills its pages."""
    for records, behind in ((0, 60.0), (3, 60.0), (10, 0.0)):
        pace = Pace(PaceRules(poll_interval_s=0.5))
        pace.called(Instant(10.0))
        pace.answered(page(records, behind), limit=10)

        assert pace.next_call() <= 10.0
