"""Pausing and resuming shards or the whole application, moving a lease, and going on without one record."""

from __future__ import annotations

from headrace.core import leases, membership, operator_rows
from headrace.core.seeking import position
from headrace.core.skips import is_ahead
from headrace.flow.operate.desk import ActRefused, Desk, living_names
from headrace.model import Checkpoint, Lease, ShardId, WorkerId, WorkerRow
from headrace.rows import UpdateRow


async def pause(desk: Desk, shard: ShardId) -> None:
    """Let nobody read a shard until it is resumed. Raises ActRefused."""
    lease = await desk.lease(shard)
    if lease.done:
        raise ActRefused(f"{shard} is finished: nobody reads it")
    if lease.paused_by is None:
        await desk.carry_out("pause", shard, [operator_rows.pause(desk.label, lease, desk.by)], after="paused")


async def resume(desk: Desk, shard: ShardId) -> None:
    """Let it be read again. Raises ActRefused."""
    lease = await desk.lease(shard)
    if lease.paused_by is not None and not lease.done:
        before = f"paused by {lease.paused_by}"
        await desk.carry_out("resume", shard, [operator_rows.resume(desk.label, lease)], before=before)


async def pause_all(desk: Desk) -> None:
    """Let nobody read anything until that is taken back. Raises ActRefused."""
    requests = [operator_rows.pause_all(desk.stream_name, desk.by)]
    await desk.carry_out("pause", "all shards", requests, after="paused")


async def resume_all(desk: Desk) -> list[ShardId]:
    """Take it back, and resume every shard that was paused by itself; which ones those were. Raises ActRefused."""
    if (by := await desk.paused_by()) is not None:
        requests = [operator_rows.resume_all(desk.stream_name)]
        await desk.carry_out("resume", "all shards", requests, before=f"paused by {by}")
    alone = [lease.shard_id for lease in (await desk.leases()).values() if lease.paused_by is not None]
    for shard in alone:
        await resume(desk, shard)
    return alone


async def skip(desk: Desk, shard: ShardId, record: Checkpoint) -> Lease:
    """Bury one record without a call; the shard's owner begins anew at its checkpoint. Raises ActRefused."""
    lease = await desk.lease(shard)
    if not is_ahead(record, lease.checkpoint):
        raise ActRefused(
            f"{position(record)} is behind the checkpoint of {shard}: it is written or buried already. "
            f"`headrace explain {record.sequence_number}` says which"
        )
    before = f"checkpoint {lease.checkpoint.encode()}, epoch {lease.epoch}, owner {lease.owner}"
    requests = [operator_rows.skip(desk.label, lease, record)]
    await desk.carry_out("skip", f"{shard} {position(record)}", requests, before=before, after="buried unread")
    return lease


async def move(desk: Desk, shard: ShardId, heir: WorkerRow, within_s: float) -> Lease:
    """Hand a lease over to a worker: its owner finishes what is in flight. Raises ActRefused."""
    lease = await desk.lease(shard)
    if lease.done or lease.pending or lease.paused_by is not None:
        state = "finished" if lease.done else "paused" if lease.paused_by else "waiting for its parents"
        raise ActRefused(f"{shard} is {state}: it can be moved to nobody")
    if heir.drained_by is not None or heir.state != membership.LIVE:
        raise ActRefused(f"{heir.worker_id} takes nothing: it is {'drained' if heir.drained_by else heir.state}")
    if lease.owner == heir.worker_id:
        return lease
    await desk.carry_out(
        "move",
        shard,
        _passing(desk, lease, heir.worker_id),
        before=f"owner {lease.owner}",
        after=f"owner {heir.worker_id}",
    )
    found = await desk.until(shard, lambda row: row.owner == heir.worker_id, within_s)
    if found is None:
        await desk.table.apply(leases.withdraw(desk.label, lease, heir.worker_id))
        raise ActRefused(f"{shard} was not handed over within {within_s:g} s, and the wish is withdrawn")
    await desk.tell_workers()
    settled = await desk.until(shard, lambda row: row.owner != heir.worker_id or row.epoch > found.epoch, within_s)
    return settled or found


def _passing(desk: Desk, lease: Lease, heir: WorkerId) -> list[UpdateRow]:
    if lease.owner is None:
        return [operator_rows.assign(desk.label, lease, heir)]
    return [leases.ask(desk.label, lease, heir), leases.knock(lease, heir)]


async def drain(desk: Desk, worker: WorkerRow) -> None:
    """Make a worker give up what it holds and take nothing more. Raises ActRefused."""
    if worker.drained_by is None:
        requests = [operator_rows.drain(worker.worker_id, desk.by)]
        await desk.carry_out("drain", worker.worker_id, requests, before=f"{worker.held} leases", after="drained")


async def undrain(desk: Desk, worker: WorkerRow) -> None:
    """Let it take leases again. Raises ActRefused."""
    if worker.drained_by is not None:
        requests = [operator_rows.undrain(worker.worker_id)]
        await desk.carry_out("undrain", worker.worker_id, requests, before=f"drained by {worker.drained_by}")


async def find_worker(desk: Desk, name: str) -> WorkerRow:
    """A worker by its id, the beginning of it, or its name. Raises ActRefused unless there is exactly one."""
    workers = await desk.workers()
    found = [w for w in workers.values() if w.worker_id == name]
    found = found or [w for w in workers.values() if w.worker_id.startswith(name) or w.name == name]
    if len(found) != 1:
        problem = "no living worker is called" if not found else f"{len(found)} living workers are called"
        raise ActRefused(f"{problem} {name}; there are: {living_names(workers)}")
    return found[0]
