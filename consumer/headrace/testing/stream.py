"""A Kinesis stream in memory, with the service's rules and limits, in the time of an injected clock.

Sources: the Kinesis API reference (GetRecords, GetShardIterator, ListShards, SplitShard, MergeShards); the layout of
sequence numbers is the one that kinesalite found out.
"""

from __future__ import annotations

import asyncio
import hashlib
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, Literal, TypeAlias

from headrace.errors import AwsError, IteratorExpired, NotFound, Rejected
from headrace.model import (
    SHARD_END,
    AtTimestamp,
    Checkpoint,
    Page,
    Shard,
    ShardId,
    StreamDescription,
    TrimHorizon,
)
from headrace.ports import Clock
from headrace.testing.shard_log import Placed, ShardLog

HASH_KEYS: Final = 2**128
ITERATOR_LIFE_S: Final = 300.0
PAGE_RECORDS: Final = 10_000

Operation: TypeAlias = Literal["describe", "list_shards", "iterator", "get_records"]


class MemoryStream:
    """Implements `ports.Stream`; `put`, `split` and `merge` are the producer's and the operator's side.

    `enforce_limits` switches the throttling of GetRecords. `latency` gives the seconds that a call of an operation
    takes; assign a function to script it.
    """

    def __init__(
        self,
        clock: Clock,
        shards: int = 1,
        *,
        name: str = "stream",
        retention_s: float = 86_400.0,
        enforce_limits: bool = True,
    ) -> None:
        self.name = name
        self.retention_s = retention_s
        self.enforce_limits = enforce_limits
        self.latency: Callable[[Operation], float] = _at_once
        self._clock = clock
        self._created = clock.wall()
        self._logs: dict[ShardId, ShardLog] = {}
        self._open: list[ShardLog] = []
        self._failures: defaultdict[Operation, deque[AwsError]] = defaultdict(deque)
        edges = [HASH_KEYS * i // shards for i in range(shards + 1)]
        for first, end in pairwise(edges):
            self._open_shard((), first, end - 1)

    # --- the producer and the operator ---

    def put(self, partition_key: str, data: bytes, explicit_hash_key: int | None = None) -> Placed:
        """Append one record to the shard whose range holds the key's MD5, or `explicit_hash_key`."""
        hash_key = explicit_hash_key
        if hash_key is None:
            hash_key = int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest())
        position = bisect_right(self._open, hash_key, key=_first_hash_key) - 1
        return self._open[position].append(partition_key, data, self._now_s())

    def split(self, shard: ShardId, at: int | None = None) -> tuple[Shard, Shard]:
        """Close the shard and open two; `at` is the second child's first hash key, by default the middle of the range."""
        parent = self._get_open(shard)
        first, last = parent.shard.first_hash_key, parent.shard.last_hash_key
        middle = (first + last + 1) // 2 if at is None else at
        if not first < middle <= last:
            raise Rejected(f"kinesis SplitShard, {shard}: {middle} is not inside the range of the shard")
        self._close(parent)
        children = (self._open_shard((shard,), first, middle - 1), self._open_shard((shard,), middle, last))
        parent.children = children
        return children

    def merge(self, shard: ShardId, adjacent: ShardId) -> Shard:
        """Close two neighbouring shards and open one."""
        low, high = sorted((self._get_open(shard), self._get_open(adjacent)), key=_first_hash_key)
        if low.shard.last_hash_key + 1 != high.shard.first_hash_key:
            raise Rejected(f"kinesis MergeShards: {shard} and {adjacent} are not adjacent")
        self._close(low)
        self._close(high)
        child = self._open_shard((shard, adjacent), low.shard.first_hash_key, high.shard.last_hash_key)
        low.children = high.children = (child,)
        return child

    def fail_next(self, operation: Operation, error: AwsError, times: int = 1) -> None:
        """The next `times` calls of the operation raise `error`, after those already scripted."""
        self._failures[operation].extend([error] * times)

    # --- ports.Stream ---

    async def describe(self) -> StreamDescription:
        """What the stream is."""
        await self._call("describe")
        arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{self.name}"
        return StreamDescription(self.name, arn, self._created, self.retention_s, self._now_s())

    async def list_shards(self) -> list[Shard]:
        """Open shards, and closed ones that may still hold records."""
        await self._call("list_shards")
        return [log.shard for log in self._logs.values() if not self._expired(log)]

    async def iterator(self, shard: ShardId, after: Checkpoint | TrimHorizon | AtTimestamp) -> str:
        """The iterator's text holds all there is to know: shard, number read last, instant of issue."""
        await self._call("iterator")
        log = self._get(shard)
        log.trim(self._horizon_s())
        return self._issue(shard, self._position(log, after))

    async def get_records(self, iterator: str, limit: int, shard: ShardId) -> Page:
        """One page. Raises also Rejected for an iterator or a limit that the service would not take."""
        await self._call("get_records")
        now = self._clock.now()
        log, after = self._redeem(iterator, shard, now)
        if not 1 <= limit <= PAGE_RECORDS:
            raise Rejected(f"kinesis GetRecords, {shard}: a limit of {limit} is not between 1 and {PAGE_RECORDS}")
        if self.enforce_limits:
            log.admit(now)
        log.trim(self._horizon_s())
        page = self._page(log, after, limit)
        if self.enforce_limits:
            log.served(now, page.size)
        return page

    # --- for a subscription ---

    def position(self, shard: ShardId, after: Checkpoint | TrimHorizon | AtTimestamp) -> int:
        """The number of the last record before a subscription that starts there; 0 if there is none."""
        return self._position(self._get(shard), after)

    def event(self, shard: ShardId, after: int) -> Page:
        """What a subscription is sent behind the number `after`, without the limits of GetRecords."""
        log = self._get(shard)
        log.trim(self._horizon_s())
        page = self._page(log, after, PAGE_RECORDS)
        if page.next_iterator is None:
            return page
        tip = max(after, log.number(log.appended, int(self._now_s())))
        reached = page.records[-1].sequence_number if page.records else tip
        return replace(page, continuation=reached)

    def _page(self, log: ShardLog, after: int, limit: int) -> Page:
        records, size, following = log.cut(after, limit)
        ended = following is None and log.closed_at_s is not None
        last = records[-1].sequence_number if records else after
        return Page(
            records=records,
            next_iterator=None if ended else self._issue(log.shard.shard_id, last),
            behind_s=0.0 if following is None else max(0.0, self._now_s() - following.arrival_s),
            size=size,
            children=log.children if ended else (),
        )

    # --- iterators ---

    def _position(self, log: ShardLog, after: Checkpoint | TrimHorizon | AtTimestamp) -> int:
        match after:
            case AtTimestamp(instant):
                return self._position_at(log, instant.timestamp())
            case Checkpoint(rank=0, sequence_number=number, sub_sequence_number=sub):
                if not log.owns(number):
                    raise Rejected(f"kinesis GetShardIterator, {log.shard.shard_id}: {number} is of another shard")
                return number if sub < 0 else number - 1
            case _ if after == SHARD_END:
                raise ValueError("there is nothing to read behind the end of a shard")
            case _:
                return 0

    def _position_at(self, log: ShardLog, instant_s: float) -> int:
        if instant_s > self._now_s():
            raise Rejected(f"kinesis GetShardIterator, {log.shard.shard_id}: the timestamp is in the future")
        return log.number_before(instant_s)

    def _issue(self, shard: ShardId, after: int) -> str:
        return f"{shard}|{after}|{self._clock.now()!r}"

    def _redeem(self, iterator: str, shard: ShardId, now: float) -> tuple[ShardLog, int]:
        of, _, rest = iterator.partition("|")
        after, _, issued = rest.partition("|")
        if of != shard or not issued:
            raise Rejected(f"kinesis GetRecords, {shard}: the iterator is not one of this shard")
        if now - float(issued) > ITERATOR_LIFE_S:
            raise IteratorExpired(f"kinesis GetRecords, {shard}: the iterator is older than 5 minutes")
        return self._get(shard), int(after)

    # --- shards ---

    def _open_shard(self, parents: tuple[ShardId, ...], first: int, last: int) -> Shard:
        index = len(self._logs)
        youngest = max((self._logs[parent].created_s for parent in parents), default=-1)
        shard = Shard(ShardId(f"shardId-{index:012d}"), parents, first, last)
        log = ShardLog(shard, index, max(int(self._now_s()), youngest + 1))
        self._logs[shard.shard_id] = log
        self._open = sorted([*self._open, log], key=_first_hash_key)
        return shard

    def _close(self, log: ShardLog) -> None:
        log.closed_at_s = self._now_s()
        self._open.remove(log)

    def _get(self, shard: ShardId) -> ShardLog:
        log = self._logs.get(shard)
        if log is None or self._expired(log):
            raise NotFound(f"kinesis: stream {self.name} has no shard {shard}")
        return log

    def _get_open(self, shard: ShardId) -> ShardLog:
        log = self._get(shard)
        if log.closed_at_s is not None:
            raise Rejected(f"kinesis: {shard} is closed")
        return log

    def _expired(self, log: ShardLog) -> bool:
        return log.closed_at_s is not None and log.closed_at_s < self._horizon_s()

    def _horizon_s(self) -> float:
        return self._now_s() - self.retention_s

    def _now_s(self) -> float:
        return (self._clock.wall() - _EPOCH).total_seconds()

    async def _call(self, operation: Operation) -> None:
        await asyncio.sleep(self.latency(operation))
        if self._failures[operation]:
            raise self._failures[operation].popleft()


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _at_once(_operation: Operation) -> float:
    return 0.0


def _first_hash_key(log: ShardLog) -> int:
    return log.shard.first_hash_key
