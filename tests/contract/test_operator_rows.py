"""What operators write, asked of the lease table in memory and of a real server alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from contract.lease_tables import MEMORY, MINISTACK

from headrace.core import audit, lease_rows, leases, membership, operator_rows, redriven, windows
from headrace.core.lineage import NewLease
from headrace.model import (
    SHARD_END,
    TRIM_HORIZON,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Lease,
    Shard,
    ShardId,
    TrimHorizon,
    WorkerId,
    WorkerRow,
)
from headrace.rows import Applied, PutRow, Refused, TransactionApplied, TransactionRefused

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("backend", [MEMORY, MINISTACK], indirect=True, scope="module"),
]

SHARD, ME = ShardId("shardId-000000000007"), WorkerId("w-1")
KEY = leases.lease_key("stream", SHARD)


async def owned(table, reached: int = 50) -> Lease:
    """A lease in the hands of a worker, with a checkpoint, as its row shows it."""
    await table.apply(leases.create("stream", NewLease(Shard(SHARD), frozenset(), TrimHorizon()), 1.0))
    await table.apply(leases.claim("stream", await read(table), ME))
    await table.apply(leases.checkpoint("stream", SHARD, ME, 1, leases.Progress(Checkpoint.at(reached), 2.0)))
    return await read(table)


async def read(table) -> Lease:
    return lease_rows.lease_of(await table.get(KEY))


async def act(table, requests):
    return await table.transact(tuple(requests), uuid4().hex)


@pytest.mark.parametrize("to", [TrimHorizon(), AtTimestamp(datetime(2026, 1, 1, tzinfo=UTC)), AtSequence(49 * 10**54)])
async def test_a_seek_moves_the_place_with_the_epoch_and_leaves_the_owner(table, to):
    """The old owner's checkpoint is refused from then on; it takes the lease up under one more epoch."""
    lease = await owned(table)
    assert isinstance(await act(table, operator_rows.seek("stream", lease, to, 3.0)), TransactionApplied)

    after = await read(table)
    assert (after.owner, after.epoch, after.checkpoint, after.start) == (ME, 2, TRIM_HORIZON, to)
    assert after.up_to_s == 3.0
    late = leases.checkpoint("stream", SHARD, ME, 1, leases.Progress(Checkpoint.at(60), 4.0))
    assert isinstance(await table.apply(late), Refused)
    assert isinstance(await table.apply(leases.adopt("stream", after, ME)), Applied)
    assert (await read(table)).epoch == 3


async def test_a_second_seek_forgets_the_place_of_the_first(table):
    """A time and a record are never both there."""
    lease = await owned(table)
    await act(table, operator_rows.seek("stream", lease, AtTimestamp(datetime(2026, 1, 1, tzinfo=UTC)), 3.0))
    await table.apply(redriven.note_first("stream", SHARD, ME, 2, Checkpoint.at(6)))
    assert (await read(table)).first_read == Checkpoint.at(6)
    await act(table, operator_rows.seek("stream", await read(table), AtSequence(7), 3.0))
    row = await table.get(KEY)

    assert row["from"] == "7"
    assert not {"at", "first"} & row.keys()


async def test_a_seek_drops_the_windows_that_belong_to_the_old_place(table):
    """Their state would be that of other records."""
    lease = await owned(table)
    await table.apply(windows.keep("stream", SHARD, ME, Checkpoint.at(50), "state", 1.0))
    await act(table, operator_rows.seek("stream", lease, TrimHorizon(), 3.0))

    assert await table.get(windows.window_key("stream", SHARD)) is None


async def test_a_seek_on_what_was_seen_is_refused_when_the_lease_changed_hands(table):
    """The condition names owner and epoch."""
    seen = await owned(table)
    await table.apply(
        leases.hand_over("stream", SHARD, ME, 1, leases.Progress(Checkpoint.at(50), 2.0), WorkerId("w-2"))
    )
    outcome = await act(table, operator_rows.seek("stream", seen, TrimHorizon(), 3.0))

    assert isinstance(outcome, TransactionRefused)
    assert (await read(table)).checkpoint == Checkpoint.at(50)


async def test_an_unowned_lease_is_moved_under_its_epoch_unless_its_checkpoint_moved(table):
    """Nobody holds it; the next claim reads the place from the row."""
    await owned(table)
    await table.apply(leases.release("stream", SHARD, ME, 1, leases.Progress(Checkpoint.at(55), 2.0)))
    seen = await read(table)
    await act(table, operator_rows.seek("stream", seen, TrimHorizon(), 3.0))

    assert (await read(table)).epoch == 1
    outcome = await act(table, operator_rows.seek("stream", seen, AtSequence(9), 3.0))
    assert isinstance(outcome, TransactionRefused)


async def test_a_lease_that_was_finished_meanwhile_is_neither_moved_nor_paused(table):
    """Whoever saw it unfinished would open it without its children."""
    lease = await owned(table)
    await act(table, leases.end_shard("stream", lease, ME, 9.0, (), ()))
    unaware = replace(lease, owner=None, checkpoint=SHARD_END)

    for seen in (lease, unaware):
        outcome = await act(table, operator_rows.seek("stream", seen, TrimHorizon(), 3.0))
        assert isinstance(outcome, TransactionRefused)
    assert isinstance(await table.apply(operator_rows.pause("stream", lease, "ada")), Refused)


async def test_nobody_claims_takes_or_adopts_a_paused_lease_until_it_is_resumed(table):
    """Whatever stale rows the planner saw."""
    lease = await owned(table)
    await table.apply(operator_rows.pause("stream", lease, "ada"))
    assert isinstance(await table.apply(leases.take("stream", lease, WorkerId("w-2"))), Refused)
    assert isinstance(await table.apply(leases.adopt("stream", lease, ME)), Refused)
    await table.apply(leases.release("stream", SHARD, ME, 1, leases.Progress(Checkpoint.at(50), 2.0)))
    free = await read(table)
    assert free.paused_by == "ada"
    assert isinstance(await table.apply(leases.claim("stream", free, ME)), Refused)

    await table.apply(operator_rows.resume("stream", free))
    assert isinstance(await table.apply(leases.claim("stream", free, ME)), Applied)
    assert isinstance(await table.apply(operator_rows.resume("stream", free)), Refused)


async def test_records_to_skip_are_kept_while_they_are_ahead_of_the_checkpoint(table):
    """Each under a new epoch, so that the owner begins anew and knows them."""
    lease = await owned(table)
    await table.apply(operator_rows.skip("stream", lease, Checkpoint.at(60)))
    await table.apply(leases.adopt("stream", await read(table), ME))
    await table.apply(leases.checkpoint("stream", SHARD, ME, 3, leases.Progress(Checkpoint.at(61), 2.0)))
    await table.apply(operator_rows.skip("stream", await read(table), Checkpoint.at(70, 3)))

    after = await read(table)
    assert after.skips == {Checkpoint.at(70, 3).encode()}
    assert (after.owner, after.epoch, after.checkpoint) == (ME, 4, Checkpoint.at(61))


async def test_an_unowned_lease_is_given_to_a_worker_once(table):
    """It adopts the lease under one more epoch."""
    await owned(table)
    await table.apply(leases.release("stream", SHARD, ME, 1, leases.Progress(Checkpoint.at(50), 2.0)))
    free = await read(table)
    heir = WorkerId("w-2")
    assert isinstance(await table.apply(operator_rows.assign("stream", free, heir)), Applied)
    assert isinstance(await table.apply(operator_rows.assign("stream", free, heir)), Refused)
    assert isinstance(await table.apply(leases.adopt("stream", await read(table), heir)), Applied)


async def test_a_worker_is_drained_and_its_heartbeats_leave_that_and_the_word_alone(table):
    """Neither is the worker's own to write."""
    await table.apply(membership.register(WorkerRow(ME, 0, "live", name="w")))
    await table.apply(operator_rows.drain(ME, "ada"))
    await table.apply(operator_rows.leave_word(ME, "word"))
    await table.apply(membership.heartbeat(ME, 1, membership.Vitals("live")))
    worker = lease_rows.worker_of(await table.get(membership.worker_key(ME)))

    assert (worker.drained_by, worker.word, worker.heartbeat) == ("ada", "word", 2)
    assert isinstance(await table.apply(operator_rows.undrain(ME)), Applied)
    await table.apply(membership.fence(ME, 2, 1.0))
    assert isinstance(await table.apply(operator_rows.drain(ME, "ada")), Refused)
    assert isinstance(await table.apply(operator_rows.leave_word(ME, "late")), Refused)


async def test_an_application_is_paused_and_resumed_in_its_meta_row(table):
    """Beside what ties it to the stream."""
    key = leases.meta_key("stream")
    await table.apply(PutRow(key, {"arn": "a"}))
    await table.apply(operator_rows.pause_all("stream", "ada"))
    assert lease_rows.paused_by(await table.get(key)) == "ada"
    await table.apply(operator_rows.resume_all("stream"))
    assert lease_rows.paused_by(await table.get(key)) is None


async def test_events_come_back_in_the_order_of_time(table):
    """With all that was said, and nothing where nothing was."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    later = audit.Event(at.replace(second=6), "resume", "all shards", "ada", token="b")
    first = audit.Event(at, "seek", SHARD, "ada", "bad deploy", "after 7", "the oldest record", "a")
    for event in (later, first):
        await table.apply(audit.note("stream", event))
    rows = await table.query(audit.events_partition("stream"))

    assert [audit.event_of(row) for row in rows] == [first, later]


async def test_a_finished_shard_is_opened_again_with_the_gate_of_its_child_in_one_transaction(table):
    """The child waits although it has an owner; the end of the parent lets it go on."""
    lease, child = await owned(table), ShardId("shardId-000000000008")
    new = NewLease(Shard(child, (SHARD,)), frozenset(), TrimHorizon(), 1)
    await act(table, leases.end_shard("stream", lease, ME, 9.0, (), (new,)))
    key = leases.lease_key("stream", child)
    await table.apply(leases.claim("stream", lease_rows.lease_of(await table.get(key)), ME))
    done, young = await read(table), lease_rows.lease_of(await table.get(key))
    requests = (
        *operator_rows.seek("stream", done, TrimHorizon(), 3.0),
        *operator_rows.seek("stream", young, TrimHorizon(), 3.0, frozenset({SHARD})),
    )
    assert isinstance(await act(table, requests), TransactionApplied)

    again, gated = await read(table), lease_rows.lease_of(await table.get(key))
    assert (again.done, again.owner, again.checkpoint) == (False, None, TRIM_HORIZON)
    assert (gated.owner, gated.epoch, gated.pending) == (ME, young.epoch + 1, {SHARD})
    await table.apply(leases.claim("stream", again, ME))
    await act(table, leases.end_shard("stream", await read(table), ME, 9.0, (Shard(child, (SHARD,)),), ()))
    assert lease_rows.lease_of(await table.get(key)).pending == frozenset()
