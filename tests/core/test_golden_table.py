"""The golden table: AWS's own numbers for an event source mapping, line by line, and ours beside them.

Each line is told in docs/delivery.md under its name. `recorded` numbers come from runs against AWS (LocalStack's validated
snapshots), the others are arithmetic over what the developer guide says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from core.one_batch import ARRIVAL_S, FIRST_SEQUENCE, Handler, Life, live, naming, numbers, poison, records, rules
from msgspec import structs

from headrace.core.answers import NotInvoked, Reports, Success, WholeFailure, read_text
from headrace.core.batching import BatchRules
from headrace.core.failure_document import Inline, failure_document
from headrace.core.filters import Keep, compile_filters
from headrace.core.lane import EventLimit, Lane
from headrace.core.portions import Bisect, Bury, PortionRules
from headrace.core.verdict import HANDLER_BACKOFF
from headrace.model import DeadLetter, Instant, Record, WorkerId

ABSENT = "absent"
"""The document has no responseContext."""

EXHAUSTED, TOO_OLD = "RetryAttemptsExhausted", "RecordAgeExceeded"
RAISED = WholeFailure("Exception", "boom")
THE_DOCUMENTS_TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    """What goes in, how often each record is delivered, and what is buried: condition, invoke count, records, error."""

    handler: Handler
    rules: PortionRules
    deliveries: Sequence[int]
    buried: Sequence[tuple[str, int, int, str | None]] = ()
    batch_size: int = 100
    ages_s: Sequence[float] = ()


def answering(value: object, reports: Reports = Reports.ALWAYS) -> Handler:
    """Always the same answer, as the handler's process sends it."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return lambda batch: read_text(text, [record.sequence_number for record in batch], reports)


def reporting(*places: int) -> Handler:
    """Names those of these records that are in the batch, the first place first."""

    def handle(batch: Sequence[Record]) -> object:
        failed = [FIRST_SEQUENCE + place for place in places if place in numbers(batch)]
        answer = {"batchItemFailures": [{"itemIdentifier": str(number)} for number in failed]}
        return answering(answer)(batch)

    return handle


def failures(**members: object) -> dict[str, object]:
    return {"batchItemFailures": [members]}


def with_one_good(identifier: object) -> Handler:
    def handle(batch: Sequence[Record]) -> object:
        good = {"itemIdentifier": str(batch[-1].sequence_number)}
        return answering({"batchItemFailures": [good, {"itemIdentifier": identifier}]})(batch)

    return handle


def throttled(times: int) -> Handler:
    left = iter(range(times))
    return lambda _: NotInvoked() if next(left, None) is not None else RAISED


def raising(_: Sequence[Record]) -> WholeFailure:
    return RAISED


TWICE = rules(2)
BAD_REPORT = [(EXHAUSTED, 3, 1, None)]
RETRIED = rules(-1, age_s=60, backoff=HANDLER_BACKOFF)

RECORDED = {
    # The six answers that are a success: one call each.
    "answer-empty-text": Line(answering(""), TWICE, [1]),
    "answer-empty-list": Line(answering([]), TWICE, [1]),
    "answer-null": Line(answering(None), TWICE, [1]),
    "answer-empty-object": Line(answering({}), TWICE, [1]),
    "answer-no-failures": Line(answering({"batchItemFailures": []}), TWICE, [1]),
    "answer-null-failures": Line(answering({"batchItemFailures": None}), TWICE, [1]),
    "answer-zero-bytes": Line(answering(b"", Reports.NEVER), TWICE, [1]),
    # The six that fail the batch: N = 2, three calls each, then the document.
    "identifier-empty": Line(answering(failures(itemIdentifier="")), TWICE, [3], BAD_REPORT),
    "identifier-null": Line(answering(failures(itemIdentifier=None)), TWICE, [3], BAD_REPORT),
    "identifier-missing": Line(answering(failures(foo=123)), TWICE, [3], BAD_REPORT),
    "identifier-missing-null": Line(answering(failures(foo=None)), TWICE, [3], BAD_REPORT),
    "identifier-unknown": Line(answering(failures(itemIdentifier=123)), TWICE, [3], BAD_REPORT),
    "raised": Line(raising, TWICE, [3], [(EXHAUSTED, 3, 1, "Unhandled")]),
    # The destination's document: N = 1.
    "one-retry": Line(raising, rules(1), [2], [(EXHAUSTED, 2, 1, "Unhandled")]),
    # Six records in batches of three, N = 3, the last one fails: progress is free.
    "progress-is-free": Line(reporting(5), rules(3), [1, 1, 1, 1, 1, 5], [(EXHAUSTED, 4, 1, None)], batch_size=3),
    # Age: while retrying without a limit of retries, before the first call, and at the head of a batch.
    "age-while-retrying": Line(raising, RETRIED, [8], [(TOO_OLD, 8, 1, ABSENT)]),
    "age-before-the-first-call": Line(raising, rules(0, age_s=60), [0], [(TOO_OLD, 1, 1, ABSENT)], ages_s=[61]),
    "age-at-the-head": Line(answering(None), rules(age_s=60), [0, 1, 1, 1, 1, 1], [(TOO_OLD, 1, 1, ABSENT)], ages_s=[61, 0, 0, 0, 0, 0]),
    # Batches.
    "ten-in-one-batch": Line(answering(None), TWICE, [1] * 10),
    "three-batches-of-ten": Line(answering(None), TWICE, [1] * 30, batch_size=10),
}  # fmt: skip

DOCUMENTED = {
    "lowest-identifier": Line(reporting(7, 3, 5), rules(0), [1] * 3 + [2] * 5, [(EXHAUSTED, 1, 5, None)]),
    "reports-off": Line(answering(failures(itemIdentifier=""), Reports.NEVER), TWICE, [1] * 3),
    "throttles-are-free": Line(throttled(5), rules(0), [6], [(EXHAUSTED, 1, 1, "Unhandled")]),
    "split-is-free": Line(poison(1), rules(1, Bisect.AT_ONCE), [2, 3], [(EXHAUSTED, 2, 1, "Unhandled")]),
    "bisect-buries-one": Line(
        poison(6), rules(0, Bisect.AT_ONCE), [2] * 4 + [3] * 2 + [4] * 2, [(EXHAUSTED, 1, 1, "Unhandled")]
    ),
    "bisect-at-the-identifier": Line(
        reporting(4), rules(2, Bisect.AT_ONCE), [1] * 4 + [5] + [3] * 3, [(EXHAUSTED, 3, 1, None)]
    ),
}

DECIDED = {
    "mixed-identifiers": Line(with_one_good("1"), TWICE, [3, 3], [(EXHAUSTED, 3, 2, None)]),
    "answer-not-understood": Line(answering("3 handled"), TWICE, [3, 3], [(EXHAUSTED, 3, 2, None)]),
    "first-record-named": Line(reporting(0), TWICE, [3, 3], [(EXHAUSTED, 3, 2, None)]),
    "first-record-named-bisect": Line(
        reporting(0), rules(2, Bisect.AT_ONCE), [4, 2], [(EXHAUSTED, 3, 1, None)]
    ),
    "bad-answer-splits-nothing": Line(
        answering("3 handled"), rules(2, Bisect.AT_ONCE), [3, 3], [(EXHAUSTED, 3, 2, None)]
    ),
    "no-retries-still-split": Line(poison(0), rules(0, Bisect.AT_ONCE), [2, 2], [(EXHAUSTED, 1, 1, "Unhandled")]),
    "halves-have-a-fresh-budget": Line(
        poison(0, 1), rules(1, Bisect.AT_ONCE), [3, 3], [(EXHAUSTED, 2, 1, "Unhandled")] * 2
    ),
    "odd-number": Line(poison(2), rules(0, Bisect.AT_ONCE), [2, 3, 3], [(EXHAUSTED, 1, 1, "Unhandled")]),
    "age-reached-is-not-exceeded": Line(answering(None), rules(age_s=60), [1], ages_s=[60]),
}  # fmt: skip

LINES = {**RECORDED, **DOCUMENTED, **DECIDED}


@pytest.mark.parametrize("name", LINES)
def test_ours_is_aws_s(name):
    """Deliveries of each record, and the document of each burial: condition, invoke count, records, error."""
    line = LINES[name]
    lives = lived(line)

    assert [life.deliveries(n) for life, n in each_record(lives, line)] == line.deliveries
    assert [told(life, burial) for life in lives for burial in life.burials] == list(line.buried)


def lived(line: Line) -> list[Life]:
    """The line's records through a lane's batches and their lives, one after the other, as a shard has them."""
    batch = records(len(line.deliveries))
    ages = line.ages_s or [0.0] * len(batch)
    lane: Lane[Record] = Lane(BatchRules(line.batch_size), EventLimit())
    for record, age in zip(batch, ages, strict=True):
        lane.add(structs.replace(record, arrival_s=ARRIVAL_S - age), 1, Instant(0.0))
    lives = []
    while part := lane.take():
        lives.append(live(part, line.handler, line.rules, now_s=ARRIVAL_S))
    return lives


def each_record(lives: list[Life], line: Line) -> list[tuple[Life, int]]:
    return [(lives[n // line.batch_size], n) for n in range(len(line.deliveries))]


def told(life: Life, burial: Bury) -> tuple[str, int, int, str | None]:
    """What the destination is told of a burial."""
    last = burial.portion.last
    is_function_error = last is not None and isinstance(last.failure, WholeFailure) and last.failure.is_function_error
    letter = DeadLetter(
        stream="s",
        record=records(1)[0],
        reason=burial.reason,
        error="",
        message="",
        attempts=burial.approximate_invoke_count,
        buried_at=THE_DOCUMENTS_TIME,
        worker=WorkerId("w"),
        epoch=1,
        is_function_error=is_function_error,
    )
    document = json.loads(failure_document(letter, Inline()))
    response = document.get("responseContext", {"functionError": ABSENT})
    request = document["requestContext"]
    assert request["requestId"]
    return request["condition"], request["approximateInvokeCount"], burial.portion.size, response["functionError"]


def test_the_recorded_filter_keeps_what_aws_kept():
    """`{"data": {"event_type": ["function_1"]}}` over records for two functions."""
    filters = compile_filters(['{"data":{"event_type":["function_1"]}}'], "drop")
    kinds = [f"function_{n % 2 + 1}" for n in range(10)]
    batch = [structs.replace(record, data=json.dumps({"event_type": kind}).encode()) for record, kind in zip(records(10), kinds, strict=True)]  # fmt: skip

    assert [isinstance(filters.verdict(record), Keep) for record in batch] == [kind == "function_1" for kind in kinds]


@pytest.mark.parametrize("unit", [0.3, 0.5, 0.7, 0.9])
def test_the_calls_within_an_age_limit_come_near_aws_s(unit):
    """AWS made 8 in 60 s and publishes no curve; ours depends on chance, with 8 in the middle."""
    (life,) = lived(replace(RECORDED["age-while-retrying"], deliveries=[0]))
    assert len(life.calls) == 8
    assert 7 <= len(live(records(1), raising, RETRIED, unit=unit).calls) <= 10


# --- calls for one poison record in a batch of n, at worst -----------------------------------------------------------


@dataclass(frozen=True)
class Calls:
    """By when a batch is split; `named` where the handler's answer names the record."""

    at_once: int
    when_exhausted: int
    no_bisect: int
    named: int


CALLS = {
    (100, 3): Calls(at_once=18, when_exhausted=39, no_bisect=4, named=5),
    (1_000, 3): Calls(at_once=24, when_exhausted=54, no_bisect=4, named=5),
    (10_000, 10): Calls(at_once=39, when_exhausted=179, no_bisect=11, named=12),
}


@pytest.mark.parametrize(("size", "retries"), CALLS)
def test_one_poison_record_costs_these_calls(size, retries):
    """It is the last one, which lies deepest; with bisect or a report it is buried alone, without either all are."""
    calls, bad = CALLS[size, retries], size - 1

    def life(handler: Handler, bisect: Bisect) -> Life:
        return live(records(size), handler, rules(retries, bisect))

    split, late, whole = (life(poison(bad), bisect) for bisect in (Bisect.AT_ONCE, Bisect.WHEN_EXHAUSTED, Bisect.OFF))
    named = [life(naming(bad), bisect) for bisect in Bisect]

    assert [len(one.calls) for one in (split, late, whole)] == [calls.at_once, calls.when_exhausted, calls.no_bisect]
    assert [len(one.calls) for one in named] == [calls.named] * len(Bisect)
    assert all(one.buried == [bad] and len(one.settled) == size - 1 for one in (split, late, *named))
    assert whole.buried == list(range(size))


def test_a_success_is_one_call_whatever_the_size():
    """Nothing above is paid for where nothing fails."""
    assert len(live(records(10_000), lambda _: Success(), rules(10, Bisect.AT_ONCE)).calls) == 1


# --- the page --------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "delivery.md"


def test_the_page_tells_every_line_and_its_calls():
    """By its name; and the table of calls with its numbers."""
    page = PAGE.read_text()
    assert [name for name in LINES if f"`{name}`" not in page] == []
    for (size, retries), calls in CALLS.items():
        row = f"| {size:,} | {retries} | {calls.at_once} | {calls.when_exhausted} | {calls.named} | {calls.no_bisect}, and {size - 1:,} good"
        assert row in page


def test_every_test_that_the_page_names_is_there():
    """In the file that it names."""
    named = re.findall(r"`(test_\w+)\.py::(test_\w+)`", PAGE.read_text())
    there = {
        (path.stem, test)
        for path in (ROOT / "tests").rglob("test_*.py")
        for test in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 30
    assert [one for one in named if one not in there] == []
