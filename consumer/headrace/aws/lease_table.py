"""The lease table in DynamoDB: requests rendered as expressions, answers and refusals read back as rows.

Every write carries its condition and asks for the row it met when the condition fails, which is free and tells why.
Nothing is sent twice here: what a write without an answer means is for the lease protocol to decide.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never, cast

from botocore.exceptions import ClientError

from headrace.aws.cancellation import CANCELLED, CONDITION_FAILED, INNOCENT, PASSING
from headrace.aws.session import Clients, lease_client, translated
from headrace.aws.statement_call import StatementError, trouble
from headrace.aws.statements import statement
from headrace.errors import AwsError, Rejected, Throttled
from headrace.rows import (
    Absent,
    Applied,
    AtMost,
    Condition,
    DeleteRow,
    Equals,
    Key,
    OneOf,
    Outcome,
    Present,
    PutRow,
    Refused,
    Request,
    Row,
    TransactionApplied,
    TransactionOutcome,
    TransactionRefused,
    UpdateRow,
    Value,
)

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

Wire: TypeAlias = dict[str, Any]
"""One attribute value as DynamoDB writes it: {"S": "text"}."""


class DynamoLeaseTable:
    """Implements `ports.LeaseTable` on one table with the string keys `pk` and `sk`."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client: Any = client
        self._table = table

    async def apply(self, request: Request) -> Outcome:
        """One conditional write."""
        operation, parameters = _rendered(request, self._table)
        with translated("dynamodb", _operation_name(request)):
            try:
                answer = await getattr(self._client, operation)(**parameters)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "ConditionalCheckFailedException":
                    raise
                return Refused(_row_or_none(cast("Any", error.response).get("Item")))
        match request:
            case PutRow():
                return Applied({"pk": request.key.pk, "sk": request.key.sk, **request.attributes})
            case UpdateRow():
                return Applied(row_of(answer["Attributes"]))
            case DeleteRow():
                return Applied({})

    async def apply_each(self, requests: Sequence[UpdateRow]) -> list[Outcome | AwsError]:
        """Each by itself, in one BatchExecuteStatement."""
        statements = [statement(request, self._table, _wire) for request in requests]
        with translated("dynamodb", "BatchExecuteStatement"):
            answer = await self._client.batch_execute_statement(Statements=statements)
        return [_outcome(response.get("Error")) for response in answer["Responses"]]

    async def transact(self, requests: Sequence[Request], token: str) -> TransactionOutcome:
        """All of them or none."""
        members = [member(request, self._table) for request in requests]
        with translated("dynamodb", "TransactWriteItems"):
            try:
                await self._client.transact_write_items(TransactItems=members, ClientRequestToken=token)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != CANCELLED:
                    raise
                return _cancelled(cast("Any", error.response).get("CancellationReasons", []))
        return TransactionApplied()

    async def query(self, pk: str, *, consistent: bool = False) -> list[Row]:
        """Every row of a partition."""
        parameters: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
            "ConsistentRead": consistent,
        }
        rows: list[Row] = []
        while True:
            with translated("dynamodb", "Query"):
                page = await self._client.query(**parameters)
            rows.extend(row_of(item) for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return rows
            parameters["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    async def get(self, key: Key) -> Row | None:
        """One row, as it is now."""
        with translated("dynamodb", "GetItem"):
            answer = await self._client.get_item(TableName=self._table, Key=_wire_key(key), ConsistentRead=True)
        return _row_or_none(answer.get("Item"))


@asynccontextmanager
async def open_lease_table(clients: Clients, table: str) -> AsyncIterator[DynamoLeaseTable]:
    """The table through a client of the running loop's own, for as long as the context lasts."""
    async with lease_client(clients) as client:
        yield DynamoLeaseTable(client, table)


def _outcome(error: Mapping[str, Any] | None) -> Outcome | AwsError:
    """What became of one statement; its codes are short (API reference, BatchStatementError)."""
    if not error:
        return Applied({})
    if error.get("Code") == CONDITION_FAILED:
        return Refused(_row_or_none(error.get("Item")))
    told = StatementError(error.get("Code", ""), error.get("Message", ""))
    return trouble(told) or Rejected(f"BatchExecuteStatement: {told.Code}: {told.Message}")


def _cancelled(reasons: Iterable[Mapping[str, Any]]) -> TransactionRefused:
    reasons = list(reasons)
    refused = tuple(
        Refused(_row_or_none(reason.get("Item"))) if reason.get("Code") == CONDITION_FAILED else None
        for reason in reasons
    )
    if not any(refused):
        blamed = [reason for reason in reasons if reason.get("Code") != INNOCENT]
        text = "; ".join(f"{reason.get('Code')}: {reason.get('Message', '')}" for reason in blamed)
        passing = all(reason.get("Code") in PASSING for reason in blamed)
        raise (Throttled if passing else Rejected)(f"dynamodb TransactWriteItems: cancelled for {text or 'no reason'}")
    return TransactionRefused(refused)


# --- requests → expressions -------------------------------------------------------------------------------------------


class _Expression:
    """Collects names and values behind placeholders: attribute names may be reserved words or hold any character."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Wire] = {}
        self._placeholders: dict[str, str] = {}

    def name(self, attribute: str) -> str:
        placeholder = self._placeholders.setdefault(attribute, f"#n{len(self._placeholders)}")
        self.names[placeholder] = attribute
        return placeholder

    def value(self, value: Value) -> str:
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = _wire(value)
        return placeholder

    def all_of(self, conditions: Iterable[Condition]) -> str:
        return " AND ".join(self._condition(condition) for condition in conditions)

    def _condition(self, condition: Condition) -> str:
        match condition:
            case Equals(attribute, value):
                return f"{self.name(attribute)} = {self.value(value)}"
            case AtMost(attribute, value):
                return f"{self.name(attribute)} <= {self.value(value)}"
            case OneOf(attribute, values):
                return f"{self.name(attribute)} IN ({', '.join(self.value(value) for value in values)})"
            case Absent(attribute):
                return f"attribute_not_exists({self.name(attribute)})"
            case Present(attribute):
                return f"attribute_exists({self.name(attribute)})"
            case _:
                assert_never(condition)

    def changes(self, request: UpdateRow) -> str:
        assign = [f"{self.name(name)} = {self.value(value)}" for name, value in request.assign.items()]
        discard = [f"{self.name(name)} {self.value(members)}" for name, members in request.discard.items()]
        clauses = {
            "SET": assign,
            "REMOVE": [self.name(name) for name in request.remove],
            "DELETE": discard,
        }
        return " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)


def _rendered(request: Request, table: str) -> tuple[str, dict[str, Any]]:
    """The client's method and its parameters."""
    parameters = _parameters(request, table)
    match request:
        case PutRow():
            return "put_item", parameters
        case UpdateRow():
            return "update_item", {**parameters, "ReturnValues": "ALL_NEW"}
        case DeleteRow():
            return "delete_item", parameters
        case _:
            assert_never(request)


def _operation_name(request: Request) -> str:
    return {PutRow: "PutItem", UpdateRow: "UpdateItem", DeleteRow: "DeleteItem"}[type(request)]


def member(request: Request, table: str) -> dict[str, Any]:
    """As a part of a transaction."""
    verb = {PutRow: "Put", UpdateRow: "Update", DeleteRow: "Delete"}[type(request)]
    return {verb: _parameters(request, table)}


def _parameters(request: Request, table: str) -> dict[str, Any]:
    expression = _Expression()
    parameters: dict[str, Any] = {"TableName": table, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if isinstance(request, PutRow):
        attributes = {name: _wire(value) for name, value in request.attributes.items()}
        parameters["Item"] = {**_wire_key(request.key), **attributes}
    else:
        parameters["Key"] = _wire_key(request.key)
    if isinstance(request, UpdateRow) and (changes := expression.changes(request)):
        parameters["UpdateExpression"] = changes
    if condition := expression.all_of(request.conditions):
        parameters["ConditionExpression"] = condition
    if expression.names:
        parameters["ExpressionAttributeNames"] = expression.names
    if expression.values:
        parameters["ExpressionAttributeValues"] = expression.values
    return parameters


# --- values -----------------------------------------------------------------------------------------------------------


def _wire_key(key: Key) -> dict[str, Wire]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def _wire(value: Value) -> Wire:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, frozenset):
        return {"SS": sorted(value)}
    return {"N": repr(value)}


def _row_or_none(item: Mapping[str, Wire] | None) -> Row | None:
    return row_of(item) if item else None


def row_of(item: Mapping[str, Wire]) -> Row:
    """What DynamoDB's JSON says of a row."""
    return {name: _value(wire) for name, wire in item.items()}


def _value(wire: Wire) -> Value:
    ((kind, value),) = wire.items()
    match kind:
        case "N":
            return int(value) if value.lstrip("-").isdigit() else float(value)
        case "SS":
            return frozenset(value)
        case "S" | "BOOL":
            return value  # type: ignore[no-any-return]
        case _:
            raise TypeError(f"a lease row has an attribute of type {kind}")
