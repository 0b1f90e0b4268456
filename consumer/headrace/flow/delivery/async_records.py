"""Delivery of one shard to an `async def` record handler: each partition key goes its own way.

The records of a key are handled one after the other; when one fails it is tried again after a backoff while the later
ones of its key wait behind it. All keys go on at once, within a number of calls, so that a slow key delays itself alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final, assert_never

import msgspec

from headrace.core.batching import Batcher
from headrace.core.effects import effects_of
from headrace.core.verdict import Bury, RetryAfter, judge, too_old
from headrace.flow.delivery.burial import Cause
from headrace.flow.delivery.consignment import Waiting
from headrace.flow.delivery.open_records import OpenRecord, Wanted, of_queue, waiting
from headrace.flow.delivery.outbox import Outgoing
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.delivery.sieve import Sieve
from headrace.flow.handler_errors import failure_of, let_through
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import FailedAttempt, Instant, Record
from headrace.ports import Handler
from headrace.tasks import TaskGroup, is_set_within

CALLS: Final = 64
"""Calls under way at once in a shard."""

KEYS: Final = 1024
"""Partition keys of a shard with work at once; past that no further batch begins."""


class AsyncDelivery:
    """Implements `delivery.Delivery`; `wake` is set when more may be due."""

    def __init__(
        self,
        term: Term,
        place: Workplace,
        settlement: Settlement,
        outbox: Outgoing,
        wake: asyncio.Event,
        handler: Handler,
    ) -> None:
        self.moved = settlement.moved
        self._term = term
        self._ports = place.ports
        self._rules = place.rules.retry
        self._sieve = Sieve(term.lease, place)
        self._settlement = settlement
        self._parked = settlement.parked
        self._outbox = outbox
        self._wake = wake
        self._handler = handler
        self._batcher = Batcher(place.rules.batch)
        self._keys: dict[str, deque[Waiting]] = {}
        """By partition key: the record that is being handled, and those that wait behind it. Never empty."""
        self._calls = asyncio.Semaphore(CALLS)
        self._tasks = TaskGroup()
        self._working: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def resume(self) -> None:
        """Nothing is kept beside the checkpoint."""

    @property
    def kept(self) -> None:
        """Likewise."""
        return None

    @property
    def waiting(self) -> int:
        """Records that are in no batch yet."""
        return self._batcher.waiting

    @property
    def retrying(self) -> int:
        """Records of keys whose first record failed."""
        return sum(len(queue) for queue in self._keys.values() if queue[0].attempts)

    @property
    def oldest_waiting_arrival_s(self) -> float | None:
        """Of those in no batch yet."""
        return self._batcher.oldest_arrival_s

    @property
    def is_idle(self) -> bool:
        """Every record was handled."""
        return not self._batcher.waiting and not self._keys

    def find(self, wanted: Wanted) -> Iterator[OpenRecord]:
        """Of keys at work, or in no batch yet."""
        for queue in self._keys.values():
            yield from of_queue(queue, wanted)
        yield from waiting(self._batcher, wanted)

    def take_in(self, records: list[Record]) -> None:
        """The records of a page."""
        self._batcher.add(records, self._ports.clock.now())

    def next_due(self) -> Instant | None:
        """When a batch is complete; none begins while too many keys are at work."""
        return None if len(self._keys) >= KEYS or self._closing.is_set() else self._batcher.due_at()

    async def deliver_due(self, now: Instant, *, ended: bool) -> bool:
        """Begin to handle the next batch. Raises LeaseLost."""
        due = self.next_due()
        if due is None or (due > now and not ended):
            return False
        self._term.insist()
        records = self._batcher.take()
        span = self._settlement.admit(records)
        batch = [Waiting(span, index, record) for index, record in enumerate(records)]
        sifted = self._sieve.filter(dict(enumerate(records)))
        if sifted.left_out:
            self._settlement.leave_out([batch[index] for index in sorted(sifted.left_out)])
        self._outbox.expect(one for one in batch if one.index not in sifted.left_out)
        for one in batch:
            if one.index in sifted.causes:
                self._outbox.give_up(one, sifted.causes[one.index])
            elif one.index not in sifted.left_out:
                self._enqueue(one)
        return True

    # --- one key -------------------------------------------------------------------------------------------------------

    def _enqueue(self, one: Waiting) -> None:
        key = one.record.partition_key
        if key in self._keys:
            self._keys[key].append(one)
        else:
            self._keys[key] = deque([one])
            task = self._tasks.create_task(self._work_off(key), name=f"{self._term.lease.shard_id}-key")
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _work_off(self, key: str) -> None:
        """Handle the records of a key in their order until none is left, or a stop was asked for."""
        queue = self._keys[key]
        try:
            while queue and not self._closing.is_set():
                delay_s = await self._attempt(queue)
                if delay_s:
                    await is_set_within(self._closing, delay_s)
        except BaseException:
            self._closing.set()
            raise
        if not queue:
            del self._keys[key]
            self._wake.set()

    async def _attempt(self, queue: deque[Waiting]) -> float:
        """One attempt with the first record; how long to wait before the next one."""
        first = queue[0]
        async with self._calls:
            if self._closing.is_set():
                return 0.0
            if too_old(first.record, self._ports.clock.wall().timestamp(), self._rules):
                self._outbox.give_up(queue.popleft(), Cause.too_old(first.attempts))
                return 0.0
            if self._parked.keys and await self._parked.holds(first.record):
                self._outbox.give_up(queue.popleft(), Cause.key_parked())
                return 0.0
            self._term.insist()
            record = (
                msgspec.structs.replace(first.record, attempt=first.attempts + 1) if first.attempts else first.record
            )
            return await self._handle(queue, record)

    async def _handle(self, queue: deque[Waiting], record: Record) -> float:
        started = self._ports.clock.now()
        try:
            writes = [(0, effect) for effect in effects_of(await self._handler.call(record))]
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is its failure
            let_through(error)
            return self._failed(queue, error)
        self._ports.observer.batch_handled(1, self._ports.clock.now() - started)
        await self._outbox.send(queue[0], writes)
        queue.popleft()
        return 0.0

    def _failed(self, queue: deque[Waiting], error: BaseException) -> float:
        failed = queue[0].failed(FailedAttempt(self._ports.clock.wall(), 1, type(error).__name__))
        match judge(failure_of(error), failed.attempts, self._rules, self._ports.chance()):
            case RetryAfter(delay_s):
                queue[0] = failed
                self._settlement.tell_failure(failed.record, error, failed.attempts, delay_s)
                return delay_s
            case Bury(reason):
                self._parked.begin(failed.record)
                cause = Cause.raised(error, reason, failed.log, failed.attempts)
                self._outbox.give_up(queue.popleft(), cause)
                return 0.0
            case verdict:
                assert_never(verdict)

    # --- settle --------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Work off the keys and bury what has to be, for ever. Raises LeaseLost."""
        async with self._tasks:
            await self._outbox.run()

    async def all_settled(self) -> None:
        """Begin no call any more, and wait until those under way are settled."""
        self._closing.set()
        while self._working:
            await asyncio.wait(self._working)
        await self._outbox.emptied()

    def abandon(self) -> None:
        """Nobody will settle here what is still on its way."""
        self._outbox.abandon()
