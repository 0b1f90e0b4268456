"""What the owner of a shard keeps in memory of parked keys, of which there may be very many."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from flow.fleet import RULES, fleet, put_item

from headrace.core import parked_keys
from headrace.core.leases import create
from headrace.core.lineage import NewLease
from headrace.core.parked_keys import ParkedKey
from headrace.flow.delivery.parked_keys import Parked
from headrace.flow.term import Term
from headrace.model import TRIM_HORIZON, Checkpoint, Lease, Record, Shard, ShardId, TrimHorizon
from headrace.testing.clock import LoopClock
from headrace.testing.lease_table import MemoryLeaseTable

pytestmark = pytest.mark.looptime

SHARDS = [Shard(ShardId(f"shard-{n}"), (), 10 * n, 10 * n + 9) for n in range(3)]


def parked_of(shard: Shard, table: MemoryLeaseTable) -> Parked:
    trust = SimpleNamespace(permits=lambda: True)
    lease = Lease(
        shard.shard_id, 1, TRIM_HORIZON, first_hash_key=shard.first_hash_key, last_hash_key=shard.last_hash_key
    )
    ports = SimpleNamespace(table=table, clock=LoopClock(), chance=lambda: 0.0)
    return Parked(Term(lease, trust), "s", ports, is_wanted=True)


async def test_a_parked_key_keeps_no_record_in_memory():
    """Neither before its letter is stored nor behind it: payloads of all keys that ever failed would add up."""
    table = MemoryLeaseTable()
    parked = parked_of(SHARDS[0], table)
    records = [Record(bytes(1_000), "k", number, 0.0, SHARDS[0].shard_id) for number in range(1, 4)]
    before = [sys.getrefcount(record) for record in records]
    parked.begin(records[0])
    await parked.cover(records[:1])
    await parked.confirm(records[:1])
    assert await parked.holds(records[1])
    parked.begin(records[2])
    assert [sys.getrefcount(record) for record in records] == before
    await parked.cover(records[1:])
    assert [sys.getrefcount(record) for record in records] == before
    (row,) = parked_keys.parked(await table.query("P#s")).values()
    assert row.last == Checkpoint.at(3)


async def test_a_shard_keeps_the_keys_that_it_may_have_records_of_and_no_others():
    """A stream of many shards would have each of them keep the parked keys of all."""
    table = MemoryLeaseTable()
    for shard in SHARDS:
        await table.apply(create("s", NewLease(shard, frozenset(), TrimHorizon()), 0.0))
    gone = ShardId("finished and forgotten")
    for where in (*(shard.shard_id for shard in SHARDS), gone):
        await table.apply(parked_keys.park("s", ParkedKey(f"of {where}", where, Checkpoint.at(1))))
    for shard in SHARDS:
        parked = parked_of(shard, table)
        await parked.resume()
        assert set(parked.keys) == {f"of {shard.shard_id}", f"of {gone}"}


@pytest.mark.parametrize("is_async", [False, True])
async def test_nobody_asks_for_parked_keys_where_there_are_none(monkeypatch, is_async):
    """It would be a coroutine for every record."""

    async def holds(self, record):
        raise AssertionError(f"asked for {record.partition_key}")

    async def handle_later(record):
        return put_item(record)

    monkeypatch.setattr(Parked, "holds", holds)
    async with fleet() as f:
        f.put(20)
        f.start(handle=handle_later if is_async else put_item, is_async=is_async, shard=RULES)
        await f.until(f.last_checkpoints_reached)
        assert sorted(f.written) == list(range(20))
