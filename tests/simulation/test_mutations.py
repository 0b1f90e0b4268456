"""Each rule of the protocol is needed: a simulation that notices nothing proves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from simulation.mutations import MUTATIONS
from simulation.plays import play

PATIENCE = 1000
"""Seeds within which a rule's absence is noticed, should a change of the code have made another of its known one."""


@pytest.fixture(scope="module")
def noticed() -> dict[str, Any]:
    """Of each rule: which seed notices that it is left out, and the invariant that is broken then."""
    return play("--check-mutations")[1]


@pytest.mark.parametrize("rule", MUTATIONS)
def test_a_protocol_without_one_of_its_rules_is_caught(rule, noticed):
    """By the known seed, or else by one of many; it is always the same invariant."""
    found = noticed[rule] or play("--leave-out", rule, "--runs", PATIENCE, "--first")[1]["violations"]
    assert found, f"nothing is noticed without {rule}: look for a seed with `python -m simulation --find`"
    invariant = found[1] if noticed[rule] else found[0]["invariant"]
    assert invariant == MUTATIONS[rule].breaks
