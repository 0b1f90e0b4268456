"""TransactWriteItems: operations and the lease's row to a request body, and a cancellation to what it means.

AWS's rules (API reference, TransactWriteItems): at most 100 actions on distinct items, 4 MB in all; a token makes a repeat
of the same call harmless for ten minutes. Names of attributes are put in placeholders of our own, beside those that a
condition of the user's brings along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, assert_never

import msgspec

from headrace.aws.cancellation import CONDITION_FAILED, INNOCENT, LASTING, PASSING, CancellationReason, Cancelled
from headrace.aws.lease_table import member as row_member
from headrace.aws.lease_table import row_of
from headrace.aws.statement_call import MOST_SHAPES, fault_of
from headrace.core.items import attributes, careful_attributes
from headrace.core.native import Native
from headrace.core.rendered_items import RenderedItem
from headrace.errors import AwsError, Throttled, Unavailable
from headrace.operations import Condition, Delete, Effect, Increment, Put, Update
from headrace.transactions import CommitOutcome, Committed, OperationsRefused, RowRefused, Transaction

TARGET: Final = "DynamoDB_20120810.TransactWriteItems"

Wrap: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""Attributes to what DynamoDB takes."""


class Action(msgspec.Struct, gc=False, omit_defaults=True):
    """The inside of a member; what it has no use for is left out."""

    TableName: str
    Item: Any = None
    Key: Any = None
    UpdateExpression: str = ""
    ConditionExpression: str = ""
    ExpressionAttributeNames: Mapping[str, str] = {}
    ExpressionAttributeValues: Any = None


class PutMember(msgspec.Struct, gc=False):
    """One put."""

    Put: Action


class UpdateMember(msgspec.Struct, gc=False):
    """One update."""

    Update: Action


class DeleteMember(msgspec.Struct, gc=False):
    """One delete."""

    Delete: Action


Member: TypeAlias = PutMember | UpdateMember | DeleteMember | dict[str, Any]


class Call(msgspec.Struct, gc=False):
    """The whole request. The rows come first."""

    TransactItems: list[Member]
    ClientRequestToken: str


_encode = msgspec.json.Encoder().encode


def encode(transaction: Transaction, table: str, lease_table: str, native: Native | None = None) -> bytes:
    """The body; `table` is the one of operations that name none. Raises ValueError, TypeError or RecursionError: see `faults`."""
    try:
        item = attributes if native is None else _compiled(native)
        return _encode(_call(transaction, table, lease_table, attributes, item))
    except (TypeError, ValueError, RecursionError):
        return _encode(_call(transaction, table, lease_table, careful_attributes, careful_attributes))


def _compiled(native: Native) -> Wrap:
    """A put's item by the transcoder, but for what it declines."""

    def wrap(item: Mapping[str, Any]) -> Any:
        if type(item) is RenderedItem:
            return msgspec.Raw(item.text)
        try:
            return msgspec.Raw(native.encoder.item(item))
        except native.declined:
            return attributes(item)

    return wrap


def faults(operations: Sequence[Effect], table: str) -> dict[int, str]:
    """Which operations cannot be encoded, and why, without any value of them."""
    found = {
        place: fault_of(lambda effect=effect: _member(effect, table, careful_attributes, careful_attributes))  # type: ignore[misc]
        for place, effect in enumerate(operations)
    }
    return {place: reason for place, reason in found.items() if reason is not None}


def read(answer: bytes) -> CommitOutcome:
    """What an answer that is no error says. Raises Unavailable for one that makes no sense."""
    try:
        msgspec.json.decode(answer, type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unavailable(f"TransactWriteItems: the answer makes no sense: {type(error).__name__}") from error
    return Committed()


def read_cancelled(cancelled: Cancelled, transaction: Transaction) -> CommitOutcome:
    """What became of it. Raises Throttled where it may be tried again, AwsError for a reason that nobody has heard of."""
    operations, rows = transaction.operations, len(transaction.rows)
    if len(cancelled.reasons) != rows + len(operations):
        raise Unavailable(f"{cancelled}: {len(cancelled.reasons)} reasons for {rows + len(operations)} members")
    for place, reason in enumerate(cancelled.reasons[:rows]):
        if reason.Code == CONDITION_FAILED:
            return RowRefused(place, None if not reason.Item else row_of(reason.Item))
    reasons = {
        place: _in_words(reason, operations[place])
        for place, reason in enumerate(cancelled.reasons[rows:])
        if reason.Code in LASTING
    }
    if reasons:
        return OperationsRefused(reasons)
    blamed = {reason.Code for reason in cancelled.reasons} - {INNOCENT}
    raise (Throttled if blamed and blamed <= PASSING else AwsError)(str(cancelled))


def _in_words(reason: CancellationReason, effect: Effect) -> str:
    """Names and expressions only, no values."""
    if reason.Code == CONDITION_FAILED and not isinstance(effect, Increment) and effect.condition is not None:
        return f"its condition does not hold: {effect.condition.expression}"
    return reason.Message or reason.Code


# --- operations → members ---------------------------------------------------------------------------------------------


def _call(transaction: Transaction, table: str, lease_table: str, wrap: Wrap, wrap_item: Wrap) -> Call:
    members: list[Member] = [row_member(row, lease_table) for row in transaction.rows]
    members.extend([_member(effect, table, wrap, wrap_item) for effect in transaction.operations])
    return Call(members, transaction.token)


def _member(effect: Effect, table: str, wrap: Wrap, wrap_item: Wrap) -> Member:
    table = effect.table or table
    match effect:
        case Put():
            return PutMember(_conditional(Action(table, wrap_item(effect.item)), effect.condition, wrap))
        case Delete():
            return DeleteMember(_conditional(Action(table, Key=wrap(effect.key)), effect.condition, wrap))
        case Increment():
            return UpdateMember(_changing(Update(effect.key, increment=effect.by), table, wrap))
        case Update():
            return UpdateMember(_conditional(_changing(effect, table, wrap), effect.condition, wrap))
        case _:
            assert_never(effect)


def _conditional(action: Action, condition: Condition | None, wrap: Wrap) -> Action:
    if condition is None:
        return action
    action.ConditionExpression = condition.expression
    action.ExpressionAttributeNames = {**action.ExpressionAttributeNames, **condition.names}
    if condition.values:
        action.ExpressionAttributeValues = {**(action.ExpressionAttributeValues or {}), **wrap(condition.values)}
    return action


def _changing(update: Update, table: str, wrap: Wrap) -> Action:
    changes = _changes(tuple(update.assign), tuple(update.increment), tuple(update.remove))
    values = [*wrap(update.assign).values(), *wrap(update.increment).values()]
    return Action(
        table,
        Key=wrap(update.key),
        UpdateExpression=changes.expression,
        ExpressionAttributeNames=changes.names,
        ExpressionAttributeValues=dict(zip(changes.values, values, strict=True)) or None,
    )


class Changes(NamedTuple):
    """The text of an update, and what stands for its names and values."""

    expression: str
    names: Mapping[str, str]
    values: Sequence[str]


@lru_cache(MOST_SHAPES)
def _changes(assign: tuple[str, ...], increment: tuple[str, ...], remove: tuple[str, ...]) -> Changes:
    stand_in = {name: f"#headrace{place}" for place, name in enumerate((*assign, *increment, *remove))}
    value = {name: f":headrace{place}" for place, name in enumerate((*assign, *increment))}
    clauses = {
        "SET": [f"{stand_in[name]} = {value[name]}" for name in assign],
        "ADD": [f"{stand_in[name]} {value[name]}" for name in increment],
        "REMOVE": [stand_in[name] for name in remove],
    }
    text = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)
    return Changes(text, {placeholder: name for name, placeholder in stand_in.items()}, tuple(value.values()))
