"""The protocol with one rule left out: the simulation must notice each of them.

Each mutation patches the shipped code in this process and is named after the rule that it leaves out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from headrace.core import assignment, leases, membership
from headrace.core.tenure import Tenure
from headrace.flow import coordinator, heartbeat, incarnation
from headrace.flow.checkpoint import Checkpoints
from headrace.flow.term import Trust
from headrace.rows import Absent, AtMost, Equals, OneOf
from simulation import fleet as simulated
from simulation import world

Patch = Callable[[], None]


def fence_before_take() -> None:
    """The leases of a silent worker are taken at once."""

    def orphaned(lease: Any, fleet: Any) -> bool:
        if lease.owner is None or lease.owner in fleet.silent:
            return True
        owner = fleet.workers.get(lease.owner)
        return owner is not None and not membership.is_alive(owner)

    assignment._orphaned = orphaned
    assignment._fences = lambda _: []


def fence_at_the_observed_counter() -> None:
    _drop_condition("fence", lambda c: isinstance(c, Equals) and c.attribute == "hb")


def margin_between_trust_and_lease() -> None:
    """The owner trusts for as long as the observer waits, and a little longer."""
    timing = object.__new__(type(simulated.TIMING))
    for name in type(simulated.TIMING).__slots__:
        object.__setattr__(timing, name, getattr(simulated.TIMING, name))
    object.__setattr__(timing, "trust_window_s", simulated.TIMING.duration_s * 1.3 + simulated.TIMING.call_timeout_s)
    simulated.TIMING = timing


def anchor_at_the_start_of_a_heartbeat() -> None:
    """Trust counts from the moment the answer came."""

    class Late(Tenure):
        pass

    def renew(self: Trust, tenure: Tenure) -> None:
        self._tenure = replace(tenure, anchor=self._clock.now())

    Trust.renew = renew


def heartbeats_of_the_fenced_are_refused() -> None:
    _drop_condition("heartbeat", lambda c: isinstance(c, OneOf))


def checkpoints_never_go_back() -> None:
    for name in ("checkpoint", "release", "hand_over"):
        _drop_condition(name, lambda c: isinstance(c, AtMost))


def checkpoints_name_owner_and_epoch() -> None:
    _drop_condition("checkpoint", lambda c: isinstance(c, Equals | AtMost))


def handoff_changes_the_epoch() -> None:
    original = leases.hand_over

    def hand_over(*arguments: Any) -> Any:
        request = original(*arguments)
        return replace(request, assign={**request.assign, "ep": request.assign["ep"] - 1})

    leases.hand_over = hand_over


def trust_ends_before_a_handoff_is_sent() -> None:
    """The owner goes on under the same epoch while the write that passes the lease on is under way."""
    for name in ("release", "hand_over"):
        _forget_to_end_the_term(name)
    from headrace.flow import shard  # noqa: PLC0415 - patched here alone

    async def at_once(self: Any) -> None:
        while not (self._stopping or self._all_delivered()):
            await self.deliver_next()
        if not self._stopping:
            await self._delivery.all_settled()
            self._tracker.end()

    shard.ShardRun._deliver_all = at_once


def adoption_takes_a_new_epoch() -> None:
    original = leases.adopt

    def adopt(stream: str, lease: Any, me: Any) -> Any:
        request = original(stream, lease, me)
        return replace(request, assign={**request.assign, "ep": lease.epoch})

    leases.adopt = adopt


def an_absent_worker_is_tombstoned() -> None:
    """No row counts as a dead worker."""

    def orphaned(lease: Any, fleet: Any) -> bool:
        if lease.owner is None or lease.owner not in fleet.workers:
            return True
        return not membership.is_alive(fleet.workers[lease.owner])

    original = assignment._fences
    assignment._orphaned = orphaned
    assignment._fences = lambda fleet: [a for a in original(fleet) if isinstance(a, assignment.Fence)]


def children_wait_for_their_parents() -> None:
    _drop_condition("claim", lambda c: isinstance(c, Absent) and c.attribute == "pend")
    orphans_of, weights_of = assignment.orphans, assignment._weights

    def opened(fleet: Any) -> Any:
        return replace(fleet, leases={s: replace(x, pending=frozenset()) for s, x in fleet.leases.items()})

    def orphans(fleet: Any) -> Any:
        return orphans_of(opened(fleet))

    assignment.orphans = orphans
    assignment._weights = lambda fleet: weights_of(opened(fleet))
    coordinator.orphans = orphans


def the_clock_counts_suspension() -> None:
    """A stopped machine's clock stands still."""
    world.SUSPENSION_COUNTS = False


def rows_that_name_me_are_adopted() -> None:
    original = assignment._acquisitions
    assignment._acquisitions = lambda fleet: [a for a in original(fleet) if not isinstance(a, assignment.Adopt)]


def identities_are_never_reused() -> None:
    incarnation._token = lambda _: "again"
    original = membership.register
    membership.register = lambda *arguments: replace(original(*arguments), conditions=())


def calls_must_end_within_the_trust() -> None:
    """A call may start in the last moment of the trust."""
    original = Tenure.permits
    Tenure.permits = lambda self, now, wall_s, _: original(self, now, wall_s, 0.0)


def records_are_settled_before_the_checkpoint_passes() -> None:
    """The checkpoint follows what was read."""
    from headrace.core.tracker import Tracker  # noqa: PLC0415 - patched here alone

    original = Tracker.admit

    def admit(self: Any, records: Any) -> Any:
        span = original(self, records)
        self.mark = max(self.mark, type(self.mark).at(records[-1].sequence_number))
        return span

    Tracker.admit = admit


def _forget_to_end_the_term(name: str) -> None:
    original = getattr(Checkpoints, name)

    async def without(self: Checkpoints, *arguments: Any, **options: Any) -> None:
        self._term.end = lambda: None
        await original(self, *arguments, **options)

    setattr(Checkpoints, name, without)


def _drop_condition(name: str, which: Callable[[Any], bool]) -> None:
    where = leases if hasattr(leases, name) else membership
    original = getattr(where, name)

    def without(*arguments: Any, **options: Any) -> Any:
        request = original(*arguments, **options)
        return replace(request, conditions=tuple(c for c in request.conditions if not which(c)))

    setattr(where, name, without)


MUTATIONS: dict[str, Patch] = {
    patch.__name__: patch
    for patch in (
        fence_before_take,
        fence_at_the_observed_counter,
        margin_between_trust_and_lease,
        anchor_at_the_start_of_a_heartbeat,
        heartbeats_of_the_fenced_are_refused,
        checkpoints_never_go_back,
        checkpoints_name_owner_and_epoch,
        handoff_changes_the_epoch,
        trust_ends_before_a_handoff_is_sent,
        adoption_takes_a_new_epoch,
        an_absent_worker_is_tombstoned,
        children_wait_for_their_parents,
        the_clock_counts_suspension,
        rows_that_name_me_are_adopted,
        identities_are_never_reused,
        calls_must_end_within_the_trust,
        records_are_settled_before_the_checkpoint_passes,
    )
}
_ = heartbeat
