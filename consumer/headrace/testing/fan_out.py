"""Enhanced fan-out over a stream in memory: subscriptions that end, fall silent, and are taken over as the service's are."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from headrace.errors import AwsError, SubscriptionTaken, Unavailable
from headrace.model import AtTimestamp, Checkpoint, Page, ShardId, TrimHorizon
from headrace.ports import Clock
from headrace.testing.stream import MemoryStream

LIFE_S: Final = 300.0
EXCLUSIVE_S: Final = 5.0
"""SubscribeToShard, API reference: 5 minutes long, and nobody else within 5 s of its start."""

EVERY_S: Final = 5.0
"""An empty event comes about so often."""

SILENCE_S: Final = 10.0


class MemoryFanOut:
    """Implements `ports.FanOut`.

    Switch `silent` on for subscriptions to which no event comes any more, `is_open` off for a consumer that is not there yet.
    `subscribed` has (shard, instant) of each success, `open` the shards that are subscribed to now.
    """

    def __init__(self, stream: MemoryStream, clock: Clock, *, every_s: float = 0.1, life_s: float = LIFE_S) -> None:
        self.is_open = True
        self.silent = False
        self.subscribed: list[tuple[ShardId, float]] = []
        self.open: set[ShardId] = set()
        self._stream = stream
        self._clock = clock
        self._every_s = every_s
        self._life_s = life_s
        self._turns: dict[ShardId, int] = {}
        self._since: dict[ShardId, float] = {}
        self._failures: deque[AwsError] = deque()

    def fail_next(self, error: AwsError, times: int = 1) -> None:
        """The next `times` calls raise `error`."""
        self._failures.extend([error] * times)

    @asynccontextmanager
    async def subscribe(
        self, shard: ShardId, after: Checkpoint | TrimHorizon | AtTimestamp
    ) -> AsyncIterator[AsyncIterator[Page]]:
        """A subscription, taken over from whoever has held it for 5 s."""
        if self._failures:
            raise self._failures.popleft()
        now = self._clock.now()
        if now - self._since.get(shard, -EXCLUSIVE_S) < EXCLUSIVE_S:
            raise SubscriptionTaken(f"kinesis SubscribeToShard, {shard}: subscribed to less than 5 s ago")
        position = self._stream.position(shard, after)
        turn = self._turns[shard] = self._turns.get(shard, 0) + 1
        self._since[shard] = now
        self.subscribed.append((shard, now))
        self.open.add(shard)
        pages = self._pages(shard, position, turn)
        try:
            yield pages
        finally:
            await pages.aclose()
            if self._turns[shard] == turn:
                self.open.discard(shard)

    async def _pages(self, shard: ShardId, position: int, turn: int) -> AsyncGenerator[Page, None]:
        last = self._clock.now()
        ends = last + self._life_s
        while (now := self._clock.now()) < ends:
            if self._turns[shard] != turn:
                raise SubscriptionTaken(f"kinesis SubscribeToShard, {shard}: taken over")
            page = self._stream.event(shard, position)
            ended = page.next_iterator is None
            if not self.silent and (page.records or ended or now - last >= EVERY_S):
                last = now
                yield page
                if page.continuation is None:
                    return
                position = page.continuation
            elif now - last >= SILENCE_S:
                raise Unavailable(f"kinesis SubscribeToShard, {shard}: silent for {SILENCE_S:g} s")
            await asyncio.sleep(self._every_s)
