"""Enhanced fan-out by whole processes, beside polling."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path

import pytest
from process.conftest import Stage, until
from process.subscriptions import in_front_of

pytestmark = [pytest.mark.process, pytest.mark.servers]

Ledger = dict[str, list[int]]


async def test_fan_out_and_polling_give_the_same_ledger_while_the_stream_is_split_and_merged(stage, kinesis_local):
    """Two applications of two workers each read one stream: every record once, every key in order, by either way."""
    async with in_front_of(kinesis_local) as (front, subscriptions), stage(shards=2, kinesis=front) as s:
        ledgers = {consumer: s.folder / f"calls-{consumer}" for consumer in ("fan-out", "polling")}
        for consumer, ledger in ledgers.items():
            application = f"{s.stream}-{consumer}"
            wanted = {"HEADRACE_APPLICATION": application, "HEADRACE_STREAM_CONSUMER": consumer, "CALLS": str(ledger)}
            workers = [s.start(**wanted) for _ in range(2)]
            for worker in workers:
                await worker.ready()
        await _written_while_resharded(s)
        await until(lambda: all(_length(ledger) >= 200 for ledger in ledgers.values()), 60, lambda: _logs(s))
        by_fan_out, by_polling = map(_ledger, ledgers.values())
        assert by_fan_out == by_polling
        assert by_fan_out == {f"k{key}": list(range(key, 200, 8)) for key in range(8)}
        assert len(set(subscriptions.accepted)) == 7, "every shard was read by subscription"


async def test_without_the_right_to_register_a_consumer_nothing_starts(stage, ministack):
    """One line that names the setting and the rights."""
    async with in_front_of(ministack) as (front, subscriptions), stage(shards=1, kinesis=front) as s:
        subscriptions.refused["RegisterStreamConsumer"] = "AccessDeniedException"
        process = s.start(HEADRACE_STREAM_CONSUMER="fan-out")
        assert await process.exit_code(within_s=30) == 2
        (said,) = (line for line in process.log.read_text().splitlines() if not line.startswith("{"))
        assert said.startswith("HEADRACE_STREAM_CONSUMER = 'fan-out': kinesis RegisterStreamConsumer: AccessDenied")
        assert "Allow kinesis:DescribeStreamConsumer and kinesis:RegisterStreamConsumer on the stream" in said


async def test_while_the_stream_has_no_room_for_a_consumer_it_is_polled(stage, ministack):
    """Until another one is deregistered; no restart is needed."""
    async with in_front_of(ministack) as (front, subscriptions), stage(shards=1, kinesis=front) as s:
        subscriptions.refused["RegisterStreamConsumer"] = "LimitExceededException"
        process = s.start(HEADRACE_STREAM_CONSUMER="fan-out", HEADRACE_STREAM_CONSUMER_NAME="readers")
        await process.ready()
        await s.put(0, 20)
        await s.all_written(20)
        (awaited,) = process.events("fan_out_awaited")
        assert (awaited["level"], awaited["consumer"], awaited["meanwhile"]) == ("warning", "readers", "polling")
        assert not subscriptions.accepted
        subscriptions.refused.clear()
        await until(lambda: subscriptions.accepted, 30, process.log.read_text)
        await s.put(20, 20)
        await s.all_written(40)
        (began,) = process.events("fan_out_began")
        assert "/consumer/readers:" in began["consumer"]


async def test_without_the_right_to_subscribe_the_shard_is_polled(stage, ministack):
    """Said once, with the right that is missing; once it is given the subscription comes by itself."""
    async with in_front_of(ministack) as (front, subscriptions), stage(shards=1, kinesis=front) as s:
        subscriptions.refused["SubscribeToShard"] = "AccessDeniedException"
        process = s.start(HEADRACE_STREAM_CONSUMER="fan-out")
        await process.ready()
        await s.put(0, 20)
        await s.all_written(20)
        (failed,) = process.events("subscription_failed")
        assert (failed["level"], failed["meanwhile"]) == ("error", "polling")
        assert failed["needs"] == "kinesis:SubscribeToShard on the stream consumer"
        subscriptions.refused.clear()
        await until(lambda: process.events("subscription_resumed"), 30, process.log.read_text)


async def _written_while_resharded(s: Stage) -> None:
    kinesis, name = s.clients.kinesis, s.stream
    await s.put(0, 40, keys=8)
    await kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
    await _active(s)
    await s.put(40, 40, keys=8)
    await kinesis.merge_shards(
        StreamName=name, ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000001"
    )
    await _active(s)
    await s.put(80, 40, keys=8)
    await kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000002", NewStartingHashKey=str(2**125))
    await _active(s)
    await s.put(120, 80, keys=8)


async def _active(s: Stage) -> None:
    while True:
        summary = await s.clients.kinesis.describe_stream_summary(StreamName=s.stream)
        if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
            return
        await asyncio.sleep(0.05)


def _length(ledger: Path) -> int:
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def _ledger(path: Path) -> Ledger:
    """The numbers of each key, in the order in which they were handled."""
    by_key: defaultdict[str, list[int]] = defaultdict(list)
    for _, _, _, _, key, number in sorted(map(json.loads, path.read_text().splitlines())):
        by_key[key].append(number)
    return dict(by_key)


def _logs(s: Stage) -> str:
    return "\n".join(process.log.read_text()[-1500:] for process in s.processes)
