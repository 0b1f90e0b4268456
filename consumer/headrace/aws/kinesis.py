"""Reading a Kinesis stream through the stock client, with one change: GetRecords bodies are decoded by a typed decoder.

botocore's own parser costs ten times as much a record. Retries, endpoint rules, signing and errors stay botocore's; a
public event, `before-parse.kinesis.GetRecords`, takes the successful body out of its hands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from headrace.aws.session import translated
from headrace.core.native import CompiledPage, Native
from headrace.errors import Unavailable
from headrace.model import (
    SHARD_END,
    AtTimestamp,
    Checkpoint,
    Page,
    Record,
    Shard,
    ShardId,
    StreamDescription,
    TrimHorizon,
)

if TYPE_CHECKING:
    from types_aiobotocore_kinesis import KinesisClient
    from types_aiobotocore_kinesis.type_defs import ShardTypeDef

BODY: Final = "Body"
"""Where a successful answer's bytes stand in what the client returns."""

_zeros = re.compile(rb'("SequenceNumber": ?")0+(?=\d)')
"""Leading zeros of a sequence number. No string value can hold this text: its quotes would be escaped there."""


class WireRecord(Record, gc=False, kw_only=True):
    """A record under the names that GetRecords gives its fields (API reference, Record): one is made in a single step."""

    data: bytes = msgspec.field(name="Data")
    partition_key: str = msgspec.field(name="PartitionKey", default="")
    sequence_number: int = msgspec.field(name="SequenceNumber")
    arrival_s: float = msgspec.field(name="ApproximateArrivalTimestamp")


class WireRange(msgspec.Struct, gc=False):
    """HashKeyRange; the service writes both numbers as text."""

    first: int = msgspec.field(name="StartingHashKey")
    last: int = msgspec.field(name="EndingHashKey")


class WireChild(msgspec.Struct, gc=False):
    """ChildShard (API reference)."""

    shard_id: str = msgspec.field(name="ShardId")
    parents: list[str] = msgspec.field(name="ParentShards")
    hash_keys: WireRange = msgspec.field(name="HashKeyRange")

    def shard(self) -> Shard:
        """The same, as the model says it."""
        parents = tuple(ShardId(parent) for parent in self.parents)
        return Shard(ShardId(self.shard_id), parents, self.hash_keys.first, self.hash_keys.last)


class WirePage(msgspec.Struct, gc=False):
    """GetRecords' answer, or SubscribeToShardEvent. `Records` must be there: an answer without it would else look like the end of the shard."""

    records: list[WireRecord] = msgspec.field(name="Records")
    next_iterator: str | None = msgspec.field(name="NextShardIterator", default=None)
    behind_ms: float | None = msgspec.field(name="MillisBehindLatest", default=None)
    children: list[WireChild] | None = msgspec.field(name="ChildShards", default=None)
    continuation: str | None = msgspec.field(name="ContinuationSequenceNumber", default=None)


_decode = msgspec.json.Decoder(WirePage, strict=False).decode
"""Not strict, because numbers of more than 64 bits come as text. Base64 and numbers are still checked."""


_decode_children = msgspec.json.Decoder(list[WireChild], strict=False).decode


class KinesisStream:
    """One stream, named by its name or its ARN. The client's lifetime is the caller's.

    Once `describe` has learnt the ARN every call carries it, beside the name where the operation knows names (AWS
    accepts either or both; some local servers know only names).
    """

    def __init__(self, client: KinesisClient, stream_name_or_arn: str, native: Native | None = None) -> None:
        self._client = client
        self._native = native
        self._name = stream_name_or_arn.rpartition(":stream/")[2]
        self._arn: dict[str, Any] = {}
        if stream_name_or_arn != self._name:
            self._arn = {"StreamARN": stream_name_or_arn}
        self._digits: int | None = None
        client.meta.events.register("before-parse.kinesis.GetRecords", _keep_body, unique_id="headrace-keep-body")

    async def describe(self) -> StreamDescription:
        """DescribeStreamSummary; the service's clock is the Date header of its answer, in whole seconds."""
        with translated("kinesis", "DescribeStreamSummary"):
            answer = await self._client.describe_stream_summary(**self._address)
        summary = answer["StreamDescriptionSummary"]
        self._arn = {"StreamARN": summary["StreamARN"]}
        return StreamDescription(
            name=summary["StreamName"],
            arn=summary["StreamARN"],
            created=summary["StreamCreationTimestamp"].astimezone(UTC),
            retention_s=summary["RetentionPeriodHours"] * 3600.0,
            keeps_key_order=summary.get("RecordDistributionStrategy") != "AUTO",
            now_s=self._service_clock(answer["ResponseMetadata"]["HTTPHeaders"]),
        )

    async def list_shards(self) -> list[Shard]:
        """ListShards, all pages. With a NextToken nothing else may name the stream (API reference)."""
        shards: list[ShardTypeDef] = []
        request = self._address
        while request:
            with translated("kinesis", "ListShards"):
                answer = await self._client.list_shards(**request)
            shards += answer["Shards"]
            token = answer.get("NextToken")
            request = {"NextToken": token} if token else {}
        self._digits = max((_padding(shard) for shard in shards), default=None)
        return [_shard(shard) for shard in shards]

    async def iterator(self, shard: ShardId, after: Checkpoint | TrimHorizon | AtTimestamp) -> str:
        """GetShardIterator. Behind a record inside a KPL aggregate the aggregate is read again: it is not done yet."""
        kind, where = await self.start(after)
        if "SequenceNumber" in where:
            where = {"StartingSequenceNumber": where["SequenceNumber"]}
        with translated("kinesis", "GetShardIterator"):
            answer = await self._client.get_shard_iterator(
                ShardId=shard, ShardIteratorType=kind, **where, **self._address
            )
        return answer["ShardIterator"]

    async def start(self, after: Checkpoint | TrimHorizon | AtTimestamp) -> tuple[Any, dict[str, Any]]:
        """The type of a starting position, and what goes with it under the names of StartingPosition."""
        if self._digits is None:
            await self.list_shards()
        return self._start(after)

    async def get_records(self, iterator: str, limit: int, shard: ShardId) -> Page:
        """GetRecords. A page that cannot be read whole raises Unavailable: no record of it is passed over."""
        with translated("kinesis", "GetRecords"):
            answer = await self._client.get_records(ShardIterator=iterator, Limit=limit, **self._arn)
        return self.page(cast("Mapping[str, bytes]", answer)[BODY], shard)

    def page(self, body: bytes | memoryview, shard: ShardId) -> Page:
        """An answer of GetRecords, or an event of SubscribeToShard, out of its JSON text."""
        if self._digits:
            body = _zeros.sub(rb"\1", bytes(body))
        if self._native is not None:
            try:
                return _compiled(self._native.page(bytes(body), Record, shard))
            except (self._native.declined, msgspec.DecodeError):
                pass  # it is read again below, or refused there
        page = self._decode(body, shard)
        size = 0
        for record in page.records:
            record.shard_id = shard
            size += len(record.data)
        return Page(
            records=cast("list[Record]", page.records),
            next_iterator=page.next_iterator or page.continuation,
            behind_s=(page.behind_ms or 0.0) / 1000.0,
            size=size,
            children=tuple(child.shard() for child in page.children or ()),
            continuation=None if page.continuation is None else int(page.continuation),
        )

    @property
    def _address(self) -> dict[str, Any]:
        return {"StreamName": self._name, **self._arn}

    def _start(self, after: Checkpoint | TrimHorizon | AtTimestamp) -> tuple[str, dict[str, Any]]:
        match after:
            case AtTimestamp(instant):
                return "AT_TIMESTAMP", {"Timestamp": instant.astimezone(UTC)}
            case Checkpoint(rank=0, sequence_number=number, sub_sequence_number=sub):
                kind = "AFTER_SEQUENCE_NUMBER" if sub < 0 else "AT_SEQUENCE_NUMBER"
                return kind, {"SequenceNumber": f"{number:0{self._digits or 1}d}"}
            case _ if after == SHARD_END:
                raise ValueError("there is nothing to read behind the end of a shard")
            case _:
                return "TRIM_HORIZON", {}

    def _decode(self, body: bytes | memoryview, shard: ShardId) -> WirePage:
        try:
            return _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"kinesis GetRecords, {self._name}, {shard}: unreadable answer ({error})") from error

    def _service_clock(self, headers: Mapping[str, str]) -> float:
        try:
            return parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError) as error:
            raise Unavailable(f"kinesis DescribeStreamSummary, {self._name}: no date in the answer") from error


def _compiled(found: CompiledPage) -> Page:
    records, next_iterator, behind_ms, children, continuation, size = found
    return Page(
        records=records,
        next_iterator=next_iterator or (None if continuation is None else str(continuation)),
        behind_s=(behind_ms or 0.0) / 1000.0,
        size=size,
        children=() if children is None else tuple(child.shard() for child in _decode_children(children)),
        continuation=continuation,
    )


def _keep_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] == 200:  # noqa: PLR2004 - HTTP's own number
        customized_response_dict[BODY] = response_dict["body"]
        response_dict["body"] = b"{}"


def _shard(listed: ShardTypeDef) -> Shard:
    parents = (listed.get("ParentShardId"), listed.get("AdjacentParentShardId"))
    hash_keys = listed["HashKeyRange"]
    return Shard(
        shard_id=ShardId(listed["ShardId"]),
        parents=tuple(ShardId(parent) for parent in parents if parent),
        first_hash_key=int(hash_keys["StartingHashKey"]),
        last_hash_key=int(hash_keys["EndingHashKey"]),
    )


def _padding(listed: ShardTypeDef) -> int:
    r"""Digits that this server pads sequence numbers to, 0 if it does not.

    AWS never does (its pattern is `0|[1-9]\d{0,128}`), but MiniStack writes 30 digits with leading zeros, and finds
    nothing behind the same number without them.
    """
    number = listed["SequenceNumberRange"]["StartingSequenceNumber"]
    return len(number) if number.startswith("0") and number != "0" else 0
