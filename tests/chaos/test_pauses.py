"""Workers that were stopped for longer than their lease and continued, and what they did then."""

from __future__ import annotations

import pytest

from chaos.pauses import pause_of
from chaos.proxy import SinkWrite
from chaos.scene import Told
from chaos.trace import Call

STOPPED, RESUMED = 10.0, 15.0


def judged(told, calls=(), writes=(), until=60.0):
    made = [Call(at, 1, "a", 1, "k") for at in calls]
    sent = [SinkWrite(at, at) for at in writes]
    return pause_of("w1", STOPPED, RESUMED, until=until, log=told.log(), calls=made, writes=sent)


def fenced(opens=16.0):
    """Notices at 15.2 s that it was fenced, registers at 15.6 s and opens a lease at 16 s."""
    told = Told("w1").takes("a", 1, 1.0).says(15.2, "worker_fenced").says(15.6, "worker_registered")
    return told if opens is None else told.takes("a", 3, opens)


def test_a_worker_that_does_nothing_until_it_has_a_lease_again_is_without_fault():
    """What it did before, and under its new identity, is not counted."""
    pause = judged(fenced(), calls=[9.0, 16.1], writes=[9.9, 16.2])

    assert (pause.fenced, pause.seconds, pause.calls, pause.writes) == (True, 5.0, 0, 0)
    assert pause.rejoined_after_s == pytest.approx(0.6)


@pytest.mark.parametrize(("calls", "writes"), [([15.1], []), ([], [15.1]), ([15.8], []), ([], [15.8])])
def test_a_call_or_a_write_before_it_has_a_lease_again_is_seen(calls, writes):
    """At once on going on, or after it registered anew."""
    pause = judged(fenced(), calls=calls, writes=writes)

    assert (pause.calls, pause.writes) == (len(calls), len(writes))


def test_a_worker_that_never_gets_a_lease_again_may_do_nothing_at_all():
    """Until its next fault or its end."""
    pause = judged(fenced(opens=None), writes=[30.0, 61.0], until=60.0)

    assert pause.writes == 1


def test_a_lease_opened_under_the_old_identity_is_no_excuse():
    """It is the registration that begins a new life."""
    told = (
        Told("w1").takes("b", 2, 15.1).says(15.2, "worker_fenced").says(15.6, "worker_registered").takes("a", 3, 17.0)
    )

    assert judged(told, calls=[15.4]).calls == 1


def test_a_worker_that_never_registers_again_is_seen():
    """None instead of a time."""
    pause = judged(Told("w1").says(15.2, "worker_fenced"))

    assert pause.fenced
    assert pause.rejoined_after_s is None


def test_a_worker_that_nobody_fenced_may_go_on():
    """Its row is as it left it: its leases are still its own."""
    pause = judged(Told("w1").takes("a", 1, 1.0), calls=[15.1], writes=[15.1])

    assert (pause.fenced, pause.calls, pause.writes) == (False, 0, 0)


def test_what_happened_before_it_went_on_or_after_its_next_fault_is_not_of_this_pause():
    """A fence at 70 s belongs to another story."""
    told = Told("w1").says(5.0, "worker_fenced").says(70.0, "worker_fenced").says(70.5, "worker_registered")

    pause = judged(told)

    assert not pause.fenced
    assert pause.rejoined_after_s is None
