"""Without one of the rules by which checkpoints, and readers from parents to children, move on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from headrace.core import assignment, leases
from headrace.core.tracker import Tracker
from headrace.flow.leasing import coordinator, discovery
from headrace.flow.leasing.discovery import Discovery
from headrace.rows import Absent, AtMost, Equals
from headrace.tasks import TaskGroup
from simulation.faults import halting_start, reshard_storm
from simulation.mutation import drop, noticed
from simulation.patching import patch


@noticed(81, "S4")
def checkpoints_never_go_back() -> None:
    """A late checkpoint takes an earlier place."""
    for name in ("checkpoint", "release", "hand_over"):
        drop(leases, name, lambda c: isinstance(c, AtMost))


@noticed(6, "S4")
def checkpoints_name_owner_and_epoch() -> None:
    """Whoever once owned a shard may move its checkpoint."""
    drop(leases, "checkpoint", lambda c: isinstance(c, Equals | AtMost))


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
    drop(leases, "claim", lambda c: isinstance(c, Absent) and c.attribute == "pend")
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


@noticed(84, "S5", halting_start)
def a_parent_is_asked_for_before_it_counts_as_finished() -> None:
    """A read of all rows that is no snapshot decides."""

    def doubtful(shards: Any, leases: Any) -> frozenset[Any]:
        return frozenset()

    patch(discovery, "doubtful", doubtful)


@noticed(14, "L", reshard_storm)
def lease_rows_are_read_consistently_where_news_are_followed() -> None:
    """A replica that is behind answers, and nobody asks again for a minute."""
    original = Discovery.read_leases

    async def read_leases(self: Any, *, consistent: bool = False) -> Any:
        return await original(self)

    patch(Discovery, "read_leases", read_leases)


@noticed(9, "L")
def a_cancelled_group_stays_cancelled() -> None:
    """A group whose children fail while its task is cancelled raises what they raised, and no more."""

    async def __aexit__(self: Any, kind: Any, error: Any, trace: Any) -> None:  # noqa: N807 - in its place
        await asyncio.TaskGroup.__aexit__(self, kind, error, trace)

    patch(TaskGroup, "__aexit__", __aexit__)
