"""Known takeover times, gaps and moves, and what is measured of them."""

from __future__ import annotations

import math

import pytest

from chaos.faults import Played
from chaos.measures import Sample, gaps, rollouts, spans_of, takeovers, waited
from chaos.plan import Kind
from chaos.scene import Told, story

LEASE_S = 3.0
END = 100.0


def spans(*played):
    return spans_of(played, LEASE_S, END)


def kill(worker, at):
    return Played(Kind.KILL, "", worker, at, at + 1.0)


def killed_owner(reads_again=14.5):
    """w1 is killed at 10 s; w2 takes its shard at 14 s and reads it at 14.5 s."""
    owner, heir = Told("w1").takes("a", 1, 1.0, read=1.1), Told("w2").takes("a", 2, 14.0, read=reads_again)
    return story(owner, heir, killed={"w1": 10.0})


def test_a_takeover_lasts_from_the_kill_to_the_first_page_of_the_next_owner():
    """Not to the moment it took the lease."""
    (sample,) = takeovers(killed_owner(), spans(kill("w1", 10.0)), {"w1": 10.0}, END)

    assert sample.seconds == pytest.approx(4.5)
    assert (sample.shard, sample.worker, sample.how, sample.beside) == ("a", "w1", "killed", ())


def test_a_shard_that_nobody_reads_after_the_kill_waits_for_ever():
    """It is in the figures, as infinity."""
    (sample,) = takeovers(killed_owner(reads_again=None), spans(kill("w1", 10.0)), {"w1": 10.0}, END)

    assert sample.ended is None
    assert math.isinf(waited([sample]).p99)


def test_a_lease_that_another_worker_had_taken_before_the_kill_is_no_takeover():
    """The dead worker had been fenced before and did not know."""
    fenced, heir = Told("w1").takes("a", 1, 1.0, read=1.1), Told("w2").takes("a", 2, 8.0, read=8.1)
    history = story(fenced, heir, killed={"w1": 10.0})

    assert takeovers(history, [], {"w1": 10.0}, END) == []


@pytest.mark.parametrize(
    ("other", "beside"),
    [
        (kill("w2", 12.0), ("kill  w2",)),
        (Played(Kind.CUT, "kinesis", "w2", 11.0, 12.0), ("cut kinesis w2",)),
        (Played(Kind.CUT, "kinesis", "w2", 20.0, 22.0), ()),  # began after the shard was read again
        (Played(Kind.PAUSE, "", "w3", 2.0, 6.0), ("pause  w3",)),  # fenced, and its leases away for a lease longer
        (Played(Kind.PAUSE, "", "w3", 1.0, 4.0), ()),
    ],
)
def test_a_takeover_is_told_apart_only_when_another_fault_or_what_follows_of_it_met_it(other, beside):
    """The kill that is measured is no other fault."""
    (sample,) = takeovers(killed_owner(), spans(kill("w1", 10.0), other), {"w1": 10.0}, END)

    assert sample.beside == beside


def test_a_fault_that_never_ended_is_beside_all_that_follows():
    """Its end is that of the run."""
    endless = Played(Kind.STALL, "kinesis out late", "w2", 1.0, None)

    (sample,) = takeovers(killed_owner(), spans(endless), {"w1": 10.0}, END)

    assert sample.beside == ("stall kinesis out late w2",)


def passed_on(transition="released", stopping=None):
    owner = Told("w1").takes("a", 1, 1.0, read=1.1).passes_on("a", 1, 10.0, transition)
    if stopping is not None:
        owner.says(stopping, "worker_stopping")
    return story(owner, Told("w2").takes("a", 2, 10.1, read=10.3))


@pytest.mark.parametrize("how", ["released", "handed_over"])
def test_a_gap_lasts_from_the_last_write_of_the_old_owner_to_the_first_page_of_the_new_one(how):
    """A release at SIGTERM and a handoff between live workers alike."""
    (sample,) = gaps(passed_on(how), [], END)

    assert sample.seconds == pytest.approx(0.3)
    assert sample.how == how


def test_a_shard_was_unread_since_its_old_owner_was_told_to_stop():
    """Which is before its release: the batch in flight is finished in between."""
    (sample,) = gaps(passed_on(stopping=9.2), [], END, from_stop=True)

    assert sample.seconds == pytest.approx(1.1)


def test_what_is_released_when_the_run_itself_ends_is_no_gap():
    """Nobody is left to read on."""
    assert gaps(passed_on(), [], until=10.0) == []
    assert len(gaps(passed_on(), [], until=10.01)) == 1


def test_a_lease_lost_by_a_fence_is_no_handoff():
    """Fences are measured as takeovers, where the worker was killed."""
    fenced = Told("w1").takes("a", 1, 1.0).says(10.0, "worker_fenced")

    assert gaps(story(fenced, Told("w2").takes("a", 2, 9.0, read=9.1)), [], END) == []


def waits(*seconds):
    return [Sample("a", "w1", 0.0, s, "killed") for s in seconds]


def test_percentiles_are_values_that_were_measured():
    """Nearest rank: of 100 the 99th, of fewer the longest."""
    assert waited(waits(*range(100, 0, -1))).p99 == 99
    assert waited(waits(*range(1, 101))).p50 == 50
    assert waited(waits(1.0, 7.0)).p99 == 7.0
    assert waited([]).count == 0


def rolled():
    """From 10 s to 20 s; shard a moves once, shard b twice, both are read again at once; c moves before."""
    old = Told("w1").takes("a", 1, 1.0, read=1.1).takes("b", 1, 1.0, read=1.1).takes("c", 1, 1.0, read=1.1)
    old.passes_on("c", 1, 5.0).says(11.0, "worker_stopping").passes_on("a", 1, 11.2).passes_on("b", 1, 11.2)
    new = Told("w2").takes("c", 2, 5.1, read=5.2).takes("a", 2, 11.3, read=11.5).takes("b", 2, 11.3, read=11.6)
    new.says(19.0, "lease_asked_for", shard="b", heir="w3").passes_on("b", 2, 19.1, "handed_over")
    return story(old, new, Told("w3").takes("b", 3, 19.2, read=21.4, transition="received"))


def roll(began=10.0, ended=20.0):
    return Played(Kind.ROLLING, "before", None, began, ended)


def test_a_rolling_restart_is_told_by_how_often_each_lease_moved_and_how_long_it_was_unread():
    """What moved before it is not counted."""
    (rollout,) = rollouts(rolled(), [roll()], spans(roll()), settle_s=3.0)

    assert rollout.seconds == 10.0
    assert rollout.moves == {1: 1, 2: 1}
    assert (rollout.unread.count, rollout.unread.longest) == (3, pytest.approx(2.4))


def test_what_moves_while_a_rolling_restart_settles_is_its_own():
    """And what moves later is not."""
    (short,) = rollouts(rolled(), [roll(ended=15.0)], [], settle_s=1.0)
    (long,) = rollouts(rolled(), [roll(ended=15.0)], [], settle_s=5.0)

    assert short.moves == {1: 2}
    assert long.moves == {1: 1, 2: 1}


def test_another_fault_beside_a_rolling_restart_is_told():
    """Its own span is not."""
    own, other = roll(), kill("w9", 12.0)

    (rollout,) = rollouts(rolled(), [own, other], spans(own, other), settle_s=3.0)

    assert rollout.beside == ("kill  w9",)
