"""The reading side of the benchmark's server: a stream whose records were rendered before the first request came.

A page is one slice of a shard's rendered records: what it costs the server hardly depends on its length. Shards stay
open, as a stream's usually are, so `NextShardIterator` is always there.
"""

from __future__ import annotations

import json
from base64 import b64encode
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from time import time
from typing import Any, Final, TypeAlias

import msgspec

from benchmarks.records import Workload, device_id, payload

STREAM: Final = "bench"
ARN: Final = f"arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}"
MOST_RECORDS: Final = 10_000
MOST_BYTES: Final = 10 * 2**20
"""Limits of one GetRecords answer (API reference); bytes of data, before base64."""

Body: TypeAlias = list[bytes | memoryview]


class BadRequestError(Exception):
    """An answer of status 400."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class ShardText:
    """One shard: its records as JSON text with a comma behind each, and where they begin."""

    text: memoryview
    starts: list[int]
    """Offset of each record in `text`, and of the end."""
    sizes: list[int]
    """Bytes of data before each record, and in all."""


@dataclass(slots=True)
class FakeKinesis:
    """Answers for one stream called `bench`."""

    workload: Workload
    shards: list[ShardText] = field(init=False)

    def __post_init__(self) -> None:
        self.shards = [_rendered(self.workload, shard) for shard in range(self.workload.shards)]

    def answer(self, operation: str, request: dict[str, Any]) -> Body:
        """What the operation says. Raises BadRequestError."""
        match operation:
            case "GetRecords":
                return self._get_records(request)
            case "GetShardIterator":
                return self._iterator(request)
            case "ListShards":
                return self._list_shards()
            case "DescribeStreamSummary":
                return self._describe()
            case _:
                raise BadRequestError("UnknownOperationException", f"{operation} is not known here")

    def _describe(self) -> Body:
        summary = {
            "StreamName": STREAM,
            "StreamARN": ARN,
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": self.workload.first_arrival_ms / 1000 - 60,
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
            "OpenShardCount": self.workload.shards,
            "ConsumerCount": 0,
        }
        return [json.dumps({"StreamDescriptionSummary": summary}).encode()]

    def _list_shards(self) -> Body:
        count = self.workload.shards
        edges = [2**128 * shard // count for shard in range(count + 1)]
        shards = [
            {
                "ShardId": _shard_id(shard),
                "HashKeyRange": {"StartingHashKey": str(edges[shard]), "EndingHashKey": str(edges[shard + 1] - 1)},
                "SequenceNumberRange": {"StartingSequenceNumber": str(self.sequence_number(shard, 0) - 1)},
            }
            for shard in range(count)
        ]
        return [json.dumps({"Shards": shards}).encode()]

    def _iterator(self, request: dict[str, Any]) -> Body:
        shard = int(request["ShardId"].rpartition("-")[2])
        place = self.place(shard, request["ShardIteratorType"], request.get("StartingSequenceNumber"))
        return [json.dumps({"ShardIterator": f"{shard}:{place}"}).encode()]

    def place(self, shard: int, kind: str, sequence_number: str | None) -> int:
        """How many records of the shard are before a position. Raises BadRequestError."""
        match kind:
            case "TRIM_HORIZON":
                return 0
            case "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER" if sequence_number is not None:
                return self._place(shard, int(sequence_number), after=kind.startswith("AFTER"))
            case "LATEST":
                return self.workload.per_shard
            case other:
                raise BadRequestError("ValidationException", f"no iterator of type {other} here")

    def _place(self, shard: int, sequence_number: int, *, after: bool) -> int:
        wanted = sequence_number + after
        numbers = range(self.workload.per_shard)
        place = bisect_right(numbers, wanted - 1, key=lambda index: self.sequence_number(shard, index))
        return int(place)

    def _get_records(self, request: dict[str, Any]) -> Body:
        number, first = map(int, request["ShardIterator"].split(":"))
        shard, per_shard = self.shards[number], self.workload.per_shard
        last = min(first + request.get("Limit", MOST_RECORDS), first + MOST_RECORDS, per_shard)
        fitting = bisect_right(shard.sizes, shard.sizes[first] + MOST_BYTES) - 1
        last = min(last, max(fitting, first + 1), per_shard)
        records = self.records(number, first, last)
        rest = f'],"NextShardIterator":"{number}:{last}","MillisBehindLatest":{self.behind_ms(number, last)}}}'
        return [b'{"Records":[', records, rest.encode()]

    def records(self, shard: int, first: int, last: int) -> memoryview:
        """The text of these records, with commas between them."""
        starts = self.shards[shard].starts
        return self.shards[shard].text[starts[first] : max(starts[first], starts[last] - 1)]

    def behind_ms(self, shard: int, last: int) -> int:
        """From the answer's last record to now, unless it is the newest there is."""
        per_shard = self.workload.per_shard
        if last >= per_shard:
            return 0
        return max(1, int(time() * 1000) - self.workload.arrival_ms(shard * per_shard + max(0, last - 1)))

    def sequence_number(self, shard: int, index: int) -> int:
        """Of the record at this place of the shard."""
        return self.workload.sequence_number(shard * self.workload.per_shard + index)


def _shard_id(shard: int) -> str:
    return f"shardId-{shard:012d}"


def _rendered(workload: Workload, shard: int) -> ShardText:
    texts, sizes = [], []
    for number in workload.numbers(shard):
        data = msgspec.json.encode(payload(number, workload))
        sizes.append(len(data))
        texts.append(_record(workload, number, data))
    starts = [0, *accumulate(map(len, texts))]
    return ShardText(memoryview(b"".join(texts)), starts, [0, *accumulate(sizes)])


def _record(workload: Workload, number: int, data: bytes) -> bytes:
    arrival = workload.arrival_ms(number)
    return b'{"SequenceNumber":"%d","ApproximateArrivalTimestamp":%d.%03d,"Data":"%b","PartitionKey":"%b"},' % (
        workload.sequence_number(number),
        arrival // 1000,
        arrival % 1000,
        b64encode(data),
        device_id(number, workload.per_shard).encode(),
    )
