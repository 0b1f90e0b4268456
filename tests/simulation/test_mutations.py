"""Each rule of the protocol is needed: a simulation that notices nothing proves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from simulation.mutations import FOUND_BY_THE_MODEL, MUTATIONS
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


@pytest.mark.parametrize(("rule", "mutation"), FOUND_BY_THE_MODEL.items())
def test_each_rule_that_the_model_found_to_be_needed_is_left_out_by_a_mutation(rule, mutation):
    """One that nothing notices any more is mended, not dropped."""
    assert mutation in MUTATIONS, f"nothing shows that there has to be {rule}"


@pytest.mark.parametrize("rule", [rule for rule, mutation in MUTATIONS.items() if mutation.weather])
def test_what_is_noticed_in_one_kind_of_weather_is_the_missing_rule_and_not_the_weather(rule):
    """With the rule in its place the same seeds break nothing."""
    weather = [f"--weather={fault.__name__}" for fault in MUTATIONS[rule].weather]
    code, told = play("--runs", 3, "--seed", MUTATIONS[rule].seed, *weather)
    assert told["violations"] == []
    assert code == 0
