"""Dead letters of one shard: made, stored durably, and told about without showing a payload."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from headrace.core.verdict import NOT_JSON, RECORD_AGE_EXCEEDED, WRITE_REFUSED
from headrace.errors import AwsError, Reject
from headrace.flow.persist import persist
from headrace.flow.term import Term
from headrace.model import DeadLetter, Record, WorkerId
from headrace.ports import Ports, Refusal

log = structlog.get_logger(__name__)

LONGEST_MESSAGE: Final = 4096
"""Characters of an error's text that a dead letter keeps."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a record is buried."""

    reason: str
    error: str
    message: str
    attempts: int

    @classmethod
    def raised(cls, error: BaseException, reason: str, attempts: int) -> Cause:
        """The handler's last error; a Reject's own text stands for itself."""
        return cls(reason, type(error).__name__, _text(error)[:LONGEST_MESSAGE], attempts)

    @classmethod
    def too_old(cls, attempts: int) -> Cause:
        """The record outlived the age limit."""
        return cls(RECORD_AGE_EXCEEDED, "", "older than the maximum record age", attempts)

    @classmethod
    def not_json(cls) -> Cause:
        """A filter could not look into the payload."""
        return cls(NOT_JSON, "", "a filter looks into the payload, which is not JSON", 0)

    @classmethod
    def refused(cls, refusal: Refusal, attempts: int) -> Cause:
        """The serving table will not take what the handler asked for."""
        return cls(WRITE_REFUSED, "", refusal.reason[:LONGEST_MESSAGE], attempts)


class Burial:
    """Buries the records of one shard."""

    def __init__(self, worker: WorkerId, stream: str, term: Term, ports: Ports) -> None:
        self._worker = worker
        self._stream = stream
        self._term = term
        self._ports = ports

    async def bury(self, records: Mapping[int, Record], causes: Mapping[int, Cause]) -> None:
        """Durable when it returns. A destination that is down holds the shard here. Raises LeaseLost."""
        letters = [self._letter(records[index], cause) for index, cause in causes.items()]

        async def store() -> None:
            self._term.insist()
            await self._ports.dead_letters.bury(letters)

        # Whatever the destination says, the record stays here until it is stored: nothing is dropped, the shard waits.
        await persist("bury", store, self._ports.chance, self._destination_failed, mendable=(AwsError,))
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

    def _letter(self, record: Record, cause: Cause) -> DeadLetter:
        return DeadLetter(
            stream=self._stream,
            record=record,
            reason=cause.reason,
            error=cause.error,
            message=cause.message,
            attempts=cause.attempts,
            buried_at=self._ports.clock.wall(),
            worker=self._worker,
            epoch=self._term.epoch,
        )

    def _destination_failed(self, _error: AwsError) -> None:
        self._ports.observer.destination_failed(self._term.lease.shard_id)


def _text(error: BaseException) -> str:
    try:
        return error.reason if isinstance(error, Reject) else str(error)
    except Exception as unspeakable:  # noqa: BLE001 - an exception class of the user's may fail at this too
        return f"its text cannot be had: {type(unspeakable).__name__}"


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
