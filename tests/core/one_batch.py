"""One batch driven to its end: a handler that answers, a clock that jumps to the next step, and a list of what happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from headrace.core.answers import Answer, PartialFailure, Success, WholeFailure
from headrace.core.backoff import Backoff
from headrace.core.batch_in_progress import BatchInProgress, Call, Done, WaitUntil
from headrace.core.portions import Bisect, Bury, GoOn, PortionRules, Retry, Settle, Split, Verdict
from headrace.core.verdict import UNLIMITED, RetryRules
from headrace.model import Instant, Record

FIRST_SEQUENCE = 49590338271490256608559692538361571095921575989136588000
"""As long as a real one: it fits no double, and its digits end where a text comparison would be misled."""

ARRIVAL_S = 1_545_084_650.987

Handler = Callable[[Sequence[Record]], Answer]


def records(count: int, arrival_s: float = ARRIVAL_S, key: str = "k") -> list[Record]:
    shard = "shardId-000000000006"
    return [Record(str(n).encode(), key, FIRST_SEQUENCE + n, arrival_s, shard_id=shard) for n in range(count)]


def numbers(batch: Sequence[Record]) -> list[int]:
    return [record.sequence_number - FIRST_SEQUENCE for record in batch]


def rules(
    retries: int = UNLIMITED,
    bisect: Bisect = Bisect.OFF,
    age_s: float = UNLIMITED,
    backoff: Backoff | None = None,
    splits_bad_answers: bool = False,
) -> PortionRules:
    retry = RetryRules(retries, age_s, backoff or Backoff())
    return PortionRules(retry, bisect, splits_bad_answers)


def poison(*bad: int) -> Handler:
    """Raises where one of these records is in the batch."""
    return lambda batch: WholeFailure("Boom") if set(bad) & set(numbers(batch)) else Success()


def naming(*bad: int) -> Handler:
    """Names these records in its answer."""

    def handle(batch: Sequence[Record]) -> Answer:
        failed = [index for index, number in enumerate(numbers(batch)) if number in bad]
        return PartialFailure(failed[0]) if failed else Success()

    return handle


@dataclass
class Life:
    """What happened to a batch: records by their number, in order."""

    calls: list[list[int]] = field(default_factory=list)
    called_at_s: list[float] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    burials: list[Bury] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """Every record when it is settled or buried."""
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def buried(self) -> list[int]:
        return [number for burial in self.burials for number in range(burial.portion.start, burial.portion.stop)]

    def deliveries(self, number: int) -> int:
        return sum(number in call for call in self.calls)


def live(
    batch: Sequence[Record],
    handle: Handler,
    rules: PortionRules,
    now_s: float = ARRIVAL_S,
    unit: float = 0.5,
    call_s: float = 0.0,
) -> Life:
    """Drive the batch to its end; a call takes `call_s`."""
    life, progress = Life(), BatchInProgress(batch, rules)
    while True:
        match progress.next_step(Instant(now_s), now_s):
            case Call(records=part):
                life.calls.append(numbers(part))
                life.called_at_s.append(now_s)
                now_s += call_s
                obey(life, progress.answered(handle(part), Instant(now_s), now_s, unit))
            case WaitUntil(due):
                life.waits_s.append(due - now_s)
                now_s = due
            case Bury() as burial:
                obey(life, burial)
            case Done():
                assert progress.open == 0
                return life
            case step:
                assert_never(step)
        assert progress.open == len(batch) - len(life.ends)


def obey(life: Life, verdict: Verdict) -> None:
    life.verdicts.append(verdict)
    match verdict:
        case Settle(portion) | GoOn(portion, _):
            life.settled += range(portion.start, portion.stop)
            life.ends += range(portion.start, portion.stop)
        case Bury(portion, _):
            life.burials.append(verdict)
            life.ends += range(portion.start, portion.stop)
        case Retry() | Split():
            pass
        case _:
            assert_never(verdict)
