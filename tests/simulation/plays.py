"""How the tests play seeds: in processes of their own, whose hashes are not randomised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "500"))
"""How many runs of all; the same ones each time, so that a change is compared with what was there before."""

QUARTER = SEEDS // 4
"""A file of tests has one: both processes of a test run get their share."""


FOLLOWS = (
    "fences",
    "takes",
    "claims",
    "handoffs",
    "adoptions",
    "refused heartbeats of the fenced",
    "records buried",
    "subscriptions",
)
"""What a quarter without would say little about."""


def play(*arguments: object) -> tuple[int, Any]:
    """`python -m simulation` with these arguments: the exit code and what it tells as JSON."""
    process = subprocess.run(
        [sys.executable, "-m", "simulation", "--json", "--jobs", "1", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    return process.returncode, json.loads(process.stdout)


def check_quarter(number: int) -> None:
    """No invariant is broken in the seeds of one quarter (0 to 3), and it had every kind of fault and what follows."""
    code, told = play("--runs", QUARTER, "--seed", 1 + number * QUARTER)
    assert told["violations"] == []
    assert code == 0
    assert min(told["faults"].values()) >= QUARTER // 10
    assert all(told["events"][name] for name in FOLLOWS)
