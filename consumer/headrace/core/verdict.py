"""What follows a failed attempt: another one after a while, or burial. An attempt that did not fail settles its record.

A closed set of outcomes; the flow executes them and infers nothing later. Two things bury a record whatever its attempts:
its age (`too_old`), and a serving table that will never take its item. The rules are those of the Lambda event
source mapping, per record: N retries are 1 + N calls, -1 means no limit, and a record older than the age limit is
buried before a call rather than after it. Throttling and outages of AWS never come here: they are not attempts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from headrace.core.backoff import Backoff, delay_s
from headrace.model import Record

RETRY_ATTEMPTS_EXHAUSTED: Final = "RetryAttemptsExhausted"
"""The event source mapping's own word (recorded)."""

RECORD_AGE_EXCEEDED: Final = "RecordAgeExceeded"
"""The event source mapping's own word (recorded); not MaximumRecordAgeExceeded."""

REJECTED: Final = "Rejected"
"""The handler raised Reject."""

NOT_JSON: Final = "NotJson"
"""A filter looks into the payload, which is not JSON, and such records are to be kept for a person."""

WRITE_REFUSED: Final = "WriteRefused"
"""The serving table will never take the item as it is."""

RECORD_TOO_LARGE: Final = "RecordTooLarge"
"""It fits no call of the handler, whatever else is in it. Ours: AWS's word for it is not known."""

KEY_PARKED: Final = "KeyParked"
"""An earlier record of its partition key was buried, and the settings keep later ones behind it."""

SKIPPED_BY_OPERATOR: Final = "SkippedByOperator"
"""Somebody told the fleet to go on without it; the event log says who, when and why."""

UNLIMITED: Final = -1

SHORTEST_DELAY_S: Final = 0.05
"""A handler that asks to be called again at once still leaves the worker time for everything else."""

HANDLER_BACKOFF: Final = Backoff(first_s=0.5, cap_s=60.0)
"""Between attempts of one record. AWS publishes no curve; 8 calls in 60 s were recorded, which this comes near."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """`maximum_attempts` is the ESM's retry count (-1: no limit), `maximum_age_s` its age limit (-1: no limit)."""

    maximum_attempts: int = 5
    maximum_age_s: float = UNLIMITED
    backoff: Backoff = HANDLER_BACKOFF

    @property
    def limits_age(self) -> bool:
        """Whether there is an age limit at all."""
        return self.maximum_age_s != UNLIMITED


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised something of its own."""


@dataclass(frozen=True, slots=True)
class AskedToReject:
    """The handler raised Reject."""


@dataclass(frozen=True, slots=True)
class AskedToRetry:
    """The handler raised Retry; `after_s` is None where it left the delay to us."""

    after_s: float | None


Failure: TypeAlias = Raised | AskedToReject | AskedToRetry


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Call the handler again with this record, not before this delay."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Bury:
    """Store the dead letter, then settle. `reason` is one of this module's words."""

    reason: str


Verdict: TypeAlias = RetryAfter | Bury


def judge(failure: Failure, attempts: int, rules: RetryRules, unit: float) -> Verdict:
    """After a failed attempt; `attempts` counts it, `unit` is a random number in [0, 1)."""
    match failure:
        case AskedToReject():
            return Bury(REJECTED)
        case Raised() | AskedToRetry():
            if rules.maximum_attempts != UNLIMITED and attempts > rules.maximum_attempts:
                return Bury(RETRY_ATTEMPTS_EXHAUSTED)
            if isinstance(failure, AskedToRetry) and failure.after_s is not None:
                return RetryAfter(max(failure.after_s, SHORTEST_DELAY_S))
            return RetryAfter(delay_s(attempts, unit, rules.backoff))
        case _:
            assert_never(failure)


def too_old(record: Record, wall_s: float, rules: RetryRules) -> bool:
    """Whether a record is past the age limit; asked before every call, per record (recorded ESM behaviour)."""
    return rules.limits_age and wall_s - record.arrival_s > rules.maximum_age_s
