"""The protocol with one rule left out: the simulation must notice each of them.

Each mutation patches the shipped code in this process and is named after the rule that it leaves out. Beside it stands a
seed that notices, found by `python -m simulation --find`, and the invariant that is broken then. Where all kinds of weather
together show it too seldom, the kind that does is named as well, and nothing else happens then.
"""

from __future__ import annotations

from simulation import mutations_of_ownership, mutations_of_progress, mutations_of_trust
from simulation.mutation import MUTATIONS

__all__ = ["FOUND_BY_THE_MODEL", "MUTATIONS", "mutations_of_ownership", "mutations_of_progress", "mutations_of_trust"]

FOUND_BY_THE_MODEL = {
    "fence before take": "fence_before_take",
    "fence with the observed counter": "fence_at_the_observed_counter",
    "a margin between the owner's trust and the observer's patience": "margin_between_trust_and_lease",
    "the owner's anchor at the start of the request": "anchor_at_the_start_of_a_heartbeat",
    "no heartbeat of the fenced": "heartbeats_of_the_fenced_are_refused",
    "a checkpoint that is monotone": "checkpoints_never_go_back",
    "a checkpoint that is conditional at all": "checkpoints_name_owner_and_epoch",
    "the observer's anchor at the answer to its read": "an_observer_counts_from_the_answer_it_received",
    "no epoch twice after a handoff without an answer": "an_epoch_ends_with_a_handoff_that_got_no_answer",
    "adoption with a new epoch": "adoption_takes_a_new_epoch",
    "an absent worker is not a dead one": "an_absent_worker_is_tombstoned",
    "children after their parents": "children_wait_for_their_parents",
    "a clock that counts suspension": "the_clock_counts_suspension",
    "a fence before the sink": "writes_need_a_permit",
    "rows that name me are adopted": "rows_that_name_me_are_adopted",
    "no identity twice": "identities_are_never_reused",
}
"""The rules that an executable model of the protocol, before there was code, found to be needed: none may lose its mutation.

The simulated sink takes whatever arrives, as the write modes without a transaction do: the fence is the worker's permit.
"""
