"""The protocol with one rule left out: the simulation must notice each of them.

Each mutation patches the shipped code in this process and is named after the rule that it leaves out. Beside it stands a
seed that notices, found by `python -m simulation --find`, and the invariant that is broken then. Where all kinds of weather
together show it too seldom, the kind that does is named as well, and nothing else happens then.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from headrace.core import assignment, leases, membership, tenure
from headrace.core.backoff import delay_s
from headrace.core.tenure import Tenure
from headrace.core.tracker import Tracker
from headrace.errors import Retryable
from headrace.flow import incarnation
from headrace.flow.incarnation import Incarnation
from headrace.flow.leasing import coordinator, discovery, heartbeat
from headrace.flow.leasing.coordinator import Coordinator
from headrace.flow.leasing.discovery import Discovery
from headrace.flow.leasing.heartbeat import Heart
from headrace.flow.leasing.holdings import Holdings
from headrace.flow.shard.checkpoint import Checkpoints
from headrace.flow.term import Term, Trust
from headrace.model import Instant
from headrace.rows import Absent, AtMost, Condition, Equals, OneOf, UpdateRow
from headrace.tasks import TaskGroup
from simulation.faults import Fault, silence_in_slowness
from simulation.fleet import limit_faults
from simulation.patching import StalePatch, patch
from simulation.process import ProcessClock


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule to do without; `seed` notices, and `breaks` says which invariant. `weather`: the only faults, if not any."""

    patches: Callable[[], None]
    seed: int
    breaks: str
    weather: tuple[Fault, ...] = ()

    @property
    def rule(self) -> str:
        return self.patches.__name__

    def apply(self) -> None:
        """In this process, from here on."""
        self.patches()
        if self.weather:
            limit_faults(self.weather)


MUTATIONS: dict[str, Mutation] = {}


def noticed(seed: int, breaks: str, *weather: Fault) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Names a seed that notices, and the invariant that it finds broken; in this weather, if any is named."""

    def register(patches: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[patches.__name__] = Mutation(patches, seed, breaks, weather)
        return patches

    return register


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
    _drop(membership, "fence", lambda c: isinstance(c, Equals) and c.attribute == "hb")


@noticed(1, "S2")
def heartbeats_of_the_fenced_are_refused() -> None:
    """A fenced worker lives on."""
    _drop(membership, "heartbeat", lambda c: isinstance(c, OneOf))


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
    _drop(membership, "register", lambda _: True)


@noticed(4, "L")
def rows_that_name_me_are_adopted() -> None:
    """Whoever does not hold what a row says he owns leaves it alone."""
    original = assignment._acquisitions

    def _acquisitions(fleet: Any) -> list[Any]:
        return [a for a in original(fleet) if not isinstance(a, assignment.Adopt)]

    patch(assignment, "_acquisitions", _acquisitions)


# --- epochs -----------------------------------------------------------------------------------------------------------


@noticed(2, "S1")
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


# --- trust ------------------------------------------------------------------------------------------------------------


@noticed(321, "S3")
def margin_between_trust_and_lease() -> None:
    """The owner trusts for as long as the observer waits, whatever their clocks."""

    def longest_trust_window(duration_s: float) -> float:
        return duration_s

    patch(tenure, "longest_trust_window", longest_trust_window)


@noticed(123, "S3")
def anchor_at_the_start_of_a_heartbeat() -> None:
    """Trust counts from the moment the answer came."""

    def renew(self: Any, tenure: Any) -> None:
        self._tenure = replace(tenure, anchor=self._clock.now(), anchor_wall_s=self._clock.wall().timestamp())

    patch(Trust, "renew", renew)


@noticed(67, "S3")
def anchor_at_the_first_try_of_a_heartbeat() -> None:
    """Trust counts from the try that was answered, though an earlier one may be the one that applied."""

    async def _send(self: Any, request: Any, counter: int) -> None:
        attempt, clock = 0, self._ports.clock
        started, wall_s = clock.now(), clock.wall().timestamp()
        while not await self._acknowledged(request, counter):
            attempt += 1
            await asyncio.sleep(delay_s(attempt, self._ports.chance(), heartbeat.AT_ONCE))
            started, wall_s = clock.now(), clock.wall().timestamp()
        self._counter = counter
        self._trust.renew(Tenure(counter, started, wall_s, self._timing.trust_window_s))

    patch(Heart, "_send", _send)


@noticed(5, "S3", silence_in_slowness)
def an_observer_counts_from_the_answer_it_received() -> None:
    """It counts from the moment at which it asked: the heartbeat that it saw may have begun after that."""
    original = Coordinator._read_workers

    async def _read_workers(self: Any) -> None:
        before, asked = self._view.watch, self._ports.clock.now()
        await original(self)
        self._view.watch = before.observe(self._view.workers.values(), asked, self._longest_gap_s)

    patch(Coordinator, "_read_workers", _read_workers)


@noticed(24, "S3")
def calls_must_end_within_the_trust() -> None:
    """A call may start in the last moment of the trust."""
    original = Tenure.permits

    def permits(self: Any, now: Instant, wall_s: float, call_timeout_s: float) -> bool:
        return original(self, now, wall_s, 0.0)

    patch(Tenure, "permits", permits)


@noticed(1, "S3")
def writes_need_a_permit() -> None:
    """Whoever holds a lease writes to the sink."""

    def permits(self: Any) -> bool:
        return True

    patch(Term, "permits", permits)


@noticed(4, "S3")
def the_clock_counts_suspension() -> None:
    """A stopped machine's clock stands still, and nobody compares it with the time of day."""

    def counts_suspension(self: Any) -> bool:
        return False

    patch(ProcessClock, "counts_suspension", counts_suspension)
    clocks_must_agree()


@noticed(17, "S3")
def clocks_must_agree() -> None:
    """Nobody compares the clock with the time of day."""

    def permits(self: Any, now: Instant, wall_s: float, call_timeout_s: float) -> bool:
        return now + call_timeout_s <= self.trusted_until

    patch(Tenure, "permits", permits)


@noticed(31, "S3")
def short_stops_of_the_clock_count() -> None:
    """What is too short to tell from a slewed clock is added to the trust."""

    def permits(self: Any, now: Instant, wall_s: float, call_timeout_s: float) -> bool:
        drift_s = (wall_s - self.anchor_wall_s) - (now - self.anchor)
        return abs(drift_s) <= tenure.CLOCKS_AGREE_S and now + call_timeout_s <= self.trusted_until

    patch(Tenure, "permits", permits)


@noticed(6, "hang")
def whoever_hangs_loses_its_leases() -> None:
    """The heart beats on while the main loop stands still."""

    def _withheld(self: Any) -> bool:
        return False

    patch(Heart, "_withheld", _withheld)


@noticed(4, "S3")
def a_lease_is_kept_until_its_calls_have_ended() -> None:
    """What was lost, or took too long to finish, goes on to the next while a call may be under way."""

    async def calls_ended(self: Any) -> None:
        pass

    patch(Trust, "calls_ended", calls_ended)


# --- progress ---------------------------------------------------------------------------------------------------------


@noticed(63, "S4")
def checkpoints_never_go_back() -> None:
    """A late checkpoint takes an earlier place."""
    for name in ("checkpoint", "release", "hand_over"):
        _drop(leases, name, lambda c: isinstance(c, AtMost))


@noticed(6, "S4")
def checkpoints_name_owner_and_epoch() -> None:
    """Whoever once owned a shard may move its checkpoint."""
    _drop(leases, "checkpoint", lambda c: isinstance(c, Equals | AtMost))


@noticed(1, "S6")
def records_are_settled_before_the_checkpoint_passes() -> None:
    """The checkpoint follows what was read."""
    original = Tracker.admit

    def admit(self: Any, records: Any) -> Any:
        span = original(self, records)
        self.mark = max(self.mark, type(self.mark).at(records[-1].sequence_number))
        return span

    patch(Tracker, "admit", admit)


@noticed(8, "S5")
def children_wait_for_their_parents() -> None:
    """A shard is read as soon as it is there."""
    _drop(leases, "claim", lambda c: isinstance(c, Absent) and c.attribute == "pend")
    orphans_of, weights_of = assignment.orphans, assignment._weights

    def opened(fleet: Any) -> Any:
        return replace(fleet, leases={s: replace(x, pending=frozenset()) for s, x in fleet.leases.items()})

    def orphans(fleet: Any) -> Any:
        return orphans_of(opened(fleet))

    def _weights(fleet: Any) -> Any:
        return weights_of(opened(fleet))

    patch(assignment, "orphans", orphans)
    patch(assignment, "_weights", _weights)
    patch(coordinator, "orphans", orphans)


@noticed(121, "S5")
def parents_have_rows_before_their_children() -> None:
    """All missing rows are made at once."""

    def generations(ordered: Any) -> list[list[Any]]:
        return [list(ordered)]

    patch(discovery, "generations", generations)


@noticed(2072, "S5")
def a_parent_is_asked_for_before_it_counts_as_finished() -> None:
    """A read of all rows that is no snapshot decides."""

    def doubtful(shards: Any, leases: Any) -> frozenset[Any]:
        return frozenset()

    patch(discovery, "doubtful", doubtful)


@noticed(3457, "L")
def lease_rows_are_read_consistently_where_news_are_followed() -> None:
    """A replica that is behind answers, and nobody asks again for a minute."""
    original = Discovery.read_leases

    async def read_leases(self: Any, *, consistent: bool = False) -> Any:  # noqa: ARG001 - as it is called
        return await original(self)

    patch(Discovery, "read_leases", read_leases)


@noticed(9, "L")
def a_cancelled_group_stays_cancelled() -> None:
    """A group whose children fail while its task is cancelled raises what they raised, and no more."""

    async def __aexit__(self: Any, kind: Any, error: Any, trace: Any) -> None:  # noqa: N807 - in its place
        await asyncio.TaskGroup.__aexit__(self, kind, error, trace)

    patch(TaskGroup, "__aexit__", __aexit__)


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


def _drop(owner: Any, name: str, which: Callable[[Condition], bool]) -> None:
    """A request without some of its conditions; it must have had them."""
    original = getattr(owner, name)

    def without(*arguments: Any, **options: Any) -> Any:
        request = original(*arguments, **options)
        left = tuple(c for c in request.conditions if not which(c))
        if len(left) == len(request.conditions):
            raise StalePatch(f"{owner.__name__}.{name} has no such condition")
        return replace(request, conditions=left)

    without.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    patch(owner, name, without)
