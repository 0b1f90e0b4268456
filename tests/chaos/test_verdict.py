"""Runs in which one thing is wrong, and the line of the verdict that says so."""

from __future__ import annotations

import pytest

from chaos.plan import Kind
from chaos.proxy import SinkWrite
from chaos.scene import VERIFIED, Scene


@pytest.fixture
def scene(tmp_path):
    """w1 reads shard a and w2 shard b, one call each: nothing is wrong."""
    made = Scene(tmp_path)
    for name, shard in (("w1", "a"), ("w2", "b")):
        made.worker(name).says(0.5, "worker_registered").takes(shard, 1, 1.0, read=1.1)
        made.calls(name, 2.0, shard, 1, key=shard)
    return made


def crash(scene, read):
    """w1 is killed at 10 s, w2 reads its shard from `read` on."""
    scene.kills("w1", 10.0)
    scene.worker("w2").takes("a", 2, 13.2, read=read)


def release(scene, read, at=10.0):
    """w1 releases its shard, w2 reads it from `read` on."""
    scene.worker("w1").passes_on("a", 1, at)
    scene.worker("w2").takes("a", 2, at + 0.1, read=read)


def test_a_run_in_which_all_is_well_has_no_line(scene):
    """With a takeover and a release within what is promised."""
    crash(scene, read=14.3)
    scene.worker("w2").passes_on("b", 1, 30.0)
    scene.worker("w3").takes("b", 2, 30.1, read=30.9)

    found = scene.judged()

    assert found.broken() == []
    assert (len(found.takeovers), len(found.gaps)) == (1, 1)


@pytest.mark.parametrize("wrong", [{"missing": 3}, {"misordered": 2}, {"damaged": 1}])
def test_what_verify_misses_is_told_with_its_numbers(scene, wrong):
    """The producer's ledger against the table."""
    ((name, number),) = wrong.items()

    (told,) = scene.judged(verification={**VERIFIED, "ok": False, "exit_code": 1, **wrong}).broken()

    assert told.startswith("verify: ")
    assert f"{name} {number}" in told


def test_a_verify_that_said_nothing_is_no_success(scene):
    """It failed before it could compare anything."""
    (told,) = scene.judged(verification={"said": "Traceback", "exit_code": 2}).broken()

    assert "exit_code 2" in told


def test_records_that_never_came_through_are_told(scene):
    """The wait for them ended without them."""
    assert scene.judged(undrained="7 records that no handler has seen").broken() == [
        "not drained: 7 records that no handler has seen"
    ]


@pytest.mark.parametrize("summary", [{}, {"exit_code": 1}])
def test_a_producer_that_failed_is_told(scene, summary):
    """Nothing was proved by what it left out."""
    (told,) = scene.judged(producer=summary).broken()

    assert told.startswith("the producer failed")


def test_keys_out_of_order_are_told_by_name(scene):
    """The second record before the first."""
    scene.calls("w2", 3.0, "b", 9, key="late")
    scene.calls("w2", 4.0, "b", 5, key="late")

    assert scene.judged().broken() == ["1 keys were handled out of order: late"]


def test_a_takeover_that_took_too_long_is_told_with_what_is_promised(scene):
    """3 s x 1.01 + 0.3 s + 1 s: the hundredth part of a second matters."""
    crash(scene, read=14.35)

    assert scene.judged().broken() == ["takeovers after a kill: p99 4.35 s of 1, promised 4.33 s"]


def test_a_takeover_that_met_another_fault_is_not_held_against_the_promise(scene):
    """The worker that would have taken it was cut off."""
    crash(scene, read=19.0)
    scene.plays(Kind.CUT, 12.0, 15.0, "w2", "dynamodb")

    found = scene.judged()

    assert found.broken() == []
    assert found.takeovers[0].beside == ("cut dynamodb w2",)


def test_a_shard_that_is_never_read_again_is_told_even_beside_another_fault(scene):
    """No fault lasts for ever."""
    scene.kills("w1", 10.0)
    scene.plays(Kind.CUT, 12.0, 15.0, "w2", "dynamodb")

    assert scene.judged().broken() == ["a was never read again after w1 (killed)"]


def test_a_shard_that_has_ended_need_not_be_read_again(scene):
    """The next owner finished it without a page: its last checkpoint was its end."""
    scene.kills("w1", 10.0)
    scene.plays(Kind.CUT, 12.0, 15.0, "w2", "dynamodb")
    scene.worker("w2").takes("a", 2, 13.2).says(13.4, "shard_finished", shard="a", epoch=2)

    assert scene.judged().broken() == []


def test_a_gap_that_is_too_long_is_told(scene):
    """From the release to the first page."""
    release(scene, read=11.2)

    assert scene.judged().broken() == ["gaps at handoffs and SIGTERM: p99 1.20 s of 1, promised 1.00 s"]


def test_two_readers_of_one_shard_are_told_with_worker_shard_and_epochs(scene):
    """w1 goes on after w2 has begun."""
    release(scene, read=10.3)
    scene.calls("w2", 10.4, "a", 2, key="x")
    scene.calls("w1", 10.5, "a", 2, key="x")

    assert scene.judged().broken() == [
        "1 calls under an epoch that was over, first by w1 for a at 10.500 under epoch 1 after 2"
    ]


def rolled(scene, times, unread_s=0.5):
    """A rolling restart from 10 s to 20 s that moves shard a so often, each time unread for so long."""
    scene.plays(Kind.ROLLING, 10.0, 20.0, variant="after")
    for number in range(times):
        at = 11.0 + 2.5 * number
        scene.worker(f"w{number % 2 + 1}").says(at, "lease_asked_for", shard="a", heir="?")
        scene.worker(f"w{number % 2 + 1}").passes_on("a", number + 1, at + unread_s / 2, "handed_over")
        scene.worker(f"w{(number + 1) % 2 + 1}").takes("a", number + 2, at + unread_s / 2, read=at + unread_s)


def test_a_rolling_restart_may_move_a_lease_twice(scene):
    """And leave it unread for a moment."""
    rolled(scene, times=2)

    assert scene.judged().broken() == []


def test_a_rolling_restart_that_moves_a_lease_three_times_is_told(scene):
    """The order in which workers are replaced is told as well."""
    rolled(scene, times=3)

    assert scene.judged().broken() == ["a rolling restart (after) moved a lease 3 times"]


def test_a_rolling_restart_that_leaves_a_shard_unread_is_told(scene):
    """Counted from the moment at which its owner stopped reading; the handoff itself was within its own promise."""
    scene.plays(Kind.ROLLING, 10.0, 20.0, variant="before")
    scene.worker("w1").says(11.0, "worker_stopping")
    release(scene, at=12.7, read=13.1)

    assert scene.judged().broken() == ["a rolling restart (before) left a shard unread for 2.10 s"]


def test_a_rolling_restart_beside_a_kill_is_not_judged(scene):
    """It is in the table, with the kill."""
    rolled(scene, times=3)
    scene.kills("w9", 12.0)

    found = scene.judged()

    assert found.broken() == []
    assert found.rollouts[0].beside == ("kill  w9",)


def pause(scene, registered=15.4):
    """w1 is stopped from 10 s to 15 s; w2 has its shard since 13.2 s."""
    scene.plays(Kind.PAUSE, 10.0, 15.0, "w1")
    scene.worker("w2").takes("a", 2, 13.2, read=13.3)
    scene.worker("w1").says(15.1, "worker_fenced").says(registered, "worker_registered")


def test_a_stopped_worker_that_registers_again_and_does_nothing_before_is_without_fault(scene):
    """The pause is in the findings all the same."""
    pause(scene)

    found = scene.judged()

    assert found.broken() == []
    assert [p.worker for p in found.pauses] == ["w1"]


def test_a_stopped_worker_that_writes_on_is_told(scene):
    """Whether the table took it or not."""
    pause(scene)
    scene.sink_writes["w1"] = [SinkWrite(15.05, 15.06)]

    assert scene.judged().broken() == [
        "w1, stopped for 5.0 s, went on with 0 calls and 1 requests to the serving table"
    ]


def test_a_stopped_worker_that_comes_back_too_late_is_told(scene):
    """More than 5 s after SIGCONT."""
    pause(scene, registered=20.1)

    assert scene.judged().broken() == ["w1, stopped for 5.0 s, did not register again within 5 s"]


def test_a_pause_is_not_judged_when_the_next_fault_of_the_worker_comes_too_soon(scene):
    """It had no time to register again; a kill, its end or the end of the run likewise."""
    pause(scene, registered=99.0)
    scene.plays(Kind.CUT, 16.0, 18.0, "w1", "both")

    assert scene.judged().pauses == []


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"exit_code": 3}, "w1 (pid 1001) exited with 3 after SIGTERM"),
        ({"exit_code": 1, "terminated": None}, "w1 (pid 1001) ended by itself with exit code 1"),
    ],
)
def test_a_worker_that_did_not_end_as_it_should_is_told(scene, how, told):
    """Exit code 0, and only when it was asked."""
    scene.ends("w1", **how)

    assert scene.judged().broken() == [told]


def test_what_is_no_log_line_is_told(scene, tmp_path):
    """A traceback that nobody caught."""
    workers = scene.processes()
    with (tmp_path / "w1.log").open("a") as log:
        log.write("Task exception was never retrieved\n")

    assert scene.judged(workers=workers).broken() == [
        "w1 wrote what is no log line: Task exception was never retrieved"
    ]


def test_events_are_counted_over_all_workers(scene):
    """Only those that tell of coordination."""
    scene.worker("w2").says(9.0, "page_fetched")

    assert scene.judged().events == {"lease_opened": 2, "worker_registered": 2}
