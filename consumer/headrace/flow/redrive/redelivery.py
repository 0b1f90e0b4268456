"""One dead letter through the handler and into the sink: one call, with the record as it was at its first attempt."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

import msgspec

from headrace.core.answers import NotInvoked, PartialFailure, Reports, Success, WholeFailure, read_text, read_value
from headrace.core.attempt_log import extended
from headrace.core.effects import effects_of, is_writes
from headrace.core.verdict import REJECTED, RETRY_ATTEMPTS_EXHAUSTED, WRITE_REFUSED, AskedToReject
from headrace.errors import LeaseLost, NotCalled
from headrace.flow.handler_errors import LONGEST_MESSAGE, Told, failure_of, let_through
from headrace.flow.permitted import while_permitted
from headrace.flow.redrive.writing import Writing
from headrace.model import DeadLetter, FailedAttempt, Permit, Record
from headrace.operations import Effect
from headrace.ports import BatchContext, BatchHandler, Clock, Handler

LOOK_S: Final = 1.0
"""Between two looks at the permit while the handler runs; a turn is silent for several times as long before it is taken."""

NAMED: Final = Told("", "the answer names it in batchItemFailures")


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not go through, and why."""

    reason: str
    told: Told
    request_id: str = ""
    is_function_error: bool = True


@dataclass(frozen=True, slots=True)
class Redelivery:
    """Delivers letters; `permit` is asked before anything is written."""

    handler: Handler | BatchHandler
    writing: Writing
    clock: Clock
    permit: Permit
    reports: Reports = Reports.AUTO

    async def deliver(self, letter: DeadLetter, reading: int) -> DeadLetter | None:
        """None once all its effects are durable; else the letter with what became of this attempt.

        `reading` counts how often the letters were read, up to when this one was. Raises NotCalled, NotYet, and LeaseLost
        where the permit ended first.
        """
        if not self.permit():
            raise LeaseLost("this redrive has lost its turn to another one")
        if await self.writing.is_settled(letter, reading):
            return None
        failed = await self._call(letter, str(uuid.uuid4()))
        return None if failed is None else self._again(letter, failed)

    async def _call(self, letter: DeadLetter, request_id: str) -> Failed | None:
        handler, record = self.handler, msgspec.structs.replace(letter.record, attempt=1)
        try:
            if isinstance(handler, BatchHandler):
                returned = await self._permitted(handler.call([record], BatchContext(request_id)))
                effects = list(effects_of(returned)) if is_writes(returned) else []
            else:
                returned = handler.call(record)
                effects = list(effects_of(await self._permitted(returned) if handler.is_async else returned))
        except (NotCalled, LeaseLost):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is its failure
            let_through(error)
            return _raised(error, request_id)
        if isinstance(handler, BatchHandler) and not is_writes(returned):
            return self._read(returned, record, request_id)
        return await self._write(effects, letter) if effects else None

    async def _permitted(self, work: Awaitable[Any]) -> Any:
        return await while_permitted(work, self.permit, LOOK_S, "redelivery")

    def _read(self, returned: Any, record: Record, request_id: str) -> Failed | None:
        read = read_text if isinstance(returned, bytes) else read_value
        match read(returned, [record.sequence_number], self.reports):
            case Success():
                return None
            case PartialFailure():
                return Failed(RETRY_ATTEMPTS_EXHAUSTED, NAMED, request_id, is_function_error=False)
            case WholeFailure() as whole:
                told = Told(whole.error, whole.message, whole.traceback)
                return Failed(RETRY_ATTEMPTS_EXHAUSTED, told, request_id, whole.is_function_error)
            case NotInvoked(reason=reason):
                raise NotCalled(reason)
            case answer:
                assert_never(answer)

    async def _write(self, effects: Sequence[Effect], letter: DeadLetter) -> Failed | None:
        refusal = await self.writing.write(effects, letter, self.permit)
        return None if refusal is None else Failed(WRITE_REFUSED, Told("", refusal.reason[:LONGEST_MESSAGE]))

    def _again(self, letter: DeadLetter, failed: Failed) -> DeadLetter:
        """The same letter, of the same burial, with one attempt more."""
        return replace(
            letter,
            reason=failed.reason,
            error=failed.told.error,
            message=failed.told.message,
            traceback=failed.told.traceback,
            attempts=letter.attempts + 1,
            handler=self.handler.name,
            request_id=failed.request_id,
            is_function_error=failed.is_function_error,
            log=extended(letter.log, FailedAttempt(self.clock.wall(), 1, failed.told.error)),
        )


def _raised(error: BaseException, request_id: str) -> Failed:
    rejects = isinstance(failure_of(error), AskedToReject)
    return Failed(REJECTED if rejects else RETRY_ATTEMPTS_EXHAUSTED, Told.of(error), request_id)
