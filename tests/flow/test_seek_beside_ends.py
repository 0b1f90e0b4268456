"""A seek meets what happened meanwhile or before: a gate that was opened, a letter that was redriven."""

from __future__ import annotations

import asyncio

import pytest
from flow.fleet import FAST_RETRY, fleet
from flow.test_operators import sought
from flow.test_redrive_once import count, counted, redrive

from headrace.core import lease_rows, leases, operator_rows
from headrace.core.batching import BatchRules
from headrace.core.lineage import NewLease
from headrace.flow.workplace import ShardRules
from headrace.model import Record, Shard, ShardId, TrimHorizon, WorkerId
from headrace.rows import TransactionRefused
from headrace.testing.lease_table import MemoryLeaseTable

pytestmark = pytest.mark.looptime


async def test_a_seek_of_a_child_that_met_the_end_of_its_parent_does_not_close_the_gate_again():
    """The gate was opened between the operator's look and the write; nobody would open it a second time."""
    table, me = MemoryLeaseTable(), WorkerId("w")
    parent, child = Shard(ShardId("p")), Shard(ShardId("c"), parents=(ShardId("p"),))
    await table.apply(leases.create("s", NewLease(parent, frozenset(), TrimHorizon(), 0), 1.0))
    await table.apply(leases.create("s", NewLease(child, frozenset({ShardId("p")}), TrimHorizon(), 1), 1.0))

    def lease(shard):
        return lease_rows.lease_of(table.rows[leases.lease_key("s", ShardId(shard))])

    await table.apply(leases.claim("s", lease("p"), me))
    seen = lease("c")
    await table.transact(leases.end_shard("s", lease("p"), me, 2.0, [child], []), "end")
    answer = await table.transact(operator_rows.seek("s", seen, TrimHorizon(), 3.0, seen.pending), "seek")
    assert isinstance(answer, TransactionRefused)
    assert not lease("c").pending


async def test_a_replay_writes_a_record_again_whose_letter_was_redriven_before():
    """In mode transactional the row no longer says that the record may have a letter: it goes as any other."""
    broken = {9}

    def handle(record: Record) -> object:
        if int(record.data) in broken:
            raise ValueError("bad")
        return count(record)

    async with fleet() as f:
        f.put(10)
        f.start(handle=handle, shard=ShardRules(batch=BatchRules(20), retry=FAST_RETRY), transactional=True)
        await f.until(lambda: f.letters.letters and counted(f) == 9)
        await f.until(f.last_checkpoints_reached)
        assert (await redrive(f)).redriven == 1
        assert counted(f) == 10
        f.sink.items.clear()
        broken.clear()
        (shard,) = f.leases()
        await sought(f, shard, TrimHorizon())
        await f.until(f.last_checkpoints_reached)
        await asyncio.sleep(5)
        assert counted(f) == 10
