"""Fleets of the shipped workers under seeded faults: no rule is broken, and each rule is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200"))
"""How many runs; the same ones each time, so that a change is compared with what was there before."""

PATIENCE = 80
"""Seeds within which leaving out a rule has to be noticed; most are within ten."""

RULES = [
    "fence_before_take",
    "margin_between_trust_and_lease",
    "heartbeats_of_the_fenced_are_refused",
    "checkpoints_never_go_back",
    "checkpoints_name_owner_and_epoch",
    "handoff_changes_the_epoch",
    "trust_ends_before_a_handoff_is_sent",
    "children_wait_for_their_parents",
    "the_clock_counts_suspension",
    "rows_that_name_me_are_adopted",
    "identities_are_never_reused",
    "records_are_settled_before_the_checkpoint_passes",
]
"""Those of `mutations.py` that are noticed that soon; the others take hundreds of runs (`python -m simulation --find`)."""


def play(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "simulation", *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_no_rule_of_the_protocol_is_broken_whatever_the_faults():
    """S1-S6, liveness, order of every key, and no record skipped; two processes at once."""
    half = SEEDS // 2
    both = [play("--runs", str(half), "--seed", str(first)) for first in (1, 1 + half)]
    for process in both:
        said, _ = process.communicate()
        print(said)
        assert process.returncode == 0, said


@pytest.mark.parametrize("rule", RULES)
def test_a_protocol_without_one_of_its_rules_is_caught(rule):
    """A simulation that notices nothing proves nothing."""
    said, _ = (process := play("--runs", str(PATIENCE), "--leave-out", rule)).communicate()

    assert process.returncode == 1, said
    assert "Violation" in said
