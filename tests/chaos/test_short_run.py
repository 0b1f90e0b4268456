"""A fleet of real processes that is stopped, killed, paused and cut off within a quarter of a minute."""

from __future__ import annotations

import os

import pytest

from chaos.plan import Fault, Kind
from chaos.run import Order, play
from chaos.stage import Size

pytestmark = [pytest.mark.process, pytest.mark.servers]

SIZE = Size(workers=3, shards=6, rate=60.0, lease_s=3.0, kinesis="ministack", keys=60, poison_rate=0.005)

FAULTS = (
    Fault(0.0, Kind.SCALE, "in", 0.0, victim=0.99),  # SIGTERM to one
    Fault(0.0, Kind.SCALE, "out", 0.0, victim=0.0),  # another instead
    Fault(0.0, Kind.KILL, "", 1.0, victim=0.0),  # and another a second later
    Fault(0.0, Kind.PAUSE, "", 4.7, victim=0.0),  # half as long again as its lease lasts
    Fault(0.0, Kind.CUT, "dynamodb", 3.6, victim=0.99),  # longer than it may trust its lease
)

LOAD_S = 2.0
"""Other tests keep the processors busy meanwhile, and whatever waits for one takes longer: a look at the lease table, the
first call of a stream, the start of a process. So much for each process that waits beside one that runs (load average);
what may never happen has no allowance."""


async def test_a_fleet_under_faults_loses_nothing_and_takes_over_in_time(tmp_path):
    """Nothing missing or misordered, every shard read again within what is promised, no act after a worker's window."""
    order = Order(SIZE, seed=5, minutes=0.0, kinds=frozenset(Kind), faults=FAULTS, calm_leases=1)

    found, _ = await play(order, quiet=True, folder=tmp_path)

    load_s = LOAD_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert found.broken(load_s) == []
    assert [fault.kind for fault in found.evidence.played] == [fault.kind for fault in FAULTS]
    assert found.evidence.verification["produced"] > 500
    assert found.takeovers, "the killed worker held shards"
    assert [gap for gap in found.gaps if gap.how == "released"], "the stopped worker held shards"
    (pause,) = found.pauses
    assert pause.fenced
    assert (pause.calls, pause.writes) == (0, 0)
