"""The story of each lease, as the logs of several workers tell it."""

from __future__ import annotations

from chaos.scene import Told, story


def only(history, shard="a"):
    (tenure,) = history.tenures[shard]
    return tenure


def test_a_lease_is_followed_from_its_opening_to_its_release():
    """Each moment from the line that tells it."""
    tenure = only(story(Told("w1").takes("a", 4, 1.0, read=1.2, transition="claimed").passes_on("a", 4, 9.0)))

    assert (tenure.worker, tenure.epoch, tenure.transition) == ("w1", 4, "claimed")
    assert (tenure.opened, tenure.reading, tenure.ended, tenure.end) == (1.0, 1.2, 9.0, "released")
    assert tenure.was_passed_on


def test_a_lease_is_no_longer_read_from_the_moment_another_worker_asks_for_it():
    """Not only from the moment it is handed over."""
    asked = Told("w1").takes("a", 1, 1.0, read=1.1).says(5.0, "lease_asked_for", shard="a", heir="w2")

    tenure = only(story(asked.passes_on("a", 1, 5.4, "handed_over")))

    assert (tenure.stopping, tenure.ended, tenure.end) == (5.0, 5.4, "handed_over")


def test_a_stop_concerns_every_lease_in_hand_and_none_that_was_asked_for_before():
    """The first reason to stop reading counts."""
    worker = Told("w1").takes("a", 1, 1.0).takes("b", 1, 1.0).says(2.0, "lease_asked_for", shard="b", heir="w2")

    history = story(worker.says(3.0, "worker_stopping"))

    assert only(history, "a").stopping == 3.0
    assert only(history, "b").stopping == 2.0


def test_a_stop_does_not_concern_leases_that_were_passed_on_before():
    """Else they would seem to be unread for less than no time."""
    worker = Told("w1").takes("a", 1, 1.0).passes_on("a", 1, 2.0).says(3.0, "worker_stopping")

    assert only(story(worker)).stopping is None


def test_what_is_said_of_an_earlier_epoch_does_not_touch_the_lease_in_hand():
    """A late line about epoch 1 while the worker holds epoch 3."""
    worker = Told("w1").takes("a", 1, 1.0).passes_on("a", 1, 2.0).takes("a", 3, 5.0)

    first, second = story(worker.passes_on("a", 1, 6.0)).tenures["a"]

    assert (first.ended, first.end) == (2.0, "released")
    assert second.is_open


def test_a_fenced_worker_loses_all_it_held_and_what_it_says_of_it_later_changes_nothing():
    """It has a new identity from then on."""
    worker = Told("w1").takes("a", 1, 1.0).takes("b", 1, 1.0).says(7.0, "worker_fenced")

    history = story(worker.says(7.5, "lease_lost", shard="a", epoch=1).takes("a", 3, 8.0))

    assert [(t.ended, t.end) for t in history.tenures["a"]] == [(7.0, "fenced"), (None, None)]
    assert only(history, "b").end == "fenced"


def test_a_kill_ends_what_was_still_in_hand_and_nothing_else():
    """A lease that was passed on before was not lost by the kill."""
    worker = Told("w1").takes("a", 1, 1.0).takes("b", 1, 1.0).passes_on("b", 1, 2.0)

    history = story(worker, killed={"w1": 3.0})

    assert (only(history, "a").ended, only(history, "a").end) == (3.0, "killed")
    assert (only(history, "b").ended, only(history, "b").end) == (2.0, "released")


def test_a_shard_that_was_read_to_its_end_was_not_passed_on():
    """Its children are other shards."""
    tenure = only(story(Told("w1").takes("a", 1, 1.0).says(4.0, "shard_finished", shard="a", epoch=1)))

    assert tenure.end == "finished"
    assert not tenure.was_passed_on


def test_the_next_reader_is_the_first_that_read_and_not_the_first_that_took():
    """A worker that took the lease and died before its first page does not count."""
    first = Told("w1").takes("a", 1, 1.0, read=1.1).passes_on("a", 1, 2.0)
    history = story(first, Told("w2").takes("a", 2, 2.1), Told("w3").takes("a", 3, 6.0, read=6.5))

    after = history.next_reading(history.tenures["a"][0])

    assert after is not None
    assert (after.worker, after.reading) == ("w3", 6.5)


def test_of_two_later_readers_the_one_that_read_first_counts():
    """Whatever the order of their epochs: the first page is what the shard was waiting for."""
    first = Told("w1").takes("a", 1, 1.0, read=1.1).passes_on("a", 1, 2.0)
    history = story(first, Told("w2").takes("a", 2, 2.1, read=9.0), Told("w3").takes("a", 3, 6.0, read=6.5))

    after = history.next_reading(history.tenures["a"][0])

    assert after is not None
    assert after.worker == "w3"


def test_a_reader_under_an_earlier_epoch_is_no_next_reader():
    """A worker that did not hear that it lost the lease."""
    history = story(Told("w1").takes("a", 1, 1.0, read=9.0), Told("w2").takes("a", 2, 5.0, read=5.1))

    assert history.next_reading(history.tenures["a"][1]) is None


def test_tenures_stand_in_the_order_of_epochs_whoever_logged_first():
    """Logs are read worker by worker."""
    history = story(Told("w1").takes("a", 3, 6.0), Told("w2").takes("a", 2, 4.0), Told("w3").takes("a", 1, 1.0))

    assert [tenure.worker for tenure in history.tenures["a"]] == ["w3", "w2", "w1"]
