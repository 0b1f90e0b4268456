"""Dead letters of one shard: made, stored durably, and told about without showing a payload."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from headrace.core.verdict import (
    KEY_PARKED,
    NOT_JSON,
    RECORD_AGE_EXCEEDED,
    RECORD_TOO_LARGE,
    SKIPPED_BY_OPERATOR,
    WRITE_REFUSED,
)
from headrace.errors import AwsError
from headrace.flow.delivery.parked_keys import Parked
from headrace.flow.handler_errors import LONGEST_MESSAGE, Told
from headrace.flow.persist import persist
from headrace.flow.term import Term
from headrace.model import DeadLetter, FailedAttempt, Record, StreamDescription, WorkerId
from headrace.ports import Ports, Refusal

log = structlog.get_logger(__name__)

TOO_OLD: Final = Told("", "older than the maximum record age")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a record is buried. `told` is the last error, `log` the first and last failed calls that it was in."""

    reason: str
    told: Told
    attempts: int
    log: tuple[FailedAttempt, ...] = ()
    request_id: str = ""
    is_function_error: bool = True

    @property
    def parks_key(self) -> bool:
        """Whether its key misses something now: what a filter had no way to look into is no state of a key.

        Nor does a key wait for what an operator told the fleet to go on without.
        """
        return self.reason not in (NOT_JSON, SKIPPED_BY_OPERATOR)

    @classmethod
    def raised(cls, error: BaseException, reason: str, log: tuple[FailedAttempt, ...], attempts: int) -> Cause:
        """The handler's last error."""
        return cls(reason, Told.of(error), attempts, log)

    @classmethod
    def too_old(cls, attempts: int) -> Cause:
        """The record outlived the age limit."""
        return cls(RECORD_AGE_EXCEEDED, TOO_OLD, attempts)

    @classmethod
    def not_json(cls) -> Cause:
        """A filter could not look into the payload."""
        return cls(NOT_JSON, Told("", "a filter looks into the payload, which is not JSON"), 0)

    @classmethod
    def skipped(cls) -> Cause:
        """An operator told the fleet to go on without it."""
        return cls(SKIPPED_BY_OPERATOR, Told("", "skipped by operator; `headrace events` shows who, when and why"), 0)

    @classmethod
    def refused(cls, refusal: Refusal, attempts: int) -> Cause:
        """The serving table will not take what the handler asked for."""
        return cls(WRITE_REFUSED, Told("", refusal.reason[:LONGEST_MESSAGE]), attempts)

    @classmethod
    def too_large(cls, size: int, limit: int) -> Cause:
        """No event can hold it."""
        return cls(RECORD_TOO_LARGE, Told("", f"its event would have {size:,} bytes; {limit:,} are allowed"), 0)

    @classmethod
    def key_parked(cls) -> Cause:
        """An earlier record of its key was buried."""
        return cls(KEY_PARKED, Told("", "an earlier record of its partition key is among the dead letters"), 0)


class Burial:
    """Buries the records of one shard."""

    def __init__(self, worker: WorkerId, stream: StreamDescription, term: Term, ports: Ports, parked: Parked) -> None:
        self.parked = parked
        self._worker = worker
        self._stream = stream
        self._term = term
        self._ports = ports

    async def bury(self, records: Mapping[int, Record], causes: Mapping[int, Cause]) -> None:
        """Durable when it returns. A destination that is down holds the shard here. Raises LeaseLost."""
        parking = [records[index] for index, cause in causes.items() if cause.parks_key and self.parked.is_wanted]
        await self.parked.cover(parking)
        letters = [
            self._letter(records[index], cause)
            for index, cause in causes.items()
            if not (cause.parks_key and self.parked.is_done_with(records[index]))
        ]

        async def store() -> None:
            self._term.insist()
            await self._ports.dead_letters.bury(letters)

        # Whatever the destination says, the record stays here until it is stored: nothing is dropped, the shard waits.
        await persist("bury", store, self._ports.chance, self._destination_failed, mendable=(AwsError,))
        await self.parked.confirm(parking)
        shard = self._term.lease.shard_id
        for letter in letters:
            self._ports.observer.records_buried(shard, 1, letter.reason)
            log.warning(
                "record_buried",
                shard=shard,
                sequence_number=str(letter.record.sequence_number),
                reason=letter.reason,
                error=letter.error,
                attempts=letter.attempts,
            )

    def tell_failure(self, record: Record, error: BaseException, attempts: int, delay_s: float) -> None:
        """Log a failed attempt: the class of the error and where it was raised, never its text, which may quote data."""
        log.info(
            "record_failed",
            shard=self._term.lease.shard_id,
            sequence_number=str(record.sequence_number),
            error=type(error).__name__,
            raised_at=_where(error),
            attempts=attempts,
            next_attempt_s=round(delay_s, 3),
        )

    def tell_failed_call(self, first: Record, records: int, error: str, attempts: int, delay_s: float) -> None:
        """Log a failed call of a batch handler; `attempts` are those of the part of the batch that comes next."""
        log.info(
            "batch_failed",
            shard=self._term.lease.shard_id,
            records=records,
            next_from=str(first.sequence_number),
            error=error,
            attempts=attempts,
            next_attempt_s=round(delay_s, 3),
        )

    def _letter(self, record: Record, cause: Cause) -> DeadLetter:
        return DeadLetter(
            stream=self._stream.name,
            record=record,
            reason=cause.reason,
            error=cause.told.error,
            message=cause.told.message,
            attempts=cause.attempts,
            buried_at=self._ports.clock.wall(),
            worker=self._worker,
            epoch=self._term.epoch,
            stream_arn=self._stream.arn,
            handler=self._ports.handler.name,
            traceback=cause.told.traceback,
            request_id=cause.request_id,
            is_function_error=cause.is_function_error,
            log=cause.log,
            generation=self._term.lease.generation,
            replay=self._term.lease.replay,
        )

    def _destination_failed(self, _error: AwsError) -> None:
        self._ports.observer.destination_failed(self._term.lease.shard_id)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
