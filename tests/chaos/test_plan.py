"""What a seed decides before anything starts."""

from __future__ import annotations

import pytest

from chaos.plan import LASTING, VARIANTS, Kind, plan

SPAN_S = 600.0
LEASE_S = 3.0


def drawn(seed, kinds=frozenset(Kind), span_s=SPAN_S):
    return plan(seed, span_s=span_s, lease_s=LEASE_S, workers=4, kinds=kinds)


def test_a_seed_is_a_plan_and_another_seed_another():
    """So that what went wrong can be seen again."""
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_comes_before_any_comes_twice(seed):
    """Also a short run has met all of them."""
    first = [fault.kind for fault in drawn(seed)[: len(Kind)]]

    assert sorted(first) == sorted(Kind)


@pytest.mark.parametrize("seed", range(20))
def test_faults_are_within_the_span_and_as_long_as_their_kind_says(seed):
    """Pauses are longer than the lease: else nobody would take it."""
    for fault in drawn(seed):
        assert LEASE_S <= fault.at_s <= SPAN_S
        shortest, longest = LASTING.get(fault.kind, (0.0, 0.0))
        assert shortest * LEASE_S <= fault.lasts_s <= longest * LEASE_S
        assert fault.variant in VARIANTS.get(fault.kind, ("",))
        assert 0.0 <= fault.victim < 1.0
    assert LASTING[Kind.PAUSE][0] > 1.0


def test_only_the_wanted_kinds_come():
    """One kind by itself, to look at it."""
    assert {fault.kind for fault in drawn(1, {Kind.KILL})} == {Kind.KILL}


def test_there_is_a_fault_however_short_the_run():
    """A run without one would prove nothing."""
    assert len(drawn(1, span_s=0.1)) == 1
