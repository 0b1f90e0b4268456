"""Portions of a batch, and what follows a call with one: settle it, go on from where it failed, retry, split, or bury.

A batch goes through a handler whole, and falls into portions where it fails. The rules are those of the Lambda event
source mapping. Recorded from AWS: N retries are 1 + N calls, and progress is free: what is left after a partial success
has 1 + N calls of its own. Documented: a call that was not made is free, a split is free, a partial success goes on at
the lowest record that was named, and a batch that failed is split in halves.

Where AWS is silent, this is decided:

- A failed call splits at once (`Bisect.AT_ONCE`); `Bisect.WHEN_EXHAUSTED` spends the retries first.
- It splits down to one record even where there are no retries at all.
- Halves have a fresh budget, the left one goes first, and of an odd number the right one has one more.
- New records do not join what is left after a partial success.
- An answer that names the first record is a failed call. With bisect that record is split off, so that it is retried and
  buried alone; without, all is retried together, and buried together.
- An answer that cannot be understood fails the call without splitting it: the answer is wrong, not a record.
  `splits_bad_answers` splits there too.
- A Reject buries at once, though never several records together: it splits them, whatever `bisect` says, until it is known
  whose it is. A Retry asks for the same call later: it splits nothing before its attempts are used up.
- Between the calls of a portion the delay grows as for a single record (`RetryRules.backoff`). After progress and after a
  split the next call follows at once.
- Age has to exceed the limit, to reach it is not enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeAlias, assert_never

from headrace.core.answers import Answer, NotInvoked, PartialFailure, Success, WholeFailure
from headrace.core.backoff import Backoff, delay_s
from headrace.core.verdict import AskedToReject, AskedToRetry, Failure, Raised, RetryAfter, RetryRules
from headrace.core.verdict import Bury as GiveUp
from headrace.core.verdict import judge as judge_record

NOT_INVOKED_BACKOFF: Final = Backoff(first_s=0.2, cap_s=20.0)
"""Between calls that could not be made: nobody is waiting for the handler to recover, only for a place to run it."""


class Bisect(Enum):
    """When a batch that failed is split: the ESM's BisectBatchOnFunctionError, and the moment that AWS leaves open."""

    OFF = "off"
    AT_ONCE = "at_once"
    WHEN_EXHAUSTED = "when_exhausted"


@dataclass(frozen=True, slots=True)
class PortionRules:
    """Attempts, age and backoff of a portion, and when it is split."""

    retry: RetryRules
    bisect: Bisect = Bisect.AT_ONCE
    splits_bad_answers: bool = False


@dataclass(frozen=True, slots=True)
class FailedCall:
    """One call that failed: when it ended (epoch seconds), with how many records, and how."""

    at_s: float
    records: int
    failure: PartialFailure | WholeFailure


@dataclass(frozen=True, slots=True)
class Portion:
    """The records `start` to `stop` (exclusive) of a batch, on their way together.

    `attempts` are the failed calls that count against its budget, `put_off` how often in a row it could not be called.
    `first` and `last` are the first and last failed calls that its records were in, also as part of a larger portion.
    """

    start: int
    stop: int
    attempts: int = 0
    put_off: int = 0
    first: FailedCall | None = None
    last: FailedCall | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"no records from {self.start} to {self.stop}")

    @property
    def size(self) -> int:
        """Records in it."""
        return self.stop - self.start

    def cut(self, size: int) -> tuple[Portion, Portion]:
        """The first `size` records, and the others. Raises ValueError where either would be empty."""
        middle = self.start + size
        return replace(self, stop=middle), replace(self, start=middle)

    def after(self, call: FailedCall) -> Portion:
        """The portion once this call with it has failed."""
        return replace(self, attempts=self.attempts + 1, put_off=0, first=self.first or call, last=call)

    def renewed(self) -> Portion:
        """The portion with its whole budget."""
        return replace(self, attempts=0, put_off=0)


@dataclass(frozen=True, slots=True)
class Settle:
    """All of the portion is handled."""

    portion: Portion


@dataclass(frozen=True, slots=True)
class GoOn:
    """`settled` is handled; `rest` is called next, at once, with its whole budget."""

    settled: Portion
    rest: Portion


@dataclass(frozen=True, slots=True)
class Retry:
    """Call with the portion again, not before `after_s` seconds. Its `attempts` tell whether this spent one."""

    portion: Portion
    after_s: float


@dataclass(frozen=True, slots=True)
class Split:
    """Call with `left` at once, and with `right` when all of `left` is settled or buried."""

    left: Portion
    right: Portion


@dataclass(frozen=True, slots=True)
class Bury:
    """Store the dead letters of the portion, then settle it. `reason` is the failure document's `condition`."""

    portion: Portion
    reason: str

    @property
    def approximate_invoke_count(self) -> int:
        """The failed calls of its budget, at least 1: AWS says 1 also of a record that was never called (recorded)."""
        return max(1, self.portion.attempts)


Verdict: TypeAlias = Settle | GoOn | Retry | Split | Bury


def judge(portion: Portion, answer: Answer, rules: PortionRules, wall_s: float, unit: float) -> Verdict:
    """What follows a call with `portion` that ended at `wall_s` (epoch seconds); `unit` is random in [0, 1)."""
    match answer:
        case Success():
            return Settle(portion)
        case NotInvoked():
            put_off = replace(portion, put_off=portion.put_off + 1)
            return Retry(put_off, delay_s(put_off.put_off, unit, NOT_INVOKED_BACKOFF))
        case PartialFailure(first=first) if first > 0:
            settled, rest = portion.after(FailedCall(wall_s, portion.size, answer)).renewed().cut(first)
            return GoOn(settled, rest)
        case PartialFailure() | WholeFailure():
            return _failed(portion.after(FailedCall(wall_s, portion.size, answer)), answer, rules, unit)
        case _:
            assert_never(answer)


def _failed(portion: Portion, failure: PartialFailure | WholeFailure, rules: PortionRules, unit: float) -> Verdict:
    verdict = judge_record(_asked(failure), portion.attempts, rules.retry, unit)
    if portion.size > 1 and _splits(failure, rules, is_given_up=isinstance(verdict, GiveUp)):
        left, right = portion.renewed().cut(1 if isinstance(failure, PartialFailure) else portion.size // 2)
        return Split(left, right)
    match verdict:
        case RetryAfter(delay_s=after_s):
            return Retry(portion, after_s)
        case GiveUp(reason=reason):
            return Bury(portion, reason)
        case _:
            assert_never(verdict)


def _splits(failure: PartialFailure | WholeFailure, rules: PortionRules, *, is_given_up: bool) -> bool:
    asked = _asked(failure)
    if isinstance(asked, AskedToReject):
        return True
    if isinstance(asked, AskedToRetry) and not is_given_up:
        return False
    if isinstance(failure, WholeFailure) and not failure.is_function_error and not rules.splits_bad_answers:
        return False
    match rules.bisect:
        case Bisect.OFF:
            return False
        case Bisect.AT_ONCE:
            return True
        case Bisect.WHEN_EXHAUSTED:
            return is_given_up
        case _:
            assert_never(rules.bisect)


def _asked(failure: PartialFailure | WholeFailure) -> Failure:
    return failure.asked if isinstance(failure, WholeFailure) else Raised()
