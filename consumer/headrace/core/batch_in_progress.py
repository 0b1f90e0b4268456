"""The life of one batch, from its first call until each of its records is settled or buried, in shard order.

Its portions always cover what is left of it, from the first open record to the last, without gap or overlap: a verdict
replaces the portion that was called by parts of itself, and only the first portion is ever called. So no record is skipped
or doubled, and everything a record has to wait for stands before it. Where the time goes, the caller says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from headrace.core.answers import Answer
from headrace.core.portions import Bury, GoOn, Portion, PortionRules, Retry, Settle, Split, Verdict, judge
from headrace.core.verdict import RECORD_AGE_EXCEEDED, too_old
from headrace.model import Instant, Record


@dataclass(frozen=True, slots=True)
class Call:
    """Call the handler with these records, the portion's, and say what it answered."""

    portion: Portion
    records: Sequence[Record]

    @property
    def attempt(self) -> int:
        """1 for the first call of the portion's budget."""
        return self.portion.attempts + 1


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing to do before this instant."""

    due: Instant


@dataclass(frozen=True, slots=True)
class Done:
    """Every record is settled or buried."""


Step: TypeAlias = Call | WaitUntil | Bury | Done


class BatchInProgress:
    """Ask `next_step` what to do; after a Call tell what came of it with `answered`, and obey the verdict.

    Whatever it says to settle or to bury it never mentions again.
    """

    def __init__(self, records: Sequence[Record], rules: PortionRules) -> None:
        self._records = records
        self._rules = rules
        self._portions = [Portion(0, len(records))] if records else []
        """What is left, the next one last."""
        self._due = Instant(float("-inf"))
        self._is_called = False

    @property
    def open(self) -> int:
        """Records that are neither settled nor buried."""
        return len(self._records) - self._portions[-1].start if self._portions else 0

    @property
    def portions(self) -> Sequence[Portion]:
        """What is left, in order."""
        return self._portions[::-1]

    @property
    def due(self) -> Instant | None:
        """When the first of it may be called; None while it is."""
        return None if self._is_called else self._due

    def next_step(self, now: Instant, wall_s: float) -> Step:
        """What to do now; `wall_s` is the time of day in epoch seconds.

        Before every call the records at the head that are past the age limit are buried alone, in one piece (recorded);
        the others keep the attempts they had. Raises RuntimeError while a call is not answered.
        """
        if self._is_called:
            raise RuntimeError("a call is under way")
        if not self._portions:
            return Done()
        if now < self._due:
            return WaitUntil(self._due)
        if expired := self._expired_at_head(wall_s):
            return self._give_up_head(expired)
        self._is_called = True
        portion = self._portions[-1]
        return Call(portion, self._records[portion.start : portion.stop])

    def answered(self, answer: Answer, now: Instant, wall_s: float, unit: float) -> Verdict:
        """What follows the call; `unit` is a random number in [0, 1).

        Raises RuntimeError where none was made, and ValueError for a failure that names a record the call did not have.
        """
        if not self._is_called:
            raise RuntimeError("no call is under way")
        verdict = judge(self._portions[-1], answer, self._rules, wall_s, unit)
        self._portions[-1:] = _left_by(verdict)
        self._due = Instant(now + verdict.after_s) if isinstance(verdict, Retry) else now
        self._is_called = False
        return verdict

    def _expired_at_head(self, wall_s: float) -> int:
        portion, rules = self._portions[-1], self._rules.retry
        if not rules.limits_age:
            return 0
        expired = 0
        while expired < portion.size and too_old(self._records[portion.start + expired], wall_s, rules):
            expired += 1
        return expired

    def _give_up_head(self, expired: int) -> Bury:
        portion = self._portions.pop()
        if expired < portion.size:
            portion, rest = portion.cut(expired)
            self._portions.append(rest)
        return Bury(portion, RECORD_AGE_EXCEEDED)


def _left_by(verdict: Verdict) -> list[Portion]:
    """What is still to be done, the next one last."""
    match verdict:
        case Settle() | Bury():
            return []
        case GoOn(rest=rest):
            return [rest]
        case Retry(portion=portion):
            return [portion]
        case Split(left=left, right=right):
            return [right, left]
        case _:
            assert_never(verdict)
