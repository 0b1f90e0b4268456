"""What a table's items are known by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.aws.session import translated
from headrace.errors import Denied, NotFound, SettingsError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

SETTING: Final = "HEADRACE_SINK_TABLE"

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


async def serving_key(client: DynamoDBClient, table: str) -> tuple[str, ...]:
    """Names of the key attributes of the table for results, partition key first.

    Raises SettingsError when it is not there, not readable or not ready; Throttled, Unavailable.
    """
    try:
        schema = await describe_keys(client, table)
    except NotFound as error:
        raise SettingsError(SETTING, table, "there is no such table", "Create it, or name another") from error
    except Denied as error:
        raise SettingsError(SETTING, table, str(error), "Allow dynamodb:DescribeTable on it") from error
    if not schema.is_writable:
        raise SettingsError(SETTING, table, f"the table is {schema.status}", "Start again when it is ACTIVE")
    return schema.names
