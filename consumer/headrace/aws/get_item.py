"""One item by its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.aws.scan import python_value
from headrace.aws.session import translated
from headrace.core.items import attributes

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


async def get_item(client: DynamoDBClient, table: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """Strongly consistent; None where there is none. Raises Throttled, Unavailable, Denied, NotFound, Rejected."""
    wire = msgspec.to_builtins(attributes(key))
    with translated("dynamodb", "GetItem"):
        answer = await client.get_item(TableName=table, Key=wire, ConsistentRead=True)
    item = answer.get("Item")
    return None if item is None else {name: python_value(value) for name, value in item.items()}
