"""What one call of a batch handler or Lambda handler amounts to: a closed set of frozen values, and how an answer is read.

With ReportBatchItemFailures the handler may name the records that failed: `{"batchItemFailures": [{"itemIdentifier":
"<sequence number>"}]}`. The rules are those of the Lambda event source mapping. Recorded from AWS: every form of nothing
is a success (`""`, `[]`, null, `{}`, an empty or null list), and an identifier that is empty, null, under another key or
not in the batch fails the whole batch. Where AWS is silent, an answer that cannot be understood fails the whole batch, as
the developer guide has it ("all other results"), for a record that failed must not pass for one that did not:

- one bad identifier among good ones fails the whole batch;
- an identifier has to be a string: a number is refused even where its digits are a record's;
- a string, list, number or boolean that is not empty, and a `batchItemFailures` that is neither list nor null, are refused;
- an object without `batchItemFailures` is a success, whatever else it holds, as `{}` is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from headrace.core.verdict import AskedToReject, AskedToRetry, Failure, Raised

BAD_ANSWER: Final = "BadAnswer"
"""The class of error that stands for an answer nobody can make sense of; Lambda has no word for it."""

_RAISED: Final = Raised()

_KINDS: Final = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}
"""What an answer's parts are called in JSON; a batch handler may also return what has no name there."""


class Reports(Enum):
    """Whether an answer tells which records failed: the ESM's ReportBatchItemFailures, and a middle way that is ours.

    AUTO reads an object with `batchItemFailures` as ALWAYS does, and takes any other answer for a success, as NEVER does:
    a handler that returns a text for a person works, and so does one that reports failures, without a setting.
    """

    AUTO = "auto"
    ALWAYS = "true"
    NEVER = "false"


@dataclass(frozen=True, slots=True)
class Success:
    """Every record of the call was handled."""


@dataclass(frozen=True, slots=True)
class PartialFailure:
    """The handler named records that failed. All before `first` (an index into the call's records) were handled.

    Those after it count as not handled, whatever the handler did with them: the mapping retries from the lowest on.
    """

    first: int

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError(f"no record {self.first}")


@dataclass(frozen=True, slots=True)
class WholeFailure:
    """The call failed for all its records.

    `error` is the class of the error, `message` its text. `is_function_error` tells that the handler raised, crashed, ran
    out of time or memory or gave what is no JSON (AWS's `functionError: "Unhandled"`), from an answer that it gave and
    that cannot be understood (`functionError: null`). `asked` is what the handler wants by raising Reject or Retry.
    """

    error: str = ""
    message: str = ""
    traceback: str = ""
    is_function_error: bool = True
    asked: Failure = _RAISED


@dataclass(frozen=True, slots=True)
class NotInvoked:
    """The handler was not called: no process free, throttled, service down. Never spends an attempt."""

    reason: str = ""


Answer: TypeAlias = Success | PartialFailure | WholeFailure | NotInvoked


def rejected(error: str, message: str, traceback: str = "") -> WholeFailure:
    """The handler raised Reject."""
    return WholeFailure(error, message, traceback, asked=AskedToReject())


def postponed(error: str, message: str, after_s: float | None) -> WholeFailure:
    """The handler raised Retry; `after_s` is None where it left the delay to us."""
    return WholeFailure(error, message, asked=AskedToRetry(after_s))


def read_text(text: bytes, sequence_numbers: Sequence[int], reports: Reports) -> Answer:
    """Read a Lambda handler's answer as it came, UTF-8.

    With NEVER nobody looks at it. No bytes at all are a success (recorded, custom runtime).
    """
    if reports is Reports.NEVER or not text.strip():
        return Success()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Success() if reports is Reports.AUTO else _refused("the answer is not JSON")
    return read_value(value, sequence_numbers, reports)


def read_value(value: Any, sequence_numbers: Sequence[int], reports: Reports) -> Answer:
    """Read what a handler returned. `sequence_numbers` are those of the call's records, in order."""
    if reports is Reports.NEVER or value is None or (isinstance(value, str | list | dict) and not value):
        return Success()
    if not isinstance(value, dict):
        return Success() if reports is Reports.AUTO else _refused(f"the answer is no object but {_kind(value)}")
    failures = value.get("batchItemFailures")
    if failures is None:
        return Success()
    if not isinstance(failures, list):
        return _refused(f"batchItemFailures is no list but {_kind(failures)}")
    return _lowest(failures, sequence_numbers) if failures else Success()


def _lowest(failures: list[Any], sequence_numbers: Sequence[int]) -> Answer:
    # Records of one aggregate share a sequence number: the first of them is meant, and none is left out.
    places = {str(number): index for index, number in reversed(list(enumerate(sequence_numbers)))}
    lowest = len(sequence_numbers)
    for failure in failures:
        if not isinstance(failure, dict) or "itemIdentifier" not in failure:
            return _refused("an element of batchItemFailures has no itemIdentifier")
        identifier = failure["itemIdentifier"]
        if not isinstance(identifier, str):
            return _refused(f"an itemIdentifier is no string but {_kind(identifier)}")
        if identifier not in places:
            return _refused("an itemIdentifier is not in the batch" if identifier else "an itemIdentifier is empty")
        lowest = min(lowest, places[identifier])
    return PartialFailure(lowest)


def _refused(problem: str) -> WholeFailure:
    return WholeFailure(BAD_ANSWER, problem, is_function_error=False)


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), type(value).__name__)
