"""One call of a batch or Lambda handler: made while the lease is trusted, read, and its writes made durable."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, assert_never

from headrace.core.answers import (
    Answer,
    NotInvoked,
    Success,
    WholeFailure,
    postponed,
    read_text,
    read_value,
    rejected,
)
from headrace.core.effects import effects_of, is_writes
from headrace.core.record_order import order_at
from headrace.core.verdict import WRITE_REFUSED, AskedToReject, AskedToRetry, Raised
from headrace.errors import LeaseLost, NotCalled
from headrace.flow.delivery.consignment import Writes
from headrace.flow.handler_errors import Told, failure_of, let_through
from headrace.flow.permitted import while_permitted
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import Checkpoint, Record, WindowCall
from headrace.ports import BatchContext, BatchHandler

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What came of one call; `returned` is what the handler gave back, None where it did not return."""

    request_id: str
    answer: Answer
    returned: Any = None


class Invoker:
    """Calls the handler for one shard."""

    def __init__(self, term: Term, place: Workplace, handler: BatchHandler) -> None:
        self._term = term
        self._ports = place.ports
        self._reports = place.rules.lanes.reports
        self._in_flight = place.in_flight
        self._handler = handler
        self._name = f"{term.lease.shard_id}-call"
        self._writing = 0
        self._last = term.lease.checkpoint
        """The last record of the latest call that had records: it stands for the last call of a window, which has none."""
        self._look_s = place.rules.call_timeout_s / 2
        """Between two looks at the trust: it permits nothing for longer than this before it ends."""

    async def invoke(self, records: Sequence[Record], window: WindowCall | None = None) -> Invocation:
        """Call with these records; the answer counts once the writes are durable. Raises LeaseLost."""
        self._term.insist()
        order = self._order_of(records)
        request_id = str(uuid.uuid4())
        started = self._ports.clock.now()
        try:
            work = self._handler.call(records, BatchContext(request_id, window))
            returned = await while_permitted(work, self._term.permits, self._look_s, self._name)
            writes = list(effects_of(returned)) if is_writes(returned) else []
        except NotCalled as error:
            return Invocation(request_id, NotInvoked(str(error)))
        except LeaseLost:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is its failure
            let_through(error)
            self._term.insist()
            return Invocation(request_id, _failure(error))
        self._ports.observer.batch_handled(len(records), self._ports.clock.now() - started)
        refused = await self._write([(0, effect) for effect in writes], order) if writes else None
        return Invocation(request_id, refused or self._read(returned, records), returned)

    def _read(self, returned: Any, records: Sequence[Record]) -> Answer:
        numbers = [record.sequence_number for record in records]
        if isinstance(returned, bytes):
            return read_text(returned, numbers, self._reports)
        return Success() if is_writes(returned) else read_value(returned, numbers, self._reports)

    def _order_of(self, records: Sequence[Record]) -> str:
        """The place of a call's writes: that of its last record, whatever other lanes have reached."""
        if records:
            self._last = Checkpoint.of(records[-1])
        return order_at(self._term.lease.generation, self._last)

    async def _write(self, writes: Writes, order: str) -> WholeFailure | None:
        await self._in_flight.reserve(len(writes), lambda: self._writing > 0)
        self._writing += 1
        try:
            self._term.insist()
            refusals = await self._ports.sink.submit(writes, self._term.permits, lambda _: order)
        finally:
            self._writing -= 1
            self._in_flight.release(len(writes))
        if not refusals:
            return None
        return rejected(WRITE_REFUSED, next(iter(refusals.values())).reason)


def _failure(error: BaseException) -> WholeFailure:
    told = Told.of(error)
    match failure_of(error):
        case AskedToReject():
            return rejected(told.error, told.message, told.traceback)
        case AskedToRetry(after_s=after_s):
            return postponed(told.error, told.message, after_s)
        case Raised():
            return WholeFailure(told.error, told.message, told.traceback)
        case failure:
            assert_never(failure)
