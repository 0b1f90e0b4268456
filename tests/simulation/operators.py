"""What operators do to a simulated fleet while everything goes wrong: further faults, as far as the invariants go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core import operator_rows
from headrace.core.reopening import family, waits_for
from headrace.model import Checkpoint, Lease, TrimHorizon
from headrace.rows import Request
from simulation.table import OPERATOR

if TYPE_CHECKING:
    from simulation.fleet import Fleet


async def seek(fleet: Fleet) -> None:
    """A shard is put back to its beginning while the fleet runs."""
    if (lease := _some_lease(fleet)) is not None:
        _operate(fleet, operator_rows.seek("stream", lease, TrimHorizon(), fleet.stream._now_s(), lease.pending))


async def reopen(fleet: Fleet) -> None:
    """A finished shard is to be read again, and all that descends of it."""
    leases = {lease.shard_id: lease for lease in fleet.table.leases.values()}
    finished = sorted(shard for shard, lease in leases.items() if lease.done)
    if not finished:
        return
    members = family(leases, [fleet.chance.choice(finished)])
    requests: list[Request] = []
    for lease in members.values():
        pending = waits_for(lease, members)
        requests += operator_rows.seek("stream", lease, TrimHorizon(), fleet.stream._now_s(), pending)
    _operate(fleet, tuple(requests))


async def skip_nothing(fleet: Fleet) -> None:
    """A record that does not exist is skipped: what is left is the new epoch."""
    if (lease := _some_lease(fleet)) is not None:
        _operate(fleet, (operator_rows.skip("stream", lease, Checkpoint.at(1)),))


async def pause_shard(fleet: Fleet) -> None:
    """For a while."""
    if (lease := _some_lease(fleet)) is not None:
        _operate(fleet, (operator_rows.pause("stream", lease, "ada"),))
        fleet.after_all(0.5, 3.0, lambda: _operate(fleet, (operator_rows.resume("stream", lease),)))


async def pause_everything(fleet: Fleet) -> None:
    """For a while."""
    _operate(fleet, (operator_rows.pause_all("stream", "ada"),))
    fleet.after_all(0.5, 2.0, lambda: _operate(fleet, (operator_rows.resume_all("stream"),)))


async def drain(fleet: Fleet) -> None:
    """One is to hold nothing for a while."""
    if (process := fleet.somebody()) is not None and (worker := process.who()) is not None:
        _operate(fleet, (operator_rows.drain(worker, "ada"),))
        fleet.after_all(0.5, 3.0, lambda: _operate(fleet, (operator_rows.undrain(worker),)))


async def give_away(fleet: Fleet) -> None:
    """A lease that nobody owns is given to somebody."""
    process = fleet.somebody()
    free = [lease for lease in fleet.table.leases.values() if lease.owner is None]
    if process is not None and free and (worker := process.who()) is not None:
        _operate(fleet, (operator_rows.assign("stream", fleet.chance.choice(free), worker),))


def _some_lease(fleet: Fleet) -> Lease | None:
    leases = [lease for lease in fleet.table.leases.values() if not lease.done]
    return fleet.chance.choice(leases) if leases else None


def _operate(fleet: Fleet, requests: tuple[Request, ...]) -> None:
    """At once; then word is left, and most of the time everybody is nudged."""
    token = f"operator-{fleet.chance.random()}"
    fleet.table.serve(OPERATOR, lambda: fleet.table.write_all(requests, token))
    fleet.table.check_gates()
    for process in fleet.living():
        if (worker := process.who()) is not None:
            fleet.table.serve(OPERATOR, lambda to=worker: fleet.table.write(operator_rows.leave_word(to, token)))
        if fleet.chance.random() < 0.5 and not process.is_stopped:
            process.on_main(process.worker.nudged)


OPERATIONS = (seek, reopen, skip_nothing, pause_shard, pause_everything, drain, give_away)
