"""What a table's items are known by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.aws.session import translated

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

WRITABLE: Final = frozenset({"ACTIVE", "UPDATING"})
"""States in which DynamoDB takes writes (API reference, TableDescription)."""


@dataclass(frozen=True, slots=True)
class KeySchema:
    """Key attribute names, partition key first, their types (`S`, `N` or `B`), and the table's state."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    status: str

    @property
    def is_writable(self) -> bool:
        """The table takes writes now."""
        return self.status in WRITABLE


async def describe_keys(client: DynamoDBClient, table: str) -> KeySchema:
    """Ask DescribeTable. Raises Throttled, Unavailable, Denied, NotFound."""
    with translated("dynamodb", "DescribeTable"):
        description = (await client.describe_table(TableName=table))["Table"]
    ranked = sorted(description["KeySchema"], key=lambda element: element["KeyType"] != "HASH")
    types = {element["AttributeName"]: element["AttributeType"] for element in description["AttributeDefinitions"]}
    names = tuple(element["AttributeName"] for element in ranked)
    return KeySchema(names, tuple(types[name] for name in names), description["TableStatus"])
