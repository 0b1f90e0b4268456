"""Dead letters in a DynamoDB table: one row a record, found by shard and position, readable years later.

`pk` is `<stream>#<shard>`, `sk` the checkpoint text of the record, so the rows of a shard sort as its records did. A
payload too large for one item stands in part rows (`<sk>/part-0001`...), written before the head row that counts them:
a head row always has all of its payload.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from headrace.aws.session import translated
from headrace.errors import NotFound, Unavailable
from headrace.model import Checkpoint, DeadLetter, FailedAttempt, Record, ShardId, WorkerId

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

MOST_WRITES: Final = 25
"""Puts in one BatchWriteItem (API reference)."""

PART_BYTES: Final = 350 * 1024
"""Payload in one row: an item may have 400 KB in all (DynamoDB quotas)."""

REQUEST_BYTES: Final = 2 * PART_BYTES
"""Payload in one request: in base64 it stays below 1 MiB, above which aiohttp warns of bodies that hold the loop."""

TEXT_BYTES: Final = 4096
"""Kept of an error's class and message each; a traceback comes cut, at its beginning."""

TRACE_BYTES: Final = 16 * 1024
"""Kept of a traceback: its end, which says where the error was raised."""

LOGGED_BYTES: Final = 256
"""Kept of an error's class in the log of attempts. With all of these, and a whole part of payload, a row is below 400 KB."""

MARK: Final = " [cut]"
"""Ends a text of which not all was kept."""

Item: TypeAlias = dict[str, Any]
"""A row in DynamoDB's own notation."""


class DeadLetterTable:
    """Implements `ports.DeadLetters` on a table with string keys `pk` and `sk`. Each request is sent once."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Durable when it returns; the same letter again writes the same rows.

        Raises Unavailable when DynamoDB left rows unprocessed: some may be durable, and a repeat writes them again.
        """
        by_key = {_key(letter.stream, letter.record): letter for letter in letters}
        await self._put(part for letter in by_key.values() for part in _parts(letter))
        await self._put(_head(letter) for letter in by_key.values())

    async def read(self, stream: str | None = None, shard: ShardId | None = None) -> AsyncIterator[DeadLetter]:
        """Every letter of the table, of a stream, or of one shard of it (then in the order of the records)."""
        by_shard = stream is not None and shard is not None
        pages = self._query(f"{stream}#{shard}") if by_shard else self._scan({"stream": stream, "shard_id": shard})
        async for items in pages:
            for item in items:
                yield _letter(item, await self._payload(item))

    async def remove(self, letters: Sequence[DeadLetter]) -> None:
        """They are gone when it returns. The head row goes first, so that no letter is left with half of its payload."""
        for letter in letters:
            pk, sk = _key(letter.stream, letter.record)
            parts = range(1, _part_count(letter.record.data) + 1)
            for key in (sk, *(_part_key(sk, number) for number in parts)):
                with translated("dynamodb", "DeleteItem"):
                    await self._client.delete_item(TableName=self._table, Key={"pk": {"S": pk}, "sk": {"S": key}})

    # --- writing ---

    async def _put(self, items: Iterable[Item]) -> None:
        for rows in _requests(items):
            await self._put_batch(rows)

    async def _put_batch(self, rows: list[Item]) -> None:
        wanted: Any = {self._table: [{"PutRequest": {"Item": row}} for row in rows]}
        with translated("dynamodb", "BatchWriteItem"):
            answer = await self._client.batch_write_item(RequestItems=wanted)
        if left := answer.get("UnprocessedItems"):
            count = sum(map(len, left.values()))
            raise Unavailable(f"dynamodb BatchWriteItem, {self._table}: {count} of {len(rows)} rows left unprocessed")

    # --- reading ---

    async def _scan(self, wanted: Mapping[str, str | None]) -> AsyncIterator[list[Item]]:
        given = {name: value for name, value in wanted.items() if value is not None}
        terms = ["attribute_not_exists(part)", *(f"#{name} = :{name}" for name in given)]
        heads: dict[str, Any] = {"FilterExpression": " AND ".join(terms)}
        if given:
            heads["ExpressionAttributeNames"] = {f"#{name}": name for name in given}
            heads["ExpressionAttributeValues"] = {f":{name}": {"S": value} for name, value in given.items()}
        scan = self._client.get_paginator("scan")
        with translated("dynamodb", "Scan"):
            async for answer in scan.paginate(TableName=self._table, ConsistentRead=True, **heads):
                yield cast("list[Item]", answer["Items"])

    async def _query(self, pk: str) -> AsyncIterator[list[Item]]:
        heads: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk",
            "FilterExpression": "attribute_not_exists(part)",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
        }
        query = self._client.get_paginator("query")
        with translated("dynamodb", "Query"):
            async for answer in query.paginate(TableName=self._table, ConsistentRead=True, **heads):
                yield cast("list[Item]", answer["Items"])

    async def _payload(self, item: Item) -> bytes:
        if "payload" in item:
            return cast("bytes", item["payload"]["B"])
        parts = [await self._part(item, number) for number in range(1, int(item["parts"]["N"]) + 1)]
        return b"".join(parts)

    async def _part(self, head: Item, number: int) -> bytes:
        key = {"pk": head["pk"], "sk": {"S": _part_key(head["sk"]["S"], number)}}
        with translated("dynamodb", "GetItem"):
            answer = await self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        if "Item" not in answer:
            raise NotFound(f"dynamodb GetItem, {self._table}: part {number} of dead letter {head['sk']['S']} is gone")
        return answer["Item"]["payload"]["B"]


# --- letters to rows ---


def _requests(items: Iterable[Item]) -> Iterator[list[Item]]:
    rows: list[Item] = []
    size = 0
    for item in items:
        weight = len(item["payload"]["B"]) if "payload" in item else 0
        if rows and (len(rows) == MOST_WRITES or size + weight > REQUEST_BYTES):
            yield rows
            rows, size = [], 0
        rows.append(item)
        size += weight
    if rows:
        yield rows


def _key(stream: str, record: Record) -> tuple[str, str]:
    position = Checkpoint.of(record)
    return f"{stream}#{record.shard_id}", position.encode()


def _part_key(sk: str, number: int) -> str:
    return f"{sk}/part-{number:04d}"


def _part_count(payload: bytes) -> int:
    return 0 if len(payload) <= PART_BYTES else -(-len(payload) // PART_BYTES)


def _parts(letter: DeadLetter) -> Iterator[Item]:
    payload = letter.record.data
    if len(payload) <= PART_BYTES:
        return
    pk, sk = _key(letter.stream, letter.record)
    for number, start in enumerate(range(0, len(payload), PART_BYTES), 1):
        yield {
            "pk": {"S": pk},
            "sk": {"S": _part_key(sk, number)},
            "part": {"N": str(number)},
            "payload": {"B": payload[start : start + PART_BYTES]},
        }


def _head(letter: DeadLetter) -> Item:
    record = letter.record
    pk, sk = _key(letter.stream, record)
    parts = _part_count(record.data)
    return {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "stream": {"S": letter.stream},
        "shard_id": {"S": record.shard_id},
        "partition_key": {"S": record.partition_key},
        "sequence_number": {"S": str(record.sequence_number)},
        "sub_sequence_number": {"N": str(record.sub_sequence_number)},
        "arrival": {"S": _iso(record.arrival)},
        "reason": {"S": letter.reason},
        "error": {"S": _cut(letter.error)},
        "message": {"S": _cut(letter.message)},
        "attempts": {"N": str(letter.attempts)},
        "buried_at": {"S": _iso(letter.buried_at)},
        "worker": {"S": letter.worker},
        "epoch": {"N": str(letter.epoch)},
        "generation": {"N": str(letter.generation)},
        "replay": {"N": str(letter.replay)},
        "stream_arn": {"S": letter.stream_arn},
        "handler": {"S": _cut(letter.handler)},
        "traceback": {"S": _end(letter.traceback)},
        "request_id": {"S": letter.request_id},
        "function_error": {"BOOL": letter.is_function_error},
        "log": {"L": [_attempt(one) for one in letter.log]},
        **({"parts": {"N": str(parts)}} if parts else {"payload": {"B": record.data}}),
    }


def _attempt(one: FailedAttempt) -> Item:
    return {
        "M": {
            "at": {"S": _iso(one.at)},
            "records": {"N": str(one.records)},
            "error": {"S": _cut(one.error, LOGGED_BYTES)},
        }
    }


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut(text: str, most: int = TEXT_BYTES) -> str:
    encoded = text.encode(errors="replace")
    if len(encoded) <= most:
        return encoded.decode()
    return encoded[: most - len(MARK)].decode(errors="ignore") + MARK


def _end(text: str) -> str:
    return text.encode(errors="replace")[-TRACE_BYTES:].decode(errors="ignore")


# --- and back ---


def _letter(item: Mapping[str, Any], payload: bytes) -> DeadLetter:
    return DeadLetter(
        stream=item["stream"]["S"],
        record=Record(
            data=payload,
            partition_key=item["partition_key"]["S"],
            sequence_number=int(item["sequence_number"]["S"]),
            arrival_s=datetime.fromisoformat(item["arrival"]["S"]).timestamp(),
            shard_id=item["shard_id"]["S"],
            sub_sequence_number=int(item["sub_sequence_number"]["N"]),
        ),
        reason=item["reason"]["S"],
        error=item["error"]["S"],
        message=item["message"]["S"],
        attempts=int(item["attempts"]["N"]),
        buried_at=datetime.fromisoformat(item["buried_at"]["S"]),
        worker=WorkerId(item["worker"]["S"]),
        epoch=int(item["epoch"]["N"]),
        generation=int(item["generation"]["N"]),
        replay=int(item["replay"]["N"]) if "replay" in item else 0,
        stream_arn=_text(item, "stream_arn"),
        handler=_text(item, "handler"),
        traceback=_text(item, "traceback"),
        request_id=_text(item, "request_id"),
        is_function_error=item.get("function_error", {"BOOL": True})["BOOL"],
        log=tuple(_attempted(one["M"]) for one in item.get("log", {"L": []})["L"]),
    )


def _text(item: Mapping[str, Any], name: str) -> str:
    """Of a row that may be older than the attribute."""
    return cast("str", item[name]["S"]) if name in item else ""


def _attempted(one: Mapping[str, Any]) -> FailedAttempt:
    return FailedAttempt(datetime.fromisoformat(one["at"]["S"]), int(one["records"]["N"]), one["error"]["S"])
