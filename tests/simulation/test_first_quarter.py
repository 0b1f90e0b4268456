"""Fleets of the shipped workers under seeded faults: no rule is broken."""

from __future__ import annotations

from simulation.plays import check_quarter


def test_no_rule_of_the_protocol_is_broken_in_the_first_quarter_of_the_seeds():
    """S1 to S6, liveness, the order of every key, and no record skipped, whatever the faults."""
    check_quarter(0)
