"""The loop a careful user writes with stock parts: aiobotocore on uvloop, boto3's TypeSerializer, BatchWriteItem.

Pages of 10,000, 25 items a request, 16 requests in flight, unprocessed items sent again with full jitter. It has no
leases, checkpoints, retries of single records, dead letters or metrics, and ends when every shard is read to its tip.

    python -m benchmarks.stock STREAM TABLE
"""

from __future__ import annotations

import asyncio
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
LONGEST_PAUSE_S: Final = 5.0


@dataclass(slots=True)
class Loop:
    """Reads every shard of one stream into one table."""

    kinesis: Any
    dynamodb: Any
    table: str
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))
    serializer: TypeSerializer = field(default_factory=TypeSerializer)

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
            for start in range(0, len(records), WRITES):
                await self.room.acquire()
                tasks.create_task(self._write(records[start : start + WRITES]), name=f"write-{start}")

    async def _write(self, records: list[dict[str, Any]]) -> None:
        try:
            left = {self.table: [{"PutRequest": {"Item": self._item(record)}} for record in records]}
            tries = 0
            while left:
                answer = await self.dynamodb.batch_write_item(RequestItems=left)
                left = answer["UnprocessedItems"]
                if left:
                    tries += 1
                    await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE_S, 0.05 * 2**tries)))
        finally:
            self.room.release()

    def _item(self, record: dict[str, Any]) -> dict[str, Any]:
        item = json.loads(record["Data"], parse_float=Decimal)
        item["pk"] = item["device_id"]
        item["sk"] = item["reading_id"]
        item["sequenceNumber"] = record["SequenceNumber"]
        arrival = record["ApproximateArrivalTimestamp"].astimezone(UTC).isoformat(timespec="milliseconds")
        item["approximateArrivalTimestamp"] = arrival.replace("+00:00", "Z")
        serialize = self.serializer.serialize
        return {name: serialize(value) for name, value in item.items()}


async def _main(stream: str, table: str) -> None:
    session, config = get_session(), AioConfig(max_pool_connections=50)
    async with (
        session.create_client("kinesis", config=config) as kinesis,
        session.create_client("dynamodb", config=config) as dynamodb,
    ):
        await Loop(kinesis, dynamodb, table).run(stream)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
