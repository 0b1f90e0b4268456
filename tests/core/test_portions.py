"""What follows one call with a portion of a batch."""

from __future__ import annotations

import pytest
from core.one_batch import rules
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.answers import NotInvoked, PartialFailure, Success, WholeFailure, postponed, rejected
from headrace.core.backoff import Backoff
from headrace.core.portions import (
    NOT_INVOKED_BACKOFF,
    Bisect,
    Bury,
    FailedCall,
    GoOn,
    Portion,
    Retry,
    Settle,
    Split,
    judge,
)

AT_S = 1_700_000_000.0
RAISED = WholeFailure("Boom", "no")
BAD = WholeFailure("BadAnswer", "no list", is_function_error=False)


PORTION, RULES = Portion(10, 16), rules()


def after(answer, portion=PORTION, rules=RULES, unit=0.5):
    return judge(portion, answer, rules, AT_S, unit)


def spans(verdict):
    return [(portion.start, portion.stop) for portion in (verdict.left, verdict.right)]


# --- settle and go on ------------------------------------------------------------------------------------------------


def test_a_success_settles_the_portion():
    """All of it."""
    assert after(Success()) == Settle(Portion(10, 16))


@pytest.mark.parametrize("bisect", Bisect)
def test_a_partial_success_settles_what_is_before_the_named_record_and_goes_on_with_the_rest(bisect):
    """Split at the returned number, whether bisect is on or off; the rest has its whole budget."""
    verdict = after(PartialFailure(2), Portion(10, 16, attempts=3), rules(3, bisect))

    assert isinstance(verdict, GoOn)
    assert (verdict.settled.start, verdict.settled.stop) == (10, 12)
    assert (verdict.rest.start, verdict.rest.stop, verdict.rest.attempts) == (12, 16, 0)


def test_what_goes_on_after_a_partial_success_remembers_why():
    """For the dead letter, should it come to that."""
    verdict = after(PartialFailure(2))

    assert isinstance(verdict, GoOn)
    assert verdict.rest.first == verdict.rest.last == FailedCall(AT_S, 6, PartialFailure(2))


def test_a_named_record_that_the_call_did_not_have_is_an_error():
    """An index that is out of the portion."""
    with pytest.raises(ValueError, match="16"):
        after(PartialFailure(6))


# --- retry -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_the_delay_before_a_retry_grows_with_the_attempts(attempts, unit):
    """Full jitter under the exponential bound, as for a single record."""
    verdict = after(RAISED, Portion(0, 9, attempts - 1), rules(backoff=Backoff(0.5, 8.0)), unit)

    assert isinstance(verdict, Retry)
    assert verdict.portion.attempts == attempts
    assert 0 <= verdict.after_s <= min(8.0, 0.5 * 2 ** (attempts - 1))


def test_the_first_and_the_last_failure_are_kept():
    """The first tells since when, the last tells why."""
    first = FailedCall(1.0, 100, BAD)
    verdict = after(RAISED, Portion(0, 9, 3, first=first, last=first))

    assert isinstance(verdict, Retry)
    assert (verdict.portion.first, verdict.portion.last) == (first, FailedCall(AT_S, 9, RAISED))


@pytest.mark.parametrize("bisect", Bisect)
@given(times=st.integers(0, 40), unit=st.floats(0, 1, exclude_max=True))
def test_a_call_that_was_not_made_is_free_and_splits_nothing(bisect, times, unit):
    """Throttles and service errors never spend a retry; the delay grows by itself."""
    verdict = after(NotInvoked(), Portion(0, 9, attempts=2, put_off=times), rules(2, bisect), unit)

    assert isinstance(verdict, Retry)
    assert (verdict.portion.size, verdict.portion.attempts, verdict.portion.put_off) == (9, 2, times + 1)
    assert 0 <= verdict.after_s <= min(NOT_INVOKED_BACKOFF.cap_s, NOT_INVOKED_BACKOFF.first_s * 2**times)


def test_a_handler_that_could_be_called_again_starts_with_short_delays_next_time():
    """What was put off before does not count any more."""
    verdict = after(RAISED, Portion(0, 9, put_off=12))

    assert isinstance(verdict, Retry)
    assert verdict.portion.put_off == 0


def test_a_handler_that_asks_for_a_delay_gets_it_and_spends_an_attempt():
    """Retry(after) of a batch handler."""
    assert after(postponed("Retry", "later", 7.0)).after_s == 7.0
    assert isinstance(after(postponed("Retry", "later", 7.0), Portion(0, 9, 2), rules(2)), Bury)


# --- split -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 3, -1])
def test_a_failed_call_splits_at_once_and_for_free(retries):
    """Also where there are no retries; both halves have a whole budget and know what happened."""
    verdict = after(RAISED, Portion(10, 16, attempts=1), rules(retries, Bisect.AT_ONCE))

    assert isinstance(verdict, Split)
    assert spans(verdict) == [(10, 13), (13, 16)]
    for half in (verdict.left, verdict.right):
        assert (half.attempts, half.last) == (0, FailedCall(AT_S, 6, RAISED))


def test_or_when_the_retries_are_used_up():
    """The other reading of "split the batch in two and retry"."""
    late = rules(2, Bisect.WHEN_EXHAUSTED)

    assert isinstance(after(RAISED, Portion(10, 16, attempts=1), late), Retry)
    assert isinstance(after(RAISED, Portion(10, 16, attempts=2), late), Split)


def test_of_an_odd_number_the_right_half_has_one_more():
    """AWS does not say which."""
    assert spans(after(RAISED, Portion(0, 5), rules(3, Bisect.AT_ONCE))) == [(0, 2), (2, 5)]


@pytest.mark.parametrize("bisect", Bisect)
def test_a_single_record_is_not_split(bisect):
    """It is retried, then buried."""
    assert isinstance(after(RAISED, Portion(4, 5), rules(1, bisect)), Retry)
    assert isinstance(after(RAISED, Portion(4, 5, attempts=1), rules(1, bisect)), Bury)


def test_an_answer_that_names_the_first_record_splits_it_off():
    """It is the one that the handler says failed: it waits and is buried alone."""
    assert spans(after(PartialFailure(0), rules=rules(3, Bisect.AT_ONCE))) == [(10, 11), (11, 16)]


def test_without_bisect_an_answer_that_names_the_first_record_is_a_failure_of_all():
    """No progress, so it spends an attempt."""
    verdict = after(PartialFailure(0), rules=rules(3))

    assert isinstance(verdict, Retry)
    assert (verdict.portion.size, verdict.portion.attempts) == (6, 1)


def test_an_answer_that_cannot_be_understood_does_not_split_unless_asked_to():
    """It is no function error; AWS does not say whether it bisects."""
    assert isinstance(after(BAD, rules=rules(3, Bisect.AT_ONCE)), Retry)
    assert isinstance(after(BAD, Portion(10, 16, 3), rules(3, Bisect.WHEN_EXHAUSTED)), Bury)
    assert isinstance(after(BAD, rules=rules(3, Bisect.AT_ONCE, splits_bad_answers=True)), Split)


# --- bury ------------------------------------------------------------------------------------------------------------


def test_what_failed_once_more_than_it_may_be_retried_is_buried():
    """1 + N calls, counted with the last."""
    verdict = after(RAISED, Portion(10, 16, attempts=3), rules(3))

    assert isinstance(verdict, Bury)
    assert (verdict.reason, verdict.approximate_invoke_count) == ("RetryAttemptsExhausted", 4)
    assert verdict.portion.last == FailedCall(AT_S, 6, RAISED)


def test_a_rejected_record_is_buried_at_once():
    """Even where retries are unlimited."""
    verdict = after(rejected("Reject", "no such device"), Portion(4, 5))

    assert isinstance(verdict, Bury)
    assert (verdict.reason, verdict.approximate_invoke_count) == ("Rejected", 1)


@pytest.mark.parametrize("bisect", [Bisect.AT_ONCE, Bisect.WHEN_EXHAUSTED])
def test_a_rejected_batch_is_split_until_it_is_known_which_record_is_meant(bisect):
    """A Reject names none."""
    assert isinstance(after(rejected("Reject", ""), rules=rules(3, bisect)), Split)


def test_a_rejected_batch_is_split_also_where_failures_are_not():
    """One record that the handler will never take must not take its neighbours along."""
    assert isinstance(after(rejected("Reject", "")), Split)
    assert isinstance(after(rejected("Reject", ""), Portion(4, 5)), Bury)


def test_a_batch_that_asks_for_time_is_called_again_whole_when_it_said():
    """Nothing is wrong with its records; only when its attempts are used up a split may find one that is."""
    for bisect in Bisect:
        verdict = after(postponed("Retry", "later", 7.0), Portion(0, 9), rules(2, bisect))
        assert isinstance(verdict, Retry)
        assert (verdict.portion.size, verdict.after_s) == (9, 7.0)
    assert isinstance(after(postponed("Retry", "later", 7.0), Portion(0, 9, 2), rules(2, Bisect.AT_ONCE)), Split)


# --- portions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 6, 7, -1])
def test_a_portion_is_never_cut_into_nothing(size):
    """Each part has a record at least."""
    with pytest.raises(ValueError, match="no records"):
        Portion(10, 16).cut(size)
