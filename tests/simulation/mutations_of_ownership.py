"""Without one of the rules that say who may own a lease, and under which epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headrace.core import assignment, leases, membership
from headrace.errors import Retryable
from headrace.flow import incarnation
from headrace.flow.incarnation import Incarnation
from headrace.flow.leasing.handoff import Handoffs
from headrace.flow.leasing.holdings import Holdings
from headrace.flow.shard.checkpoint import Checkpoints
from headrace.flow.term import Term
from headrace.rows import Equals, OneOf, UpdateRow
from simulation.faults import wish
from simulation.mutation import drop, noticed
from simulation.operators import seek
from simulation.patching import StalePatch, patch

# --- who may own ------------------------------------------------------------------------------------------------------


@noticed(1, "S2")
def fence_before_take() -> None:
    """The leases of a silent worker are taken at once."""

    def _orphaned(lease: Any, fleet: Any) -> bool:
        if lease.owner is None or lease.owner in fleet.silent:
            return True
        owner = fleet.workers.get(lease.owner)
        return owner is not None and not membership.is_alive(owner)

    def _fences(fleet: Any) -> list[Any]:
        return []

    patch(assignment, "_orphaned", _orphaned)
    patch(assignment, "_fences", _fences)


@noticed(40, "S3")
def fence_at_the_observed_counter() -> None:
    """A fence that is late falls on a worker that has beaten since."""
    drop(membership, "fence", lambda c: isinstance(c, Equals) and c.attribute == "hb")


@noticed(1, "S2")
def heartbeats_of_the_fenced_are_refused() -> None:
    """A fenced worker lives on."""
    drop(membership, "heartbeat", lambda c: isinstance(c, OneOf))


@noticed(276, "S2")
def an_absent_worker_is_tombstoned() -> None:
    """No row counts as a dead worker."""

    def _orphaned(lease: Any, fleet: Any) -> bool:
        if lease.owner is None or lease.owner not in fleet.workers:
            return True
        return not membership.is_alive(fleet.workers[lease.owner])

    original = assignment._fences

    def _fences(fleet: Any) -> list[Any]:
        return [a for a in original(fleet) if isinstance(a, assignment.Fence)]

    patch(assignment, "_orphaned", _orphaned)
    patch(assignment, "_fences", _fences)


@noticed(1, "S2")
def identities_are_never_reused() -> None:
    """A worker that was fenced begins again under its old id."""

    def fresh_token(chance: Any) -> str:
        return "again"

    patch(incarnation, "fresh_token", fresh_token)
    drop(membership, "register", lambda _: True)


@noticed(4, "L")
def rows_that_name_me_are_adopted() -> None:
    """Whoever does not hold what a row says he owns leaves it alone."""
    original = assignment._acquisitions

    def _acquisitions(fleet: Any) -> list[Any]:
        return [a for a in original(fleet) if not isinstance(a, assignment.Adopt)]

    patch(assignment, "_acquisitions", _acquisitions)


# --- epochs -----------------------------------------------------------------------------------------------------------


@noticed(3, "S1")
def adoption_takes_a_new_epoch() -> None:
    """What names me is gone on with under the epoch that it has."""
    _keep_epoch("adopt")
    _hold_again()


@noticed(6, "S1")
def handoff_changes_the_epoch() -> None:
    """The heir goes on under the epoch of the one before."""
    _keep_epoch("hand_over")


@noticed(17, "S1")
def an_epoch_ends_with_a_handoff_that_got_no_answer() -> None:
    """A handoff is tried once; without an answer, and while the row still says so, the owner simply goes on."""
    kept: dict[Term, Any] = {}

    async def hand_over(self: Any, heir: Any) -> None:
        progress, shard = await self._final(), self._term.lease.shard_id
        self._term.end()
        request = leases.hand_over(self._stream, shard, self._me, self._term.epoch, progress, heir)
        try:
            self._tell("handed_over", await self._ports.table.apply(request))
        except Retryable:
            kept[self._term] = replace(self._term.lease, checkpoint=progress.reached)

    original = Incarnation._run

    async def _run(self: Any, term: Any, run: Any) -> None:
        await original(self, term, run)
        if term in kept:
            self._holdings.hold(kept.pop(term), "kept")

    patch(Checkpoints, "hand_over", hand_over)
    patch(Incarnation, "_run", _run)
    _hold_again()


@noticed(1, "S3")
def trust_ends_before_a_handoff_is_sent() -> None:
    """The owner goes on under the same epoch while the write that passes the lease on is under way."""
    _forget_to_end_the_term("release")
    _forget_to_end_the_term("hand_over")


@noticed(20, "S3", wish, seek)
def who_waits_for_a_lease_holds_what_was_passed_on_alone() -> None:
    """A wish ends with any row that names the receiver, also one that an operator changed since."""
    original = Handoffs._answered

    def _answered(self: Any, lease: Any, now: Any) -> None:
        original(self, replace(lease, epoch=now.epoch - 1), now)

    patch(Handoffs, "_answered", _answered)


# --- how --------------------------------------------------------------------------------------------------------------


def _keep_epoch(name: str) -> None:
    original = getattr(leases, name)

    def keep(request: UpdateRow, epoch: int) -> UpdateRow:
        if request.assign["ep"] != epoch + 1:
            raise StalePatch(f"{name} does not add one to the epoch")
        return replace(request, assign={**request.assign, "ep": epoch})

    def adopt(stream: Any, lease: Any, me: Any) -> Any:
        return keep(original(stream, lease, me), lease.epoch)

    def hand_over(stream: Any, shard: Any, me: Any, epoch: int, progress: Any, heir: Any) -> Any:
        return keep(original(stream, shard, me, epoch, progress, heir), epoch)

    patch(leases, name, {"adopt": adopt, "hand_over": hand_over}[name])


def _hold_again() -> None:
    """An epoch that was held before may be held again."""
    original = Holdings.hold

    def hold(self: Any, lease: Any, transition: str) -> None:
        self._epochs.pop(lease.shard_id, None)
        original(self, lease, transition)

    patch(Holdings, "hold", hold)


def _forget_to_end_the_term(name: str) -> None:
    release_of, hand_over_of = Checkpoints.release, Checkpoints.hand_over

    async def release(self: Any, releases: Any, *, shun: bool) -> None:
        self._term.end = lambda: None
        await release_of(self, releases, shun=shun)

    async def hand_over(self: Any, heir: Any) -> None:
        self._term.end = lambda: None
        await hand_over_of(self, heir)

    patch(Checkpoints, name, {"release": release, "hand_over": hand_over}[name])
