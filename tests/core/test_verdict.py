"""What follows a failed attempt."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.backoff import Backoff
from headrace.core.verdict import (
    AskedToReject,
    AskedToRetry,
    Bury,
    Raised,
    RetryAfter,
    RetryRules,
    judge,
    too_old,
)
from headrace.model import Record

units = st.floats(0, 1, exclude_max=True)


def calls_until_buried(rules: RetryRules, unit: float) -> int:
    calls = 1
    while isinstance(judge(Raised(), calls, rules, unit), RetryAfter):
        calls += 1
    return calls


@given(st.integers(0, 50), units)
def test_n_retries_are_one_plus_n_calls(retries, unit):
    """The event source mapping's own count (recorded)."""
    assert calls_until_buried(RetryRules(maximum_attempts=retries), unit) == 1 + retries


@given(st.integers(1, 10**6), units)
def test_without_a_limit_a_failure_is_retried_for_ever(attempts, unit):
    """-1 means no limit."""
    assert isinstance(judge(Raised(), attempts, RetryRules(maximum_attempts=-1), unit), RetryAfter)


@given(st.integers(1, 100), units)
def test_the_delay_of_a_retry_stays_within_its_bounds(attempts, unit):
    """Full jitter: between nothing and the capped exponential."""
    rules = RetryRules(maximum_attempts=-1, backoff=Backoff(first_s=0.5, cap_s=8.0))
    verdict = judge(Raised(), attempts, rules, unit)

    assert isinstance(verdict, RetryAfter)
    assert 0 <= verdict.delay_s <= min(8.0, 0.5 * 2 ** (attempts - 1))


def test_what_the_handler_rejects_is_buried_at_once():
    """Even where retries are unlimited."""
    assert judge(AskedToReject(), 1, RetryRules(maximum_attempts=-1), 0.5) == Bury("Rejected")


def test_a_handler_that_asks_for_a_delay_gets_it_but_no_extra_attempts():
    """Retry(after) spends an attempt like any other failure."""
    rules = RetryRules(maximum_attempts=1)

    assert judge(AskedToRetry(7.0), 1, rules, 0.5) == RetryAfter(7.0)
    assert judge(AskedToRetry(7.0), 2, rules, 0.5) == Bury("RetryAttemptsExhausted")


def test_a_record_is_too_old_only_past_the_limit():
    """At the limit itself it is still called; without a limit it never is."""
    record = Record(b"", "k", 1, arrival_s=100.0)

    assert not too_old(record, 160.0, RetryRules(maximum_age_s=60))
    assert too_old(record, 160.001, RetryRules(maximum_age_s=60))
    assert not too_old(record, 1e12, RetryRules())
