"""The end of a record: settled or buried, its memory given back, the tracker told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from headrace.core.tracker import Span, Tracker
from headrace.flow.budget import RECORD_OVERHEAD
from headrace.flow.delivery.burial import Burial, Cause
from headrace.flow.delivery.consignment import Waiting
from headrace.model import Checkpoint, Record, ShardId
from headrace.ports import Observer


class Settlement:
    """Of the records of one shard that are settled one by one; `let_go` gets their bytes."""

    def __init__(
        self, shard: ShardId, tracker: Tracker, burial: Burial, observer: Observer, let_go: Callable[[int], None]
    ) -> None:
        self.moved = asyncio.Event()
        """Set when records were settled."""
        self.parked = burial.parked
        self._shard = shard
        self._tracker = tracker
        self._burial = burial
        self._observer = observer
        self._let_go = let_go

    @property
    def mark(self) -> Checkpoint:
        """Everything up to here is settled or buried."""
        return self._tracker.mark

    def admit(self, records: Sequence[Record]) -> Span:
        """Take in the next records of the shard."""
        return self._tracker.admit(records)

    def settle(self, records: Sequence[Waiting]) -> None:
        """Their effects are durable."""
        oldest = records[0].span.oldest_open_arrival_s
        self._done(records)
        self._observer.records_settled(self._shard, len(records), oldest)

    def leave_out(self, records: Sequence[Waiting]) -> None:
        """No filter matched them."""
        self._done(records)

    async def bury(self, records: Sequence[Waiting], causes: Mapping[int, Cause]) -> None:
        """Store dead letters, then settle; causes by index in `records`. Raises LeaseLost."""
        await self._burial.bury({index: records[index].record for index in causes}, causes)
        self._done([records[index] for index in causes])

    def tell_failure(self, record: Record, error: BaseException, attempts: int, delay_s: float) -> None:
        """An attempt failed, and another one will follow."""
        self._observer.record_retried(self._shard)
        self._burial.tell_failure(record, error, attempts, delay_s)

    def tell_failed_call(self, first: Record, records: int, error: str, attempts: int, delay_s: float) -> None:
        """A call of a batch handler failed, and another one will follow."""
        self._observer.record_retried(self._shard)
        self._burial.tell_failed_call(first, records, error, attempts, delay_s)

    def _done(self, records: Sequence[Waiting]) -> None:
        for one in records:
            self._tracker.settle(one.span, one.index)
        self._let_go(sum(len(one.record.data) for one in records) + RECORD_OVERHEAD * len(records))
        self.moved.set()
