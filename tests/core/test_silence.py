"""Who has been silent for too long, on the observer's own clock."""

from headrace.core.membership import FENCED, LIVE
from headrace.core.silence import Watch
from headrace.model import Instant, WorkerId, WorkerRow


def worker(name: str, state: str = LIVE, heartbeat: int = 1) -> WorkerRow:
    return WorkerRow(WorkerId(name), heartbeat, state)


def test_silence_runs_from_the_first_read_that_showed_the_counter():
    """Later reads of the same counter do not renew it, and a stale lower one is ignored."""
    watch = Watch({})
    for received, counter in ((0.0, 5), (1.0, 5), (2.0, 4), (3.0, 5)):
        watch = watch.observe([worker("w", heartbeat=counter)], Instant(received), longest_gap_s=2)

    assert watch.silent([worker("w")], Instant(3.0), 3.1, 2) == {}
    assert watch.silent([worker("w")], Instant(3.1), 3.1, 2) == {"w": 5}
    assert watch.next_silence([worker("w")], 3.1) == 3.1


def test_a_moving_counter_is_never_silent():
    """Each new counter starts anew."""
    watch = Watch({})
    for second in range(20):
        watch = watch.observe([worker("w", heartbeat=second)], Instant(float(second)), longest_gap_s=2)
        assert watch.silent([worker("w")], Instant(float(second)), 1.5, 2) == {}


def test_an_observer_that_could_not_see_starts_all_silence_anew():
    """An outage of the table is not the silence of a worker."""
    watch = Watch({}).observe([worker("w")], Instant(0.0), longest_gap_s=2)

    assert watch.silent([worker("w")], Instant(12.0), 10, 2) == {}
    watch = watch.observe([worker("w")], Instant(12.0), longest_gap_s=2)
    assert watch.silent([worker("w")], Instant(12.0), 10, 2) == {}
    assert watch.next_silence([worker("w")], 10) == 22.0


def test_the_dead_are_not_silent():
    """Only a row that could still heartbeat can be fenced."""
    watch = Watch({}).observe([worker("w", FENCED)], Instant(0.0), longest_gap_s=100)

    assert watch.silent([worker("w", FENCED)], Instant(50.0), 10, 100) == {}


def test_a_counter_has_moved_lately_from_the_read_that_first_showed_it():
    """Whatever came in since without a new one."""
    watch = Watch({}).observe([worker("w", heartbeat=1)], Instant(0.0), longest_gap_s=9)
    watch = watch.observe([worker("w", heartbeat=1)], Instant(5.0), longest_gap_s=9)

    assert watch.has_moved(WorkerId("w"), Instant(4.0), within_s=4.0)
    assert not watch.has_moved(WorkerId("w"), Instant(5.0), within_s=4.0)
    assert not watch.has_moved(WorkerId("x"), Instant(0.0), within_s=4.0)
