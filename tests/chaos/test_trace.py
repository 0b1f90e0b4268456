"""What the trace of handler calls gives away: two readers of one shard, keys that left their order."""

from __future__ import annotations

import json

import pytest

from chaos.scene import Told, story
from chaos.trace import Call, calls_of, disordered_keys, trespasses

PIDS = {1: "w1", 2: "w2"}


def call(at, pid, number=1, key="k", shard="a"):
    return Call(at, pid, shard, number, key)


def fleet():
    """w1 reads shard a from 1 s on, w2 takes it at 5 s."""
    return story(Told("w1").takes("a", 1, 1.0), Told("w2").takes("a", 2, 5.0))


def test_a_call_after_the_next_owners_first_one_is_a_trespass():
    """Told with both epochs, so that it can be found in the logs."""
    late = call(5.2, 1)

    (found,) = trespasses([call(2.0, 1), call(5.1, 2), late], fleet(), PIDS)

    assert found == (late, "w1", 1, 2)


def test_a_call_between_the_take_and_the_next_owners_first_call_is_none():
    """Lease and call are two moments: nobody has acted under the new epoch yet."""
    assert trespasses([call(2.0, 1), call(5.05, 1), call(5.1, 2)], fleet(), PIDS) == []


def test_a_call_for_a_shard_that_the_worker_never_held_is_a_trespass():
    """There is no epoch it could be under."""
    ((_, worker, epoch, newest),) = trespasses([call(1.5, 2)], fleet(), PIDS)

    assert (worker, epoch, newest) == ("w2", None, 0)


def test_a_worker_may_act_again_once_it_holds_the_lease_under_a_later_epoch():
    """The lease came back to it."""
    history = story(Told("w1").takes("a", 1, 1.0).takes("a", 3, 9.0), Told("w2").takes("a", 2, 5.0))

    assert trespasses([call(2.0, 1), call(6.0, 2), call(9.5, 1)], history, PIDS) == []
    assert len(trespasses([call(6.0, 2), call(8.5, 1), call(9.5, 1)], history, PIDS)) == 1


def test_shards_are_judged_by_themselves():
    """An old owner of one shard may be the owner of another."""
    history = story(Told("w1").takes("a", 1, 1.0).takes("b", 1, 1.0), Told("w2").takes("a", 2, 5.0))

    assert trespasses([call(6.0, 2), call(7.0, 1, shard="b")], history, PIDS) == []


@pytest.mark.parametrize(
    ("numbers", "in_order"),
    [
        ([1, 2, 3], True),
        ([1, 2, 2, 3], True),  # tried again
        ([1, 2, 3, 2, 3, 4], True),  # back to the checkpoint, and on from there
        ([1, 3, 2], False),  # overtaken
        ([2, 1, 3], False),  # began with the second
        ([1, 2, 1, 3], False),  # went back to 1 and left 2 out
    ],
)
def test_a_key_may_go_back_but_never_skip(numbers, in_order):
    """A takeover repeats records; it repeats them in their order."""
    calls = [call(float(at), 1, number) for at, number in enumerate(numbers)]

    assert disordered_keys(calls) == ([] if in_order else ["k"])


def test_keys_are_judged_by_themselves_and_across_shards_and_workers():
    """A key moves to a child shard and to another worker; its order does not end there."""
    fine = [call(1.0, 1, 5, "fine"), call(3.0, 2, 9, "fine", shard="a1")]
    bad = [call(1.0, 1, 8, "bad"), call(2.0, 2, 4, "bad", shard="a1")]

    assert disordered_keys(sorted(fine + bad)) == ["bad"]


def test_calls_are_read_in_the_order_of_their_times():
    """Several processes append to one file, each a little late."""
    lines = [json.dumps([at, 7, "a", str(number), "k"]).encode() for at, number in ((2.0, 11), (1.0, 10))]

    assert calls_of(lines) == [Call(1.0, 7, "a", 10, "k"), Call(2.0, 7, "a", 11, "k")]
