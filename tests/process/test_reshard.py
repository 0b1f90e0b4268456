"""Splits and merges while records flow."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict

import pytest

pytestmark = [pytest.mark.process, pytest.mark.servers]


async def test_through_a_split_and_a_merge_nothing_is_missing_and_every_key_stays_in_order(stage, kinesis_local):
    """Children only after their parents, on a server that drains closed shards as AWS does; a closed shard at start."""
    async with stage(shards=2, kinesis=kinesis_local) as s:
        kinesis, stream = s.clients.kinesis, s.stream
        number = 0

        async def put(count: int) -> None:
            nonlocal number
            await s.put(number, count, keys=8)
            number += count

        await put(40)
        await kinesis.split_shard(
            StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126)
        )
        await _active(kinesis, stream)
        await put(40)
        workers = [s.start(), s.start()]
        for worker in workers:
            await worker.ready()
        await put(40)
        await kinesis.merge_shards(
            StreamName=stream, ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000001"
        )
        await _active(kinesis, stream)
        await put(40)
        await kinesis.split_shard(
            StreamName=stream, ShardToSplit="shardId-000000000002", NewStartingHashKey=str(2**125)
        )
        await _active(kinesis, stream)
        await put(40)

        await s.all_written(number)

        by_key = defaultdict(list)
        for call in sorted(s.calls(), key=lambda call: call.at):
            by_key[call.key].append(call.n)
        assert sum(map(len, by_key.values())) == number, "nothing was repeated either"
        assert all(numbers == sorted(numbers) for numbers in by_key.values()), json.dumps(by_key)
        await _finished(
            s, {"shardId-000000000000", "shardId-000000000001", "shardId-000000000002", "shardId-000000000003"}
        )


async def _active(kinesis, stream: str) -> None:
    while True:
        summary = await kinesis.describe_stream_summary(StreamName=stream)
        if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
            return
        await asyncio.sleep(0.05)


async def _finished(stage, parents: set[str]) -> None:
    for _ in range(200):
        rows = {row["sk"]["S"]: row for row in await stage.leases()}
        if all(rows[parent].get("done", {}).get("BOOL") for parent in parents):
            break
        await asyncio.sleep(0.05)
    assert all(rows[parent]["done"]["BOOL"] for parent in parents)
    assert all("pend" not in row for row in rows.values())
