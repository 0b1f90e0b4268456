"""Operators who seek, skip, pause, drain and give leases away loosen none of the invariants."""

from __future__ import annotations

from simulation.operators import OPERATIONS
from simulation.plays import QUARTER, play

RUNS = max(1, QUARTER // 2)


def test_no_invariant_is_broken_by_operators_who_act_while_everything_else_goes_wrong():
    """Every act comes up; the fleet comes to rest with every record settled and every key in order."""
    code, told = play("--runs", RUNS, "--seed", 50_001, "--operators")

    assert told["violations"] == []
    assert code == 0
    names = {operation.__name__.replace("_", " ") for operation in OPERATIONS}
    assert all(count for name, count in told["faults"].items() if name in names or name.replace("_", " ") in names)
    assert names <= {name.replace("_", " ") for name in told["faults"]}
