"""The loop a careful user writes with stock parts: aiobotocore on uvloop, boto3's TypeSerializer, BatchWriteItem.

Pages of 10,000, 25 items a request, 16 requests in flight, unprocessed items sent again with full jitter. It has no
leases, checkpoints, retries of single records, dead letters or metrics, and ends when every shard is read to its tip.
With `--conditional` it writes each item once and never over another: one conditional PutItem a record, 50 in flight.

    python -m benchmarks.stock STREAM TABLE [--conditional]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from typing import Any, Final

import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from boto3.dynamodb.types import TypeSerializer  # type: ignore[import-untyped]

PAGE: Final = 10_000
WRITES: Final = 25
IN_FLIGHT: Final = 16
SINGLE_IN_FLIGHT: Final = 50
LONGEST_PAUSE_S: Final = 5.0


@dataclass(slots=True)
class Loop:
    """Reads every shard of one stream into one table."""

    kinesis: Any
    dynamodb: Any
    table: str
    conditional: bool = False
    room: asyncio.Semaphore = field(init=False)
    serializer: TypeSerializer = field(default_factory=TypeSerializer)

    def __post_init__(self) -> None:
        self.room = asyncio.Semaphore(SINGLE_IN_FLIGHT if self.conditional else IN_FLIGHT)

    @property
    def writes(self) -> int:
        """Items of one request."""
        return 1 if self.conditional else WRITES

    async def run(self, stream: str) -> None:
        """All shards beside each other."""
        shards = (await self.kinesis.list_shards(StreamName=stream))["Shards"]
        async with asyncio.TaskGroup() as tasks:
            for shard in shards:
                tasks.create_task(self._read(stream, shard["ShardId"]), name=shard["ShardId"])

    async def _read(self, stream: str, shard_id: str) -> None:
        start = {"StreamName": stream, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
        iterator = (await self.kinesis.get_shard_iterator(**start))["ShardIterator"]
        while True:
            page = await self.kinesis.get_records(ShardIterator=iterator, Limit=PAGE)
            await self._write_page(page["Records"])
            iterator = page.get("NextShardIterator")
            if iterator is None or page["MillisBehindLatest"] == 0:
                return

    async def _write_page(self, records: list[dict[str, Any]]) -> None:
        """Durable when it returns: here a checkpoint would be written."""
        async with asyncio.TaskGroup() as tasks:
            for start in range(0, len(records), self.writes):
                await self.room.acquire()
                tasks.create_task(self._write(records[start : start + self.writes]), name=f"write-{start}")

    async def _write(self, records: list[dict[str, Any]]) -> None:
        try:
            if self.conditional:
                await self._write_once(records[0])
            else:
                await self._write_batch(records)
        finally:
            self.room.release()

    async def _write_once(self, record: dict[str, Any]) -> None:
        condition = "attribute_not_exists(pk)"
        with contextlib.suppress(self.dynamodb.exceptions.ConditionalCheckFailedException):
            await self.dynamodb.put_item(TableName=self.table, Item=self._item(record), ConditionExpression=condition)

    async def _write_batch(self, records: list[dict[str, Any]]) -> None:
        left = {self.table: [{"PutRequest": {"Item": self._item(record)}} for record in records]}
        tries = 0
        while left:
            answer = await self.dynamodb.batch_write_item(RequestItems=left)
            left = answer["UnprocessedItems"]
            if left:
                tries += 1
                await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE_S, 0.05 * 2**tries)))

    def _item(self, record: dict[str, Any]) -> dict[str, Any]:
        item = json.loads(record["Data"], parse_float=Decimal)
        item["pk"] = item["device_id"]
        item["sk"] = item["reading_id"]
        item["sequenceNumber"] = record["SequenceNumber"]
        arrival = record["ApproximateArrivalTimestamp"].astimezone(UTC).isoformat(timespec="milliseconds")
        item["approximateArrivalTimestamp"] = arrival.replace("+00:00", "Z")
        serialize = self.serializer.serialize
        return {name: serialize(value) for name, value in item.items()}


async def _main(stream: str, table: str, *options: str) -> None:
    session, config = get_session(), AioConfig(max_pool_connections=50)
    async with (
        session.create_client("kinesis", config=config) as kinesis,
        session.create_client("dynamodb", config=config) as dynamodb,
    ):
        await Loop(kinesis, dynamodb, table, conditional="--conditional" in options).run(stream)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
