"""Delivery of one shard to a plain record handler where results and checkpoint go together: record by record, in order.

No checkpoint passes a record that waits for another attempt, so nothing is gained by handling others meanwhile: the shard
waits with it, until it succeeds or is buried.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import assert_never

import msgspec

from headrace.core.batching import Batcher
from headrace.core.effects import effects_of
from headrace.core.verdict import Bury, RetryAfter, judge, too_old
from headrace.flow.delivery.burial import Cause
from headrace.flow.delivery.chunk_outbox import ChunkOutbox
from headrace.flow.delivery.consignment import Waiting
from headrace.flow.delivery.open_records import OpenRecord, Wanted, of_queue, waiting
from headrace.flow.delivery.plain_records import PLAIN
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.delivery.sieve import Sieve
from headrace.flow.delivery.turns import take_turns
from headrace.flow.handler_errors import failure_of
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import FailedAttempt, Instant, Record
from headrace.operations import Effect, Put
from headrace.ports import Handler


class OrderedDelivery:
    """Implements `delivery.Delivery`."""

    def __init__(
        self, term: Term, place: Workplace, settlement: Settlement, outbox: ChunkOutbox, handler: Handler
    ) -> None:
        self.moved = settlement.moved
        self._term = term
        self._ports = place.ports
        self._rules = place.rules.retry
        self._sieve = Sieve(term.lease, place)
        self._settlement = settlement
        self._outbox = outbox
        self._in_flight = place.in_flight
        self._handler = handler
        self._batcher = Batcher(place.rules.batch)
        self._todo: deque[Waiting] = deque()
        """What is left of a batch; its first record may wait for another attempt."""
        self._due = Instant(float("-inf"))

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
        """A record that failed, and those that wait for it."""
        return len(self._todo) if self._todo and self._todo[0].attempts else 0

    @property
    def oldest_waiting_arrival_s(self) -> float | None:
        """Of those in no batch yet."""
        return self._batcher.oldest_arrival_s

    @property
    def is_idle(self) -> bool:
        """Nothing waits for the handler."""
        return not self._batcher.waiting and not self._todo

    def find(self, wanted: Wanted) -> Iterator[OpenRecord]:
        """What is left of a batch, or in no batch yet."""
        yield from of_queue(self._todo, wanted, self._due - self._ports.clock.now())
        yield from waiting(self._batcher, wanted)

    def take_in(self, records: list[Record]) -> None:
        """The records of a page."""
        self._batcher.add(records, self._ports.clock.now())

    def next_due(self) -> Instant | None:
        """When a batch is complete, or the record that failed may be tried."""
        return self._due if self._todo else self._batcher.due_at()

    async def deliver_due(self, now: Instant, *, ended: bool) -> bool:
        """Go on with the batch that is waiting, or begin the next one. Raises LeaseLost."""
        due = self.next_due()
        if due is None or (due > now and (self._todo or not ended)):
            return False
        begun = self._ports.clock.now()
        if self._todo:
            self._term.insist()
            handled = await self._work_off()
        else:
            handled = await self._begin(self._batcher.take())
        self._ports.observer.batch_handled(handled, self._ports.clock.now() - begun)
        return True

    async def _begin(self, records: Sequence[Record]) -> int:
        await self._in_flight.reserve(len(records), lambda: self._outbox.has_some)
        try:
            self._term.insist()
            self._take(records)
            return await self._work_off()
        finally:
            self._in_flight.release(len(records))

    def _take(self, records: Sequence[Record]) -> None:
        span = self._settlement.admit(records)
        sifted = self._sieve.filter(dict(enumerate(records)))
        batch = [Waiting(span, index, record) for index, record in enumerate(records)]
        if sifted.left_out:
            self._settlement.leave_out([batch[index] for index in sorted(sifted.left_out)])
            batch = [one for one in batch if one.index not in sifted.left_out]
        self._outbox.expect(batch)
        for one in batch:
            if one.index in sifted.causes:
                self._outbox.give_up(one, sifted.causes[one.index])
            else:
                self._todo.append(one)

    # --- handle --------------------------------------------------------------------------------------------------------

    async def _work_off(self) -> int:
        """Handle what is left of the batch up to a record that fails; how many were handled."""
        todo, outbox, call = self._todo, self._outbox, self._handler.call
        has_limit, parked = self._rules.limits_age, self._settlement.parked
        looked, now, count, look_at = 0, self._ports.clock.now(), 0, 1
        while todo:
            if count == look_at:
                stride = await take_turns(self._ports.clock, self._term, now, count - looked)
                now, looked, look_at = self._ports.clock.now(), count, count + stride
            one = todo[0]
            if has_limit and too_old(one.record, self._ports.clock.wall().timestamp(), self._rules):
                outbox.give_up(one, Cause.too_old(one.attempts))
            elif parked.keys and await parked.holds(one.record):
                outbox.give_up(one, Cause.key_parked())
            else:
                try:
                    effects = _effects(call(one.record))
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # noqa: BLE001 - whatever user code raises is this record's failure
                    if self._failed(one, error):
                        break
                else:
                    outbox.put(one, effects)
            todo.popleft()
            count += 1
        return count

    def _failed(self, one: Waiting, error: BaseException) -> bool:
        """Whether the record is to be tried again; else it is given up."""
        failed = one.failed(FailedAttempt(self._ports.clock.wall(), 1, type(error).__name__))
        match judge(failure_of(error), failed.attempts, self._rules, self._ports.chance()):
            case RetryAfter(delay_s):
                record = msgspec.structs.replace(one.record, attempt=failed.attempts + 1)
                self._todo[0] = replace(failed, record=record)
                self._due = Instant(self._ports.clock.now() + delay_s)
                self._settlement.tell_failure(one.record, error, failed.attempts, delay_s)
                return True
            case Bury(reason):
                self._settlement.parked.begin(one.record)
                self._outbox.give_up(one, Cause.raised(error, reason, failed.log, failed.attempts))
                return False
            case verdict:
                assert_never(verdict)

    # --- settle --------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Commit and bury, for ever. Raises LeaseLost."""
        await self._outbox.run()

    async def all_settled(self) -> None:
        """Wait until what was handled is settled."""
        await self._outbox.emptied()

    def abandon(self) -> None:
        """Nobody will settle here what is still on its way."""
        self._outbox.abandon()


def _effects(answer: object) -> Sequence[Effect]:
    if type(answer) is Put and type(answer.item) in PLAIN and answer.table is None and answer.condition is None:
        return (answer,)
    return list(effects_of(answer))
