"""One batch of a lane, from its first call to its last record: asks the machine what to do, does it, tells it what came."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol, assert_never

from headrace.core.answers import Answer, NotInvoked, PartialFailure, Success, WholeFailure
from headrace.core.batch_in_progress import BatchInProgress, Call, Done, WaitUntil
from headrace.core.portions import Bury, FailedCall, GoOn, Portion, PortionRules, Retry, Settle, Split, Verdict
from headrace.core.verdict import RECORD_AGE_EXCEEDED, WRITE_REFUSED
from headrace.flow.delivery.burial import TOO_OLD, Cause
from headrace.flow.delivery.consignment import Waiting
from headrace.flow.delivery.intake import Taken
from headrace.flow.delivery.invoke import Invocation, Invoker
from headrace.flow.delivery.open_records import BEHIND, RETRYING, UNDER_WAY, OpenRecord, Wanted, told
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.handler_errors import Told
from headrace.model import FailedAttempt, Record, WindowCall
from headrace.ports import Ports
from headrace.tasks import is_set_within

ITEM_FAILURE: Final = "BatchItemFailure"
"""The class of error that stands for a record which the handler's answer named."""


class Carrier(Protocol):
    """Carries a state from one call to the next."""

    def call(self) -> WindowCall:
        """What the next call is told."""

    def take(self, invocation: Invocation) -> Invocation:
        """The invocation, as a failure where it brought no state."""

    def carry(self, invocation: Invocation) -> None:
        """Its records are about to be settled: what it brought is the state from now on."""


class LaneWork:
    """What the lanes of one shard share. Once `closing` is set no call begins."""

    def __init__(self, ports: Ports, rules: PortionRules, invoker: Invoker, settlement: Settlement) -> None:
        self.ports = ports
        self.rules = rules
        self.invoker = invoker
        self.settlement = settlement
        self.closing = asyncio.Event()


class LaneBatch:
    """Records of one lane, in order; those with a cause are buried without a call."""

    def __init__(self, work: LaneWork, taken: Sequence[Taken], carrier: Carrier | None = None) -> None:
        self._work = work
        self._carrier = carrier
        self._uncalled = [(one.record, one.cause) for one in taken if one.cause is not None]
        self._records = [one.record for one in taken if one.cause is None]
        self._batch = BatchInProgress([one.record for one in self._records], work.rules)
        self._gone: set[int] = set()
        """Records that were buried because their key is parked."""
        self._request_id = ""
        self._error = ""
        """The class of the error of the last call."""
        self._has_failed = False

    @property
    def retrying(self) -> int:
        """Open records, if a call failed."""
        return self._batch.open if self._has_failed else 0

    def find(self, wanted: Wanted) -> Iterator[OpenRecord]:
        """Records that are open in it."""
        now = self._work.ports.clock.now()
        for portion in self._batch.portions:
            for one in self._of(portion):
                if not wanted(one.record):
                    continue
                if portion.last is None:
                    yield told(one.record, BEHIND if self._has_failed else UNDER_WAY)
                else:
                    due = None if self._batch.due is None else self._batch.due - now
                    yield told(one.record, RETRYING, portion.attempts, _told(portion.last).error, due)

    async def run(self) -> None:
        """Until every record is settled or buried, or a stop was asked for. Raises LeaseLost."""
        if self._uncalled:
            records = [one for one, _ in self._uncalled]
            await self._work.settlement.bury(records, {index: cause for index, (_, cause) in enumerate(self._uncalled)})
        while not self._work.closing.is_set():
            clock = self._work.ports.clock
            match self._batch.next_step(clock.now(), clock.wall().timestamp()):
                case Done():
                    return
                case WaitUntil(due=due):
                    await is_set_within(self._work.closing, due - clock.now())
                case Bury() as burial:
                    await self._bury(burial)
                case Call() as call:
                    await self._call(call)
                case step:
                    assert_never(step)

    async def _call(self, call: Call) -> None:
        live = await self._not_parked(call.portion)
        if not live:
            await self._obey(self._answered(Success()))
            return
        records = [self._records[index].record for index in live]
        if (traces := self._work.ports.traces) is None:
            await self._call_with(records, call.portion, live)
            return
        with traces.batch(records) as trace:
            await self._call_with(records, call.portion, live)
            if self._error:
                trace.fail(self._error)

    async def _call_with(self, records: Sequence[Record], portion: Portion, live: Sequence[int]) -> None:
        carrier = self._carrier
        invocation = await self._work.invoker.invoke(records, carrier.call() if carrier is not None else None)
        if carrier is not None:
            invocation = carrier.take(invocation)
        self._request_id = invocation.request_id
        answer = invocation.answer
        self._error = _error(answer)
        if isinstance(answer, PartialFailure):
            answer = PartialFailure(live[answer.first] - portion.start)
        verdict = self._answered(answer)
        if carrier is not None and isinstance(verdict, Settle | GoOn):
            carrier.carry(invocation)
        await self._obey(verdict)

    async def _not_parked(self, portion: Portion) -> list[int]:
        """The records to call with. Those whose key is parked are buried now, behind the one that was before them."""
        live = [index for index in range(portion.start, portion.stop) if index not in self._gone]
        parked = self._work.settlement.parked
        if not parked.keys:
            return live
        held = sorted(await parked.held_of({index: self._records[index].record for index in live}))
        if held:
            records = [self._records[index] for index in held]
            await self._work.settlement.bury(records, dict.fromkeys(range(len(held)), Cause.key_parked()))
            self._gone.update(held)
        return [index for index in live if index not in self._gone]

    def _answered(self, answer: Answer) -> Verdict:
        ports = self._work.ports
        wall_s = ports.clock.wall().timestamp()
        return self._batch.answered(answer, ports.clock.now(), wall_s, ports.chance())

    async def _obey(self, verdict: Verdict) -> None:
        match verdict:
            case Settle(portion=portion) | GoOn(settled=portion):
                if records := self._of(portion):
                    self._work.settlement.settle(records)
            case Bury() as burial:
                await self._bury(burial)
            case Retry(portion=portion, after_s=after_s):
                self._tell(portion, after_s)
            case Split(left=left):
                self._tell(left, 0.0)
            case _:
                assert_never(verdict)

    def _tell(self, portion: Portion, after_s: float) -> None:
        """A call failed, and another one will follow."""
        last = portion.last
        if last is None:
            return  # it was not called at all
        self._has_failed = True
        first = self._records[portion.start].record
        self._work.settlement.tell_failed_call(first, last.records, _told(last).error, portion.attempts, after_s)

    async def _bury(self, burial: Bury) -> None:
        records, cause = self._of(burial.portion), self._cause(burial)
        if not records:
            return
        await self._work.settlement.bury(records, dict.fromkeys(range(len(records)), cause))

    def _of(self, portion: Portion) -> list[Waiting]:
        return [self._records[index] for index in range(portion.start, portion.stop) if index not in self._gone]

    def _cause(self, burial: Bury) -> Cause:
        portion, attempts = burial.portion, burial.approximate_invoke_count
        log = tuple(_attempt(call) for call in dict.fromkeys((portion.first, portion.last)) if call is not None)
        if burial.reason == RECORD_AGE_EXCEEDED:
            return Cause(burial.reason, TOO_OLD, attempts, log, self._request_id)
        told = _told(portion.last)
        reason = WRITE_REFUSED if told.error == WRITE_REFUSED else burial.reason
        return Cause(reason, told, attempts, log, self._request_id, _is_function_error(portion.last))


def _error(answer: Answer) -> str:
    match answer:
        case Success():
            return ""
        case WholeFailure(error=error):
            return error
        case PartialFailure():
            return ITEM_FAILURE
        case NotInvoked():
            return NotInvoked.__name__
        case _:
            assert_never(answer)


def _attempt(call: FailedCall) -> FailedAttempt:
    return FailedAttempt(datetime.fromtimestamp(call.at_s, UTC), call.records, _told(call).error)


def _told(call: FailedCall | None) -> Told:
    match call.failure if call is not None else None:
        case WholeFailure(error=error, message=message, traceback=traceback):
            return Told(error, message, traceback)
        case PartialFailure():
            return Told(ITEM_FAILURE, "the handler's answer names it in batchItemFailures")
        case None:
            return Told("", "")
        case failure:
            assert_never(failure)


def _is_function_error(call: FailedCall | None) -> bool:
    return call is not None and isinstance(call.failure, WholeFailure) and call.failure.is_function_error
