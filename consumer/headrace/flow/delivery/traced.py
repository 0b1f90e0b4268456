"""The ways of delivering, traced. Each stands in for the one it is made of where tracing is on, and only there.

A batch's trace begins with the handler and ends when its records are settled. Where records go their own way (`async
def`), each has one, until its writes are handed over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Final

from headrace.core.chunks import Chunk
from headrace.flow.delivery.async_records import AsyncDelivery
from headrace.flow.delivery.chunk_outbox import ChunkOutbox, Keys
from headrace.flow.delivery.commit import Commits, Settled, Wanted
from headrace.flow.delivery.consignment import Consignment, Waiting, Writes
from headrace.flow.delivery.ordered_records import OrderedDelivery
from headrace.flow.delivery.plain_records import RecordDelivery
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.in_flight import InFlight
from headrace.model import Record
from headrace.operations import Effect
from headrace.ports import BatchContext, BatchHandler, Handler
from headrace.traces import Trace, Traces

HANDLE: Final = "handle"
"""The part of a batch in which user code runs."""

LOST: Final = "LeaseLost"


def part_of_current(traces: Traces, handler: Handler | BatchHandler) -> Handler | BatchHandler:
    """A handler whose calls are awaited, each of them a part of what is current then; a plain one stays as it is."""
    call = partial(_part_of_current, traces, handler.call)
    if isinstance(handler, BatchHandler):
        return replace(handler, call=call)
    return replace(handler, call=call) if handler.is_async else handler


async def _part_of_current(traces: Traces, call: Any, *arguments: Sequence[Record] | Record | BatchContext) -> Any:
    if (current := traces.current()) is None:
        return await call(*arguments)
    with current.begin(HANDLE):
        return await call(*arguments)


class TracedRecords(RecordDelivery):
    """Batches of a plain record handler. Only made where there are traces."""

    async def _call(self, submission: Consignment) -> Writes:
        with self._begun(submission):
            return await super()._call(submission)

    def _called(self, submission: Consignment, waiting: Waiting) -> Writes:
        with self._begun(submission):
            return super()._called(submission, waiting)

    @contextmanager
    def _begun(self, submission: Consignment) -> Iterator[None]:
        trace = submission.trace = _traces(self._ports.traces).batch(list(submission.records.values()))
        with _ended_if_given_up(trace), trace.begin(HANDLE):
            yield
        if not submission.records:  # each of them is parked
            trace.end()

    def _failed(self, submission: Consignment, waiting: Waiting, error: BaseException) -> None:
        _fail(self._ports.traces, error)
        super()._failed(submission, waiting, error)

    async def _submit(self, submission: Consignment, writes: Writes) -> None:
        if submission.trace is None:
            await super()._submit(submission, writes)
            return
        with _ended_if_given_up(submission.trace), submission.trace.here():
            await super()._submit(submission, writes)

    async def _see_through(self, submission: Consignment) -> None:
        if submission.trace is None:
            await super()._see_through(submission)
            return
        with submission.trace:
            await super()._see_through(submission)

    def abandon(self) -> None:
        """Their traces end, too."""
        super().abandon()
        while not self._submissions.empty():
            if (trace := self._submissions.get_nowait().trace) is not None:
                trace.fail(LOST)
                trace.end()


class TracedAsync(AsyncDelivery):
    """Records of an `async def` handler."""

    async def _handle(self, queue: deque[Waiting], record: Record) -> float:
        with _traces(self._ports.traces).batch([record]):
            return await super()._handle(queue, record)

    def _failed(self, queue: deque[Waiting], error: BaseException) -> float:
        _fail(self._ports.traces, error)
        return super()._failed(queue, error)


class TracedOrdered(OrderedDelivery):
    """What of a batch is handled in one go before a transaction."""

    async def _work_off(self) -> int:
        with _traces(self._ports.traces).batch([one.record for one in self._todo]) as trace, trace.begin(HANDLE):
            return await super()._work_off()

    def _failed(self, one: Waiting, error: BaseException) -> bool:
        _fail(self._ports.traces, error)
        return super()._failed(one, error)


class TracedChunks(ChunkOutbox):
    """Transactions, each of them for the sake of the batches that its records come from."""

    def __init__(
        self,
        commits: Commits,
        keys: Keys,
        settlement: Settlement,
        in_flight: InFlight,
        *,
        folds: bool,
        traces: Traces,
    ) -> None:
        super().__init__(commits, keys, settlement, in_flight, folds=folds)
        self._traces = traces

    def put(self, record: Waiting, effects: Sequence[Effect]) -> None:
        """Remember what the record was handled in."""
        current = self._traces.current()
        self._open[record.span, record.index].trace = None if current is None else current.whole
        super().put(record, effects)

    async def _send(self, wanted: Wanted, chunk: Chunk) -> Settled:
        of = dict.fromkeys(slot.trace for slot in islice(self._slots, chunk.records))
        with self._traces.request("dynamodb", "TransactWriteItems", of):
            return await super()._send(wanted, chunk)


@contextmanager
def _ended_if_given_up(trace: Trace) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not isinstance(error, asyncio.CancelledError):
            trace.fail(type(error).__name__)
        trace.end()
        raise


def _traces(traces: Traces | None) -> Traces:
    if traces is None:
        raise LookupError("nothing is traced")
    return traces


def _fail(traces: Traces | None, error: BaseException) -> None:
    if (current := _traces(traces).current()) is not None:
        current.fail(type(error).__name__)
