"""Which of many lines that say the same are written."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.repetition import PERIOD_S, QUIET_PERIODS, Repetition, Written


def test_the_first_line_is_written_and_the_next_ones_only_once_a_period_with_their_number():
    """A call that fails ten times a second does not fill the log."""
    repetition = Repetition()
    heard = [repetition.hear("refused", second / 10) for second in range(601)]
    assert heard[0] == Written()
    assert {second / 10: written for second, written in enumerate(heard) if second and written} == {
        30.0: Written(299, lasts=True),
        60.0: Written(299, lasts=True),
    }


def test_different_lines_do_not_count_for_each_other():
    """The second thing that goes wrong is news."""
    repetition = Repetition()
    assert repetition.hear("refused", 0.0) == Written()
    assert repetition.hear("throttled", 0.1) == Written()
    assert repetition.hear("refused", 0.2) is None


def test_after_a_silence_a_line_is_a_first_one_again_and_tells_what_was_left_out():
    """What comes back after an hour does not look as if it had lasted all the while."""
    repetition = Repetition()
    repetition.hear("refused", 0.0)
    repetition.hear("refused", 1.0)
    assert repetition.hear("refused", 3600.0) == Written(1)
    assert repetition.hear("refused", 3601.0) is None


def test_tries_that_are_nearly_two_periods_apart_are_of_one_spell():
    """Hopeless calls are tried twice a minute."""
    repetition = Repetition()
    repetition.hear("refused", 0.0)
    assert repetition.hear("refused", QUIET_PERIODS * PERIOD_S - 1) == Written(0, lasts=True)


def test_only_so_much_is_remembered_and_what_was_heard_last_is_kept():
    """Lines with ever new words must not fill the memory."""
    repetition = Repetition(kept=2)
    repetition.hear("often", 0.0)
    for number in range(100):
        repetition.hear(f"once-{number}", 0.1)
        assert repetition.hear("often", 0.2) is None
    assert repetition.hear("once-0", 0.3) == Written()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 40)), max_size=60))
def test_no_line_is_lost_from_the_count(heard):
    """Every line was written, is told as repeated, or will be with the next one of its kind."""
    repetition, now, written, told, silent = Repetition(), 0.0, 0, 0, dict.fromkeys("abc", 0)
    for said, pause_s in heard:
        now += pause_s
        answer = repetition.hear(said, now)
        if answer is None:
            silent[said] += 1
        else:
            assert answer.repeated == silent[said]
            written, told, silent[said] = written + 1, told + answer.repeated, 0
    assert written + told + sum(silent.values()) == len(heard)
