"""Delivery of one shard to a plain record handler: call, sink, retries and dead letters, until all is settled or buried.

A batch goes through the handler in shard order and its writes go to the sink together; while they are on their way the
next batch is handled. A record that fails parks its partition key: it is tried again after a backoff, later records of
the key wait behind it in order, and all other keys go on. What is out of attempts is buried, and only when its dead
letter is durable does the tracker let the checkpoint pass.

On the good path nothing is done per record but the call of the handler itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, assert_never

import msgspec

from headrace.core.batching import Batcher
from headrace.core.effects import effects_of
from headrace.core.parking import Parking
from headrace.core.rendered_items import RenderedItem, RenderedValues
from headrace.core.tracker import Span, Tracker
from headrace.core.verdict import (
    Bury,
    RetryAfter,
    judge,
    too_old,
)
from headrace.flow.budget import RECORD_OVERHEAD
from headrace.flow.delivery.burial import Burial, Cause
from headrace.flow.delivery.consignment import Consignment, Waiting, Writes
from headrace.flow.delivery.open_records import OpenRecord, Wanted, of_queue, waiting
from headrace.flow.delivery.sieve import Sieve
from headrace.flow.delivery.turns import take_turns
from headrace.flow.handler_errors import failure_of
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import FailedAttempt, Instant, Record
from headrace.operations import Put
from headrace.ports import Handler, Refusal

SUBMISSIONS: Final = 16
"""Batches of one shard on their way to the sink at once."""

PLAIN: Final = (dict, RenderedItem, RenderedValues)
"""Items that need no second look."""


class RecordDelivery:
    """Implements `delivery.Delivery`: tells `tracker` what became of every record; `let_go` gets the bytes of settled ones."""

    def __init__(
        self,
        term: Term,
        place: Workplace,
        tracker: Tracker,
        burial: Burial,
        let_go: Callable[[int], None],
        handler: Handler,
    ) -> None:
        self.moved = asyncio.Event()
        self._batcher = Batcher(place.rules.batch)
        self._parking: Parking[Waiting] = Parking()
        self._term = term
        self._ports = place.ports
        self._handler = handler
        self._rules = place.rules.retry
        self._sieve = Sieve(term.lease, place)
        self._tracker = tracker
        self._burial = burial
        self._parked = burial.parked
        self._in_flight = place.in_flight
        self._let_go = let_go
        self._submissions: asyncio.Queue[Consignment] = asyncio.Queue(SUBMISSIONS)
        self._answers: set[asyncio.Future[Mapping[int, Refusal]]] = set()

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
        """Records whose key is parked."""
        return self._parking.waiting

    @property
    def oldest_waiting_arrival_s(self) -> float | None:
        """Of those in no batch yet."""
        return self._batcher.oldest_arrival_s

    @property
    def is_idle(self) -> bool:
        """Nothing waits for the handler."""
        return not self._batcher.waiting and not len(self._parking)

    def find(self, wanted: Wanted) -> Iterator[OpenRecord]:
        """Parked, or in no batch yet."""
        now = self._ports.clock.now()
        for queue, due in self._parking.queues():
            yield from of_queue(queue, wanted, None if due is None else due - now)
        yield from waiting(self._batcher, wanted)

    def take_in(self, records: list[Record]) -> None:
        """The records of a page."""
        self._batcher.add(records, self._ports.clock.now())

    def next_due(self) -> Instant | None:
        """When a batch is complete, or a parked key may be tried."""
        return min((due for due in (self._batcher.due_at(), self._parking.next_due()) if due is not None), default=None)

    async def deliver_due(self, now: Instant, *, ended: bool) -> bool:
        """Try what is parked and due, else deliver the next batch. Raises LeaseLost."""
        if await self._retry(now):
            return True
        due = self._batcher.due_at()
        if due is None or (due > now and not ended):
            return False
        await self._deliver(self._batcher.take())
        return True

    # --- handle --------------------------------------------------------------------------------------------------------

    async def _deliver(self, records: Sequence[Record]) -> None:
        """Hand a batch to the handler and its writes to the sink."""
        await self._in_flight.reserve(len(records), self._has_writes_under_way)
        try:
            self._term.insist()
            submission = self._consign(self._tracker.admit(records), dict(enumerate(records)))
            started = self._ports.clock.now()
            sifted = self._sieve.sift(submission.records)
            submission.causes.update(sifted.causes)
            submission.left_out = sifted.left_out
            if self._parked.keys:
                await self._hold(submission)
            writes = await self._call(submission)
        finally:
            self._in_flight.release(len(records))
        self._ports.observer.batch_handled(len(records), self._ports.clock.now() - started)
        await self._submit(submission, writes)

    def _consign(self, span: Span, records: dict[int, Record]) -> Consignment:
        return Consignment(span, records, self._term.lease.generation)

    async def _hold(self, submission: Consignment) -> None:
        """Records of parked keys follow those that were buried before them."""
        uncalled = submission.uncalled
        called = {index: record for index, record in submission.records.items() if index not in uncalled}
        submission.causes.update(dict.fromkeys(sorted(await self._parked.held_of(called)), Cause.key_parked()))

    async def _call(self, submission: Consignment) -> Writes:
        writes: Writes = []
        call, parking, uncalled = self._handler.call, self._parking, submission.uncalled
        parked = self._parked.keys if self._parked.is_wanted else None
        now, looked, look_at = self._ports.clock.now(), 0, 1
        for count, (index, record) in enumerate(list(submission.records.items())):
            if count == look_at:
                stride = await take_turns(self._ports.clock, self._term, now, count - looked)
                now, looked, look_at = self._ports.clock.now(), count, count + stride
            waits = parking.waiting and record.partition_key in parking
            if uncalled and index in uncalled and not (waits and submission.is_asked_again(index)):
                continue
            if waits:
                self._follow(submission, index)
                continue
            if parked and record.partition_key in parked:
                self._parked.begin(record)
                submission.causes[index] = Cause.key_parked()
                continue
            try:
                answer = call(record)
                if type(answer) is Put and type(answer.item) in PLAIN and answer.table is None:
                    writes.append((index, answer))
                elif type(answer) is dict:
                    writes.append((index, Put(answer)))
                else:
                    writes.extend([(index, effect) for effect in effects_of(answer)])
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever user code raises is this record's failure
                self._failed(submission, Waiting(submission.span, index, record), error)
        return writes

    # --- fail and try again --------------------------------------------------------------------------------------------

    async def _retry(self, now: Instant) -> bool:
        """Try one parked record that is due, and after it those that waited behind it; False when none is due."""
        key = self._parking.take_due(now)
        if key is None:
            return False
        while key in self._parking:
            self._term.insist()
            waiting = self._parking.head(key)
            submission = self._consign(waiting.span, {waiting.index: waiting.record})
            if await self._parked.holds(waiting.record):
                submission.causes[waiting.index] = Cause.key_parked()
                writes: Writes = []
            else:
                writes = self._attempt(submission, waiting)
            if not submission.records:
                break
            self._parking.advance(key)
            await self._submit(submission, writes)
        return True

    def _attempt(self, submission: Consignment, waiting: Waiting) -> Writes:
        if too_old(waiting.record, self._wall_s(), self._rules):
            submission.causes[waiting.index] = Cause.too_old(waiting.attempts)
            return []
        submission.records[waiting.index] = msgspec.structs.replace(waiting.record, attempt=waiting.attempts + 1)
        return self._called(submission, waiting)

    def _called(self, submission: Consignment, waiting: Waiting) -> Writes:
        """Call the handler with one record; what `_call` does inline for the sake of speed."""
        try:
            answer = self._handler.call(submission.records[waiting.index])
            return [(waiting.index, effect) for effect in effects_of(answer)]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is this record's failure
            self._failed(submission, waiting, error)
            return []

    def _failed(self, submission: Consignment, waiting: Waiting, error: BaseException) -> None:
        failed = waiting.failed(FailedAttempt(self._ports.clock.wall(), 1, type(error).__name__))
        match judge(failure_of(error), failed.attempts, self._rules, self._ports.chance()):
            case RetryAfter(delay_s):
                self._park(failed, Instant(self._ports.clock.now() + delay_s))
                del submission.records[waiting.index]
                self._ports.observer.record_retried(self._term.lease.shard_id)
                self._burial.tell_failure(waiting.record, error, failed.attempts, delay_s)
            case Bury(reason):
                self._parked.begin(waiting.record)
                submission.causes[waiting.index] = Cause.raised(error, reason, failed.log, failed.attempts)
            case verdict:
                assert_never(verdict)

    def _park(self, waiting: Waiting, due: Instant) -> None:
        key = waiting.record.partition_key
        if key in self._parking:
            self._parking.postpone(key, waiting, due)
        else:
            self._parking.park(key, waiting, due)

    def _follow(self, submission: Consignment, index: int) -> None:
        record = submission.records.pop(index)
        self._parking.follow(record.partition_key, Waiting(submission.span, index, record))

    # --- settle --------------------------------------------------------------------------------------------------------

    async def _submit(self, submission: Consignment, writes: Writes) -> None:
        if writes:
            self._term.insist()
            submission.answer = self._ports.sink.submit(writes, self._term.permits, submission.order_of)
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
            await self._settle_next()

    async def _settle_next(self) -> None:
        await self._see_through(await self._submissions.get())
        self._submissions.task_done()

    async def _see_through(self, submission: Consignment) -> None:
        """Wait until it is durable, bury what has to be, and settle it."""
        refusals = await submission.answer if submission.answer is not None else {}
        for index, refusal in refusals.items():
            self._parked.begin(submission.records[index])
            submission.causes[index] = Cause.refused(refusal, submission.records[index].attempt)
        if submission.causes:
            await self._burial.bury(submission.records, submission.causes)
        self._settled(submission)

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
