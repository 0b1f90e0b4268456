"""BatchWriteItem behind the channel's seam: DynamoDB's rules for a request, and trouble that a test scripts."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from headrace.errors import LeaseLost, Rejected

TABLE = "things"

Trouble = Exception | Callable[[list[str]], list[str]]
"""Raised for the whole request, or told the keys and says which to leave unprocessed."""


@dataclass
class FakeDynamo:
    """Implements `Poster`. Items and keys are told apart by the text of their key `pk`, in every table."""

    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    requests: list[list[str]] = field(default_factory=list)
    """The keys of each request that was sent."""
    applied: list[tuple[str, dict[str, Any] | None]] = field(default_factory=list)
    """Every put and (None) delete, in the order it took effect."""
    script: deque[Trouble] = field(default_factory=deque)
    latency_s: Callable[[], float] = lambda: 0.005
    refuses: Callable[[dict[str, Any]], bool] = lambda _: False
    on_send: Callable[[list[str]], None] = lambda _: None
    under_way: int = 0
    most_under_way: int = 0
    foreign: bool = False
    """Say of a key that was never sent that it is unprocessed."""

    async def post(self, target: str, body: bytes, permit: Callable[[], bool]) -> bytes:
        if not permit():
            raise LeaseLost
        assert target == "DynamoDB_20120810.BatchWriteItem"
        writes = [(table, write) for table, several in json.loads(body)["RequestItems"].items() for write in several]
        keys = [key_of(write) for _, write in writes]
        self.requests.append(keys)
        self.on_send(keys)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.latency_s())
            return self._answer(writes, keys)
        finally:
            self.under_way -= 1

    def _answer(self, writes: list[tuple[str, dict]], keys: list[str]) -> bytes:
        trouble = self.script.popleft() if self.script else None
        if isinstance(trouble, Exception):
            raise trouble
        if len(writes) > 25 or len({(table, key_of(write)) for table, write in writes}) < len(writes):
            raise Rejected("too many writes, or a key twice")
        if any(self.refuses(write.get("PutRequest", {}).get("Item", {})) for _, write in writes):
            raise Rejected("One or more parameter values were invalid")
        left = set(trouble(keys)) if trouble else set()
        unprocessed: dict[str, list[dict]] = {}
        for table, write in writes:
            if key_of(write) in left:
                unprocessed.setdefault(table, []).append(write)
            else:
                self._apply(table, write)
        if self.foreign:
            self.foreign = False
            unprocessed.setdefault(TABLE, []).append({"DeleteRequest": {"Key": {"pk": {"S": "never sent"}}}})
        return json.dumps({"UnprocessedItems": unprocessed}).encode()

    def _apply(self, table: str, write: dict) -> None:
        item = write["PutRequest"]["Item"] if "PutRequest" in write else None
        self.applied.append((key_of(write), item))
        if item is None:
            self.items.pop((table, key_of(write)), None)
        else:
            self.items[table, key_of(write)] = item


def key_of(write: dict) -> str:
    inside = write["PutRequest"]["Item"] if "PutRequest" in write else write["DeleteRequest"]["Key"]
    ((_, text),) = inside["pk"].items()
    return text


@dataclass
class FakeClient:
    """The one ordinary call that the sink makes."""

    status: str = "ACTIVE"
    keys: tuple[tuple[str, str, str], ...] = (("pk", "HASH", "S"),)
    failures: deque[str] = field(default_factory=deque)
    asked: list[str] = field(default_factory=list)

    async def describe_table(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        self.asked.append(TableName)
        if self.failures:
            problem = {"Code": self.failures.popleft(), "Message": f"about {TableName}"}
            raise ClientError({"Error": problem, "ResponseMetadata": {"HTTPStatusCode": 400}}, "DescribeTable")
        return {
            "Table": {
                "TableStatus": self.status,
                "KeySchema": [{"AttributeName": name, "KeyType": role} for name, role, _ in reversed(self.keys)],
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, _, kind in self.keys],
            }
        }
