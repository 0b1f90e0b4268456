"""The life of one batch: each record ends once, in order, whatever the handler does."""

from __future__ import annotations

import pytest
from core.one_batch import ARRIVAL_S, live, naming, numbers, poison, records, rules
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.answers import NotInvoked, PartialFailure, Success, WholeFailure, rejected
from headrace.core.batch_in_progress import BatchInProgress, Call, Done, WaitUntil
from headrace.core.portions import Bisect, Bury, Retry
from headrace.model import Instant, Record

sizes = st.integers(1, 40)
bisects = st.sampled_from(Bisect)
failures = st.sampled_from(
    [
        WholeFailure("Boom"),
        WholeFailure("BadAnswer", is_function_error=False),
        rejected("Reject", ""),
        NotInvoked(),
    ]
)


def scripted(data, limit=60):
    """A handler that does anything at all, for a while; then it succeeds."""
    left = [limit]

    def handle(batch):
        left[0] -= 1
        if left[0] < 0:
            return Success()
        partial = st.integers(0, len(batch) - 1).map(PartialFailure)
        return data.draw(st.just(Success()) | failures | partial)

    return handle


# --- every record ends once, in order --------------------------------------------------------------------------------


@given(st.data(), sizes, bisects, st.integers(-1, 4), st.booleans(), st.sampled_from([-1, 60.0]))
def test_every_record_ends_exactly_once_and_in_order(data, size, bisect, retries, splits_bad_answers, age_s):
    """Whatever the handler answers, however old the records are and however long it takes."""
    ages = data.draw(st.lists(st.floats(0, 90), min_size=size, max_size=size))
    batch = [Record(b"", "k", r.sequence_number, ARRIVAL_S - age) for r, age in zip(records(size), ages, strict=True)]
    rule = rules(retries, bisect, age_s, splits_bad_answers=splits_bad_answers)

    life = live(batch, scripted(data), rule, call_s=data.draw(st.floats(0, 10)))

    assert life.ends == list(range(size))
    assert sorted(life.settled + life.buried) == list(range(size))


@given(st.data(), sizes, bisects)
def test_no_record_is_called_with_once_it_or_a_later_one_has_ended(data, size, bisect):
    """So nothing overtakes anything within the batch, and what is settled is not repeated."""
    ended = 0
    progress = BatchInProgress(records(size), rules(2, bisect))
    handle, now = scripted(data), 0.0
    while not isinstance(step := progress.next_step(Instant(now), now), Done):
        if isinstance(step, WaitUntil):
            now = step.due
        elif isinstance(step, Call):
            assert numbers(step.records) == list(range(step.portion.start, step.portion.stop))
            assert step.portion.start == ended
            progress.answered(handle(step.records), Instant(now), now, 0.5)
            ended = size - progress.open


@given(st.integers(1, 200), st.integers(0, 6), st.sampled_from([Bisect.OFF, Bisect.AT_ONCE, Bisect.WHEN_EXHAUSTED]))
def test_calls_end_where_retries_are_limited(size, retries, bisect):
    """A handler that always fails buries everything after a number of calls that is known beforehand."""
    life = live(records(size), lambda _: WholeFailure("Boom"), rules(retries, bisect))

    nodes = {Bisect.OFF: 0, Bisect.AT_ONCE: size - 1, Bisect.WHEN_EXHAUSTED: (size - 1) * (1 + retries)}[bisect]
    leaves = 1 if bisect is Bisect.OFF else size
    assert life.buried == list(range(size))
    assert len(life.calls) == nodes + leaves * (1 + retries)


def test_a_handler_that_makes_progress_one_record_a_call_ends_too():
    """Progress is free, but there is only so much of it."""
    life = live(records(50), lambda batch: PartialFailure(1) if len(batch) > 1 else Success(), rules(0))

    assert (life.settled, len(life.calls)) == (list(range(50)), 50)


def test_an_empty_batch_is_done():
    """A handler is never called without records."""
    assert BatchInProgress([], rules()).next_step(Instant(0.0), 0.0) == Done()


# --- poison ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "retries", "bisect", "calls"),
    [
        (100, 3, Bisect.AT_ONCE, 18),
        (100, 3, Bisect.WHEN_EXHAUSTED, 39),
        (1_000, 3, Bisect.AT_ONCE, 24),
        (1_000, 3, Bisect.WHEN_EXHAUSTED, 54),
        (10_000, 10, Bisect.AT_ONCE, 39),
        (10_000, 10, Bisect.WHEN_EXHAUSTED, 179),
    ],
)
def test_a_poison_record_is_buried_alone_by_the_number_of_calls_that_arithmetic_gives(size, retries, bisect, calls):
    """At worst one call per halving for either half, and 1 + N for the record; late splitting has 1 + N on each level."""
    rule = rules(retries, bisect)
    places = range(size) if size <= 1_000 else (0, 1, 4_999, 5_000, 7_777, size - 2, size - 1)
    lives = [live(records(size), poison(place), rule) for place in places]

    assert [life.buried for life in lives] == [[place] for place in places]
    assert {len(life.settled) for life in lives} == {size - 1}
    assert max(len(life.calls) for life in lives) == calls


@pytest.mark.parametrize(("size", "retries"), [(100, 3), (1_000, 3), (10_000, 10)])
def test_without_bisect_the_good_records_are_buried_with_it(size, retries):
    """After 1 + N calls."""
    life = live(records(size), poison(0), rules(retries))

    assert (len(life.calls), len(life.buried)) == (1 + retries, size)


@pytest.mark.parametrize("bisect", Bisect)
def test_a_poison_record_at_the_end_that_is_named_costs_one_more_call_than_its_own(bisect):
    """1 + (1 + N), no good record is repeated."""
    life = live(records(10_000), naming(9_999), rules(10, bisect))

    assert (len(life.calls), life.buried) == (1 + 11, [9_999])
    assert life.deliveries(0) == 1


def test_a_poison_record_in_the_middle_that_is_named_is_buried_alone_with_bisect():
    """One call up to it, one that shows that it comes first, its own 1 + N, and one with the rest."""
    life = live(records(10_000), naming(4_000), rules(10, Bisect.AT_ONCE))

    assert (len(life.calls), life.buried, len(life.settled)) == (1 + 1 + 11 + 1, [4_000], 9_999)


def test_without_bisect_what_follows_a_named_record_is_buried_with_it():
    """All that is left of the batch had its 1 + N calls."""
    life = live(records(10), naming(4), rules(3))

    assert (len(life.calls), life.buried) == (1 + 4, [4, 5, 6, 7, 8, 9])


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=8), st.integers(0, 3), st.data())
def test_with_bisect_exactly_the_poison_is_buried(size, bad, retries, data):
    """However many there are, and whether the handler raises or names them."""
    bad = {number for number in bad if number < size}
    bisect = data.draw(st.sampled_from([Bisect.AT_ONCE, Bisect.WHEN_EXHAUSTED]))
    handle = data.draw(st.sampled_from([poison, naming]))(*bad)

    life = live(records(size), handle, rules(retries, bisect))

    assert life.buried == sorted(bad)
    assert {burial.approximate_invoke_count for burial in life.burials} <= {1 + retries}


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_retry_waits_and_what_stands_behind_waits_with_it():
    """The right half is not called before the left one has ended."""
    life = live(records(2), poison(0), rules(2, Bisect.AT_ONCE))

    assert life.calls == [[0, 1], [0], [0], [0], [1]]
    assert len(life.waits_s) == 2


def test_progress_and_splits_wait_for_nothing():
    """Only a retry does."""
    life = live(records(4), naming(3), rules(0, Bisect.AT_ONCE))

    assert (life.calls, life.waits_s) == ([[0, 1, 2, 3], [3]], [])


def test_before_its_time_a_retry_is_not_due():
    """However often one asks."""
    progress = BatchInProgress(records(1), rules())
    progress.next_step(Instant(50.0), ARRIVAL_S)
    verdict = progress.answered(WholeFailure("Boom"), Instant(60.0), ARRIVAL_S, 0.5)

    assert isinstance(verdict, Retry)
    due = Instant(60.0 + verdict.after_s)
    assert progress.next_step(Instant(60.0), ARRIVAL_S) == WaitUntil(due)
    assert isinstance(progress.next_step(due, ARRIVAL_S), Call)


def test_a_record_that_grew_old_while_it_could_not_be_called_is_buried():
    """Throttling is free but not for ever; AWS counts 1 call that was none."""
    life = live(records(1), lambda _: NotInvoked(), rules(0, age_s=60))

    assert [(b.reason, b.approximate_invoke_count) for b in life.burials] == [("RecordAgeExceeded", 1)]


def test_expired_records_at_the_head_are_cut_off_in_one_piece_before_a_retry():
    """The others keep the attempts that they have had."""
    batch = records(3, ARRIVAL_S - 59.999) + records(6)[3:]
    life = live(batch, lambda _: WholeFailure("Boom"), rules(2, age_s=60), unit=0.9)

    assert life.calls == [[0, 1, 2, 3, 4, 5], [3, 4, 5], [3, 4, 5]]
    assert [(b.reason, b.portion.size, b.approximate_invoke_count) for b in life.burials] == [
        ("RecordAgeExceeded", 3, 1),
        ("RetryAttemptsExhausted", 3, 3),
    ]


def test_an_old_record_behind_a_younger_one_is_called_with_it():
    """Arrival times are not monotone; only the head is cut, so that a portion stays in one piece."""
    batch = [*records(1), *records(2, ARRIVAL_S - 61)[1:]]

    assert live(batch, lambda _: Success(), rules(age_s=60)).calls == [[0, 1]]


def test_a_record_of_exactly_the_age_limit_is_still_called():
    """It has to be older."""
    assert live(records(1), lambda _: Success(), rules(age_s=60), now_s=ARRIVAL_S + 60).settled == [0]


# --- use and misuse --------------------------------------------------------------------------------------------------


def test_a_call_tells_which_attempt_it_is():
    """For Record.attempt; what goes on after progress begins anew."""
    progress = BatchInProgress(records(3), rules())
    attempts = []
    for now, answer in enumerate([WholeFailure("Boom"), PartialFailure(1), Success()]):
        step = progress.next_step(Instant(now * 99.0), ARRIVAL_S)
        assert isinstance(step, Call)
        attempts.append(step.attempt)
        progress.answered(answer, Instant(now * 99.0), ARRIVAL_S, 0.5)

    assert attempts == [1, 2, 1]


def test_two_calls_of_a_batch_are_never_under_way_at_once():
    """Asking for the next before the last is answered is a mistake of the caller."""
    progress = BatchInProgress(records(2), rules())
    progress.next_step(Instant(0.0), 0.0)

    with pytest.raises(RuntimeError, match="under way"):
        progress.next_step(Instant(0.0), 0.0)


def test_a_call_is_answered_once():
    """A second answer would be about other records."""
    progress = BatchInProgress(records(2), rules())
    progress.next_step(Instant(0.0), 0.0)
    progress.answered(PartialFailure(1), Instant(0.0), 0.0, 0.5)

    with pytest.raises(RuntimeError, match="no call"):
        progress.answered(Success(), Instant(0.0), 0.0, 0.5)


def test_an_answer_that_is_refused_changes_nothing():
    """The call may still be answered."""
    progress = BatchInProgress(records(2), rules())
    progress.next_step(Instant(0.0), 0.0)
    with pytest.raises(ValueError, match="no records"):
        progress.answered(PartialFailure(2), Instant(0.0), 0.0, 0.5)

    progress.answered(Success(), Instant(0.0), 0.0, 0.5)
    assert progress.next_step(Instant(0.0), 0.0) == Done()


def test_a_burial_by_age_needs_no_answer():
    """It comes instead of a call, and the next step follows."""
    progress = BatchInProgress(records(1, ARRIVAL_S - 61), rules(age_s=60))

    assert isinstance(progress.next_step(Instant(0.0), ARRIVAL_S), Bury)
    assert progress.next_step(Instant(0.0), ARRIVAL_S) == Done()
