"""Delivery of one shard: handler, sink, retries and dead letters, until every record is settled or buried.

A batch goes through the handler in shard order and its writes go to the sink together; while they are on their way the
next batch is handled. A record that fails parks its partition key: it is tried again after a backoff, later records of
the key wait behind it in order, and all other keys go on. What is out of attempts is buried, and only when its dead
letter is durable does the tracker let the checkpoint pass.

On the good path nothing is done per record but the call of the handler itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, assert_never

import msgspec

from headrace.core.effects import effects_of
from headrace.core.parking import Parking
from headrace.core.tracker import Tracker
from headrace.core.verdict import (
    Bury,
    RetryAfter,
    judge,
    too_old,
)
from headrace.flow.blame import failure_of, is_meant_for_us
from headrace.flow.budget import RECORD_OVERHEAD
from headrace.flow.bury import Burial, Cause
from headrace.flow.consignment import Consignment, Waiting, Writes
from headrace.flow.sieve import Sieve
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import Effect, Instant, Put, Record
from headrace.ports import Handler, Refusal
from headrace.tasks import TaskGroup

SUBMISSIONS: Final = 16
"""Batches of one shard on their way to the sink at once."""

ASYNC_CALLS: Final = 64
"""Calls of an `async def` handler under way at once in a shard; those of one key follow each other."""

TURN_S: Final = 0.02
"""How long a plain handler may hold the loop with one record after the other: heartbeats and other shards wait."""

LONGEST_STRIDE: Final = 256
"""Records between two looks at the clock when the handler is fast."""


class Delivery:
    """Takes batches in and tells `tracker` what became of every record; `let_go` gets the bytes of settled ones."""

    def __init__(
        self,
        term: Term,
        place: Workplace,
        tracker: Tracker,
        burial: Burial,
        let_go: Callable[[int], None],
        handler: Handler,
    ) -> None:
        self.parking: Parking[Waiting] = Parking()
        self.moved = asyncio.Event()
        """Set when records were settled."""
        self._term = term
        self._ports = place.ports
        self._handler = handler
        self._rules = place.rules.retry
        self._sieve = Sieve(term.lease.shard_id, place)
        self._tracker = tracker
        self._burial = burial
        self._in_flight = place.in_flight
        self._let_go = let_go
        self._submissions: asyncio.Queue[Consignment] = asyncio.Queue(SUBMISSIONS)
        self._answers: set[asyncio.Future[Mapping[int, Refusal]]] = set()

    # --- handle --------------------------------------------------------------------------------------------------------

    async def deliver(self, records: Sequence[Record]) -> None:
        """Hand a batch to the handler and its writes to the sink. Raises LeaseLost."""
        await self._in_flight.reserve(len(records), self._has_writes_under_way)
        self._term.insist()
        submission = Consignment(self._tracker.admit(records), dict(enumerate(records)))
        started = self._ports.clock.now()
        sifted = self._sieve.sift(submission.records)
        submission.causes.update(sifted.causes)
        submission.left_out = sifted.left_out
        handle = self._call_async if self._handler.is_async else self._call
        try:
            writes = await handle(submission)
        finally:
            self._in_flight.release(len(records))
        self._ports.observer.batch_handled(len(records), self._ports.clock.now() - started)
        await self._submit(submission, writes)

    async def _call(self, submission: Consignment) -> Writes:
        writes: Writes = []
        call, parking, uncalled = self._handler.call, self.parking, submission.uncalled
        now, looked, look_at = self._ports.clock.now(), 0, 1
        for count, (index, record) in enumerate(list(submission.records.items())):
            if count == look_at:
                stride = await self._take_turns(now, count - looked)
                now, looked, look_at = self._ports.clock.now(), count, count + stride
            if uncalled and index in uncalled:
                continue
            if parking.waiting and record.partition_key in parking:
                self._follow(submission, index)
                continue
            try:
                answer = call(record)
                if type(answer) is Put and type(answer.item) is dict and answer.table is None:
                    writes.append((index, answer))
                else:
                    writes.extend([(index, effect) for effect in effects_of(answer)])
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever user code raises is this record's failure
                self._failed(submission, Waiting(submission.span, index, record), error)
        return writes

    async def _take_turns(self, since: Instant, records: int) -> int:
        """Give the loop a turn if it was held for long; returns after how many records to look again."""
        took_s = self._ports.clock.now() - since
        if took_s >= TURN_S:
            await asyncio.sleep(0)
            self._term.insist()
        return max(1, min(LONGEST_STRIDE, int(TURN_S * records / max(took_s, 1e-6))))

    async def _call_async(self, submission: Consignment) -> Writes:
        lanes: dict[str, list[int]] = {}
        uncalled = submission.uncalled
        for index, record in submission.records.items():
            if index not in uncalled:
                lanes.setdefault(record.partition_key, []).append(index)
        writes: Writes = []
        queue = iter(lanes.values())

        async def work() -> None:
            for lane in queue:
                for index in lane:
                    await self._call_next(submission, index, writes)

        async with TaskGroup() as calls:
            for number in range(min(ASYNC_CALLS, len(lanes))):
                calls.create_task(work(), name=f"{self._term.lease.shard_id}-call-{number}")
        return sorted(writes, key=_index)

    async def _call_next(self, submission: Consignment, index: int, writes: Writes) -> None:
        self._term.insist()
        record = submission.records[index]
        if record.partition_key in self.parking:
            self._follow(submission, index)
        else:
            writes.extend(await self._called(submission, Waiting(submission.span, index, record)))

    # --- fail and try again --------------------------------------------------------------------------------------------

    async def retry(self, now: Instant) -> bool:
        """Try one parked record that is due, and after it those that waited behind it; False when none is due."""
        key = self.parking.take_due(now)
        if key is None:
            return False
        while key in self.parking:
            self._term.insist()
            waiting = self.parking.head(key)
            submission = Consignment(waiting.span, {waiting.index: waiting.record})
            writes = await self._attempt(submission, waiting)
            if not submission.records:
                break
            self.parking.advance(key)
            await self._submit(submission, writes)
        return True

    async def _attempt(self, submission: Consignment, waiting: Waiting) -> Writes:
        if too_old(waiting.record, self._wall_s(), self._rules):
            submission.causes[waiting.index] = Cause.too_old(waiting.attempts)
            return []
        submission.records[waiting.index] = msgspec.structs.replace(waiting.record, attempt=waiting.attempts + 1)
        return await self._called(submission, waiting)

    async def _called(self, submission: Consignment, waiting: Waiting) -> Writes:
        """Call the handler with one record; what `_call` does inline for the sake of speed."""
        try:
            answer: Any = self._handler.call(submission.records[waiting.index])
            if self._handler.is_async:
                answer = await answer
            return [(waiting.index, effect) for effect in effects_of(answer)]
        except BaseException as error:
            if is_meant_for_us(error):
                raise
            self._failed(submission, waiting, error)
            return []

    def _failed(self, submission: Consignment, waiting: Waiting, error: BaseException) -> None:
        attempts = waiting.attempts + 1
        match judge(failure_of(error), attempts, self._rules, self._ports.chance()):
            case RetryAfter(delay_s):
                later = Waiting(waiting.span, waiting.index, waiting.record, attempts)
                self._park(later, Instant(self._ports.clock.now() + delay_s))
                del submission.records[waiting.index]
                self._ports.observer.record_retried(self._term.lease.shard_id)
                self._burial.tell_failure(waiting.record, error, attempts, delay_s)
            case Bury(reason):
                submission.causes[waiting.index] = Cause.raised(error, reason, attempts)
            case verdict:
                assert_never(verdict)

    def _park(self, waiting: Waiting, due: Instant) -> None:
        key = waiting.record.partition_key
        if key in self.parking:
            self.parking.postpone(key, waiting, due)
        else:
            self.parking.park(key, waiting, due)

    def _follow(self, submission: Consignment, index: int) -> None:
        record = submission.records.pop(index)
        self.parking.follow(record.partition_key, Waiting(submission.span, index, record))

    # --- settle --------------------------------------------------------------------------------------------------------

    async def _submit(self, submission: Consignment, writes: Writes) -> None:
        if writes:
            self._term.insist()
            submission.answer = self._ports.sink.submit(writes, self._term.permits)
            self._answers.add(submission.answer)
            self._in_flight.release(-len(writes))
            submission.answer.add_done_callback(partial(self._answered, len(writes)))
        if submission.records:
            await self._submissions.put(submission)

    def _answered(self, writes: int, answer: asyncio.Future[Mapping[int, Refusal]]) -> None:
        self._answers.discard(answer)
        self._in_flight.release(writes)

    def _has_writes_under_way(self) -> bool:
        return bool(self._answers)

    async def settle(self) -> None:
        """Settle submissions in their order, for ever. Raises LeaseLost."""
        while True:
            await self.settle_next()

    async def settle_next(self) -> None:
        """Wait until the oldest submission is durable, bury what has to be, and settle it."""
        submission = await self._submissions.get()
        refusals = await submission.answer if submission.answer is not None else {}
        for index, refusal in refusals.items():
            submission.causes[index] = Cause.refused(refusal, submission.records[index].attempt)
        if submission.causes:
            await self._burial.bury(submission.records, submission.causes)
        self._settled(submission)
        self._submissions.task_done()

    async def all_settled(self) -> None:
        """Wait until every submission is settled."""
        await self._submissions.join()

    def abandon(self) -> None:
        """Let go of whatever is still on its way: nobody will settle it here."""
        for answer in list(self._answers):
            answer.cancel()

    def _settled(self, submission: Consignment) -> None:
        span, records = submission.span, submission.records
        oldest = span.oldest_open_arrival_s
        if len(records) == span.size:
            self._tracker.settle_all(span)
        else:
            for index in records:
                self._tracker.settle(span, index)
        good = len(records) - len(submission.causes) - len(submission.left_out)
        if good:
            self._ports.observer.records_settled(self._term.lease.shard_id, good, oldest)
        self._let_go(sum(len(record.data) for record in records.values()) + RECORD_OVERHEAD * len(records))
        self.moved.set()

    def _wall_s(self) -> float:
        return self._ports.clock.wall().timestamp()


def _index(write: tuple[int, Effect]) -> int:
    return write[0]
