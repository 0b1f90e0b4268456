"""Which records a handler sees: the event source mapping's filter criteria, and a little beyond them.

A record is kept when any filter matches [esm]. A filter is a JSON pattern of `data`, the payload parsed for the sake of
matching only; the handler gets its bytes untouched. Beyond the event source mapping, which knows `data` alone:

  - `partitionKey`, `sequenceNumber` (text), `approximateArrivalTimestamp` (seconds, a number) and `shardId` may stand
    beside `data`; a filter without `data` never looks at the payload;
  - up to 10 filters (AWS: 5, and 10 on request);
  - numbers are compared exactly, of any size;
  - what becomes of a payload that is not JSON is a choice; AWS drops it silently.

Not JSON is also what a JSON reader can't hold: text that is not UTF-8, arrays some thousand deep, a whole number above
4,300 digits where a pattern looks. Of a key that stands twice in a payload's object the last one counts.

  [esm]  Lambda developer guide, invocation-eventfiltering and with-kinesis-filtering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Literal, TypeAlias, TypedDict, cast

import msgspec
from msgspec import UNSET

from headrace.core.filter_operators import FilterPatternError
from headrace.core.filter_patterns import (
    OR,
    Compiled,
    Test,
    Wanted,
    all_of,
    branches_of,
    compile_leaf,
    compile_value,
    merged,
    parse_pattern,
)
from headrace.model import Record

__all__ = ["Drop", "FilterPatternError", "Filters", "Keep", "NonJson", "NotJson", "Verdict", "compile_filters"]

NonJson: TypeAlias = Literal["drop", "pass", "dead_letter"]
"""What becomes of a record whose payload a filter needs and which is not JSON. AWS: drop."""

MAX_FILTERS: Final = 10
"""The event source mapping takes 5, and 10 after a quota request [esm]."""


@dataclass(frozen=True, slots=True)
class Keep:
    """A filter matched: deliver the record."""


@dataclass(frozen=True, slots=True)
class Drop:
    """No filter matched: the record is settled without a call, and counted."""


@dataclass(frozen=True, slots=True)
class NotJson:
    """A filter had to look into the payload and could not; do with the record what `policy` says, and count it."""

    policy: NonJson


Verdict: TypeAlias = Keep | Drop | NotJson

KEEP: Final = Keep()
DROP: Final = Drop()

_UNREADABLE: Final = object()


def _arrival(record: Record) -> int | bytes:
    """Seconds as a JSON number would show them: whole ones without a fraction."""
    return int(record.arrival_s) if record.arrival_s.is_integer() else repr(record.arrival_s).encode()


_METADATA: Final[dict[str, Callable[[Record], Any]]] = {
    "partitionKey": lambda record: record.partition_key,
    "sequenceNumber": lambda record: str(record.sequence_number),
    "approximateArrivalTimestamp": _arrival,
    "shardId": lambda record: record.shard_id,
}

DATA: Final = "data"


@dataclass(frozen=True, slots=True)
class _Branch:
    """One way to match: all tests of the record itself, and then, if there is one, the test of its payload."""

    metadata: tuple[Callable[[Record], int], ...] = ()
    data: Compiled | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """Compiled filters. Without any, every record is kept."""

    _branches: tuple[tuple[tuple[Callable[[Record], int], ...], Test | None], ...]
    _read: Callable[[bytes], Any]
    _not_json: NotJson

    def verdict(self, record: Record) -> Verdict:
        """What becomes of this record. Its payload is parsed once at most, and only if a filter has to see it."""
        payload: Any = UNSET
        for metadata, test in self._branches:
            for holds in metadata:
                if not holds(record):
                    break
            else:
                if test is None:
                    return KEEP
                if payload is UNSET:
                    payload = self._read(record.data)
                    if payload is _UNREADABLE:
                        return self._not_json
                if test(payload):
                    return KEEP
        return DROP


def compile_filters(patterns: Sequence[str], non_json: NonJson) -> Filters:
    """Compile the filters of one mapping, once, at the start. No patterns: everything is kept, as AWS does (recorded).

    Raises FilterPatternError (a ValueError): which filter and where in it, what is wrong, how to mend it.
    """
    if len(patterns) > MAX_FILTERS:
        mend = 'Join some of them in one pattern with "$or", or with several values in one list'
        raise FilterPatternError("filter criteria", f"{len(patterns)} filters, above {MAX_FILTERS}", mend)
    branches: list[_Branch] = []
    for number, text in enumerate(patterns, start=1):
        at = f"filter {number}"
        branches += _branches(parse_pattern(text, at), at)
    branches.sort(key=lambda branch: branch.data is not None)  # what needs no payload is asked first
    return Filters(
        tuple((branch.metadata, branch.data.test if branch.data else None) for branch in branches or [_Branch()]),
        _reader([branch.data.wanted for branch in branches if branch.data]),
        NotJson(non_json),
    )


def _branches(pattern: dict[str, Any], at: str) -> list[_Branch]:
    """The ways to match a pattern of a record: its keys are ANDed, the objects under `$or` ORed."""
    if not pattern:
        raise FilterPatternError(
            at, "an empty object asks for nothing", 'Write {"data": {...}}, or leave the filter out'
        )
    branches = [_Branch()]
    for key, value in pattern.items():
        if key == OR:
            ways = [way for branch in branches_of(value, f"{at}, {OR}") for way in _branches(branch, f"{at}, {OR}")]
        else:
            ways = [_branch(key, value, at)]
        branches = [_both(branch, way) for branch in branches for way in ways]
    return branches


def _branch(key: str, pattern: Any, at: str) -> _Branch:
    first, dot, rest = key.partition(".")
    if first == DATA:
        return _Branch(data=compile_value({rest: pattern} if dot else pattern, f"{at}, {DATA}"))
    if key not in _METADATA:
        mend = f"Keys of the payload go under {DATA!r}; beside it there are {', '.join(_METADATA)}"
        raise FilterPatternError(at, f"a record has no {key!r}", mend)
    if not isinstance(pattern, list):
        raise FilterPatternError(f"{at}, {key}", "a single value, so no object", 'Write a list of values: ["a", "b"]')
    value_of, test = _METADATA[key], compile_leaf(pattern, f"{at}, {key}")
    return _Branch(metadata=(lambda record: test(value_of(record)),))


def _both(one: _Branch, other: _Branch) -> _Branch:
    metadata = one.metadata + other.metadata
    if one.data is None or other.data is None:
        return _Branch(metadata, one.data or other.data)
    both = all_of([one.data.test, other.data.test])
    return _Branch(metadata, Compiled(both, merged(one.data.wanted, other.data.wanted)))


# --- reading a payload -------------------------------------------------------------------------------------------------


def _reader(wanted: Sequence[Wanted]) -> Callable[[bytes], Any]:
    """Parses payloads as far as the patterns look, keeping the text of numbers; the rest is only checked to be JSON."""
    nothing: Wanted = {}
    narrow = msgspec.json.Decoder(_type_of(reduce(merged, wanted, nothing)), float_hook=str.encode)
    whole = msgspec.json.Decoder(float_hook=str.encode)

    def read(data: bytes) -> Any:
        try:
            if not data.isascii():
                data.decode()  # strings that no pattern looks at are skipped undecoded
            try:
                return narrow.decode(data)
            except msgspec.ValidationError:  # JSON all the same, of a shape that the patterns do not look for
                return whole.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _UNREADABLE

    return read


def _type_of(wanted: Wanted) -> Any:
    """The type that makes the decoder build the wanted keys of an object and skip the others."""
    if wanted is None:
        return Any
    record_type, array_type = cast("Any", TypedDict), cast("Any", list)  # made at run time, so Any to mypy
    of_object = record_type("Payload", {key: _type_of(below) for key, below in wanted.items()}, total=False)
    single = of_object | str | int | float | bool | None
    return single | array_type[single | list[Any]]
