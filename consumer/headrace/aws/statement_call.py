"""BatchExecuteStatement: PartiQL statements to a request body, and its answer to what became of each of them.

AWS's rules (API reference, BatchExecuteStatement): 1 to 25 statements on distinct items in a call; an answer for each, in
their order; status 200 says nothing about them. Names stand in the text, values beside it, so a text is made once for
each shape of item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec

from headrace.aws.statements import literal, quoted
from headrace.core.items import WRAP, ItemError, N, S, careful_attributes
from headrace.core.native import Native, compiled_values
from headrace.core.rendered_items import RenderedValues
from headrace.errors import AwsError, Denied, NotFound, Throttled, Unavailable
from headrace.operations import Effect, Put

TARGET: Final = "DynamoDB_20120810.BatchExecuteStatement"

LONGEST_TEXT: Final = 8192
"""Characters of a statement (API reference, BatchStatementRequest)."""

THROTTLED: Final = frozenset(
    {"ProvisionedThroughputExceeded", "RequestLimitExceeded", "ThrottlingError", "TransactionConflict"}
)
"""Errors of one statement after which it was certainly not applied (API reference, BatchStatementError)."""

DUPLICATE: Final = "DuplicateItem"
"""An INSERT met an item with its key."""

CONDITION_FAILED: Final = "ConditionalCheckFailed"
"""A condition of WHERE did not hold, or there was no such item."""

MOST_SHAPES: Final = 4096
"""Shapes of items (a table and names in their order) whose statements are kept: names may be data."""

Names: TypeAlias = tuple[str, ...]

Wrap: TypeAlias = Callable[[Mapping[str, Any]], tuple[Names, Sequence[Any]]]
"""An item to its names and values, which are either all to be encoded or all `bytes`: JSON already."""


class Statement(msgspec.Struct, gc=False, omit_defaults=True):
    """One statement; its text is JSON already."""

    Statement: msgspec.Raw
    Parameters: Sequence[Any] | msgspec.Raw
    ReturnValuesOnConditionCheckFailure: str = ""


class Call(msgspec.Struct, gc=False):
    """The whole request."""

    Statements: list[Statement]


class StatementError(msgspec.Struct, gc=False):
    """Why a statement was not carried out; `Item` is what it met, where it asked for that."""

    Code: str = ""
    Message: str = ""
    Item: dict[str, dict[str, Any]] | None = None


class StatementAnswer(msgspec.Struct, gc=False):
    """What became of one statement."""

    Error: StatementError | None = None
    Item: dict[str, msgspec.Raw] | None = None


class _Answer(msgspec.Struct, gc=False):
    Responses: list[StatementAnswer]


CARRIED_OUT: Final = StatementAnswer()

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Answer).decode


def encode(statements: Sequence[Statement]) -> bytes:
    """The request body. Raises ValueError, TypeError or RecursionError for what cannot be encoded."""
    return _encode(Call(list(statements)))


def read(answer: bytes, statements: int, table: str) -> list[StatementAnswer]:
    """What became of each. Raises Unavailable for an answer that makes no sense.

    The answer that is nearly every one, all carried out on `table` and nothing to tell, is known without being parsed.
    """
    if answer == _all_carried_out(table, statements):
        return [CARRIED_OUT] * statements
    try:
        responses = _decode(answer).Responses
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unavailable(f"BatchExecuteStatement: the answer makes no sense: {type(error).__name__}") from error
    if len(responses) != statements:
        raise Unavailable(f"BatchExecuteStatement: {len(responses)} answers to {statements} statements")
    return responses


@lru_cache(64)
def _all_carried_out(table: str, statements: int) -> bytes:
    return _encode({"Responses": [{"TableName": table}] * statements})


def trouble(error: StatementError) -> AwsError | None:
    """What kept a statement from being carried out though nothing is wrong with it; None where it was refused."""
    text = f"BatchExecuteStatement: {error.Code}: {error.Message}"
    match error.Code:
        case code if code in THROTTLED:
            return Throttled(text)
        case "InternalServerError":
            return Unavailable(text)
        case "AccessDenied":
            return Denied(text)
        case "ResourceNotFound":
            return NotFound(text)
        case _:
            return None


def wrapped(item: Mapping[str, Any]) -> tuple[Names, Sequence[Any]]:
    """Names and values of an item, as DynamoDB takes them, side by side. Raises ItemError."""
    if type(item) is RenderedValues:
        return item.names, item.values_json
    try:
        return tuple(item), [WRAP[type(value)](value) for value in item.values()]
    except (KeyError, ValueError, RecursionError):
        return careful(item)


def wrapping(native: Native | None) -> Wrap:
    """`wrapped`; by the transcoder, where there is one, but for what it declines."""
    if native is None:
        return wrapped
    values, declined = native.encoder.values, native.declined

    def wrap(item: Mapping[str, Any]) -> tuple[Names, Sequence[Any]]:
        if type(item) is RenderedValues:
            return item.names, item.values_json
        try:
            return values(item)
        except declined:
            return wrapped(item)

    return wrap


def careful(item: Mapping[str, Any]) -> tuple[Names, list[Any]]:
    """The same at five times the price; finds every fault. Raises ItemError with its place."""
    attribute_values = careful_attributes(item)
    return tuple(attribute_values), list(attribute_values.values())


def item_of(effect: Effect) -> Mapping[str, Any]:
    """The item of a put, which is all that statements of items write."""
    assert isinstance(effect, Put)  # noqa: S101 - the mode has let nothing else in
    return effect.item


def parameters(values: Sequence[Any]) -> Sequence[Any] | msgspec.Raw:
    """Values of a statement in its order; see `Wrap`."""
    if (compiled := compiled_values(values)) is not None:
        return msgspec.Raw(compiled.listed(()))
    if type(values[0]) is bytes:
        return msgspec.Raw(b"[%b]" % b",".join(values))
    return values


def beside(values: Sequence[Any], value: S | N) -> Any:
    """A further value in the form that these have."""
    return _encode(value) if type(values[0]) is bytes else value


def text_json(text: str, names: Names) -> msgspec.Raw:
    """A statement's text as JSON. Raises ItemError where it is too long: `names` are those of the item."""
    if len(text) > LONGEST_TEXT:
        problem = (
            f"the item's {len(names)} names make a statement of {len(text):,} characters; {LONGEST_TEXT:,} are allowed"
        )
        raise ItemError(names[0], problem)
    return msgspec.Raw(_encode(text))


def insert_text(table: str, names: Names) -> str:
    """The statement that inserts an item with these attributes."""
    pairs = ", ".join(f"{literal(name)}: ?" for name in names)
    return f"INSERT INTO {quoted(table)} VALUE {{{pairs}}}"


def where_key(key_names: Names) -> str:
    """The whole key of an item, as a condition."""
    return " AND ".join(f"{quoted(name)} = ?" for name in key_names)


def fault_of(make: Callable[[], object]) -> str | None:
    """Why something cannot be encoded, without any value of it; None if it can."""
    try:
        _encode(make())
    except ItemError as error:
        return str(error)
    except (TypeError, ValueError, RecursionError) as error:
        return f"the item cannot be encoded ({type(error).__name__})"
    return None
