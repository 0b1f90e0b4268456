"""headrace's own tables: made when missing and allowed, checked otherwise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from headrace.aws.session import translated
from headrace.errors import AwsError, Denied, NotFound, Rejected, SettingsError, Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

log = structlog.get_logger(__name__)

KEY: Final = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
TYPES: Final = [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}]
ASK_AGAIN_S: Final = 0.2
"""Between two looks at a table that is being made: it takes seconds on AWS, nothing on a local server."""

LOOKS: Final = 300
"""Looks at a table that is being made, or deleted under our eyes, before the start is given up: a minute."""

PROTECT_TRIES: Final = 50
"""AWS answers ContinuousBackupsUnavailableException for some seconds after a table was made."""

USABLE: Final = frozenset({"ACTIVE", "UPDATING"})
PASSING: Final = frozenset({"CREATING", "DELETING"})
"""Statuses of a table (API reference, TableDescription). The others want a person."""


async def ensure_table(
    client: DynamoDBClient, name: str, *, setting: str, create: bool, ttl_attribute: str | None = None
) -> None:
    """See that the table is there and has the string keys `pk` and `sk`; several workers may do so at once.

    `setting` is the name under which the user chose the table. Raises SettingsError, Throttled, Unavailable.
    """
    try:
        description = await _describe(client, name)
        if description is None:
            if not create:
                mend = "Create it (string keys pk and sk), or set HEADRACE_CREATE_TABLES=true"
                raise SettingsError(setting, name, "there is no such table", mend)
            await _create(client, name, ttl_attribute)
        description = await _settled(client, name)
    except Denied as error:
        raise SettingsError(setting, name, str(error), "Allow it, or create the table beforehand") from error
    except Rejected as error:
        raise SettingsError(setting, name, str(error), "Name a table that DynamoDB accepts") from error
    _check(description, setting, name)


async def _describe(client: DynamoDBClient, name: str) -> Any:
    try:
        with translated("dynamodb", "DescribeTable"):
            return (await client.describe_table(TableName=name))["Table"]
    except NotFound:
        return None


async def _create(client: Any, name: str, ttl_attribute: str | None) -> None:
    try:
        with translated("dynamodb", "CreateTable"):
            await client.create_table(
                TableName=name, KeySchema=KEY, AttributeDefinitions=TYPES, BillingMode="PAY_PER_REQUEST"
            )
    except AwsError as error:
        if "ResourceInUse" not in str(error):
            raise
        return  # another worker was faster
    log.info("table_created", table=name)
    await _settled(client, name)
    await _protect(client, name, ttl_attribute)


async def _settled(client: DynamoDBClient, name: str) -> Any:
    """The table's description once it is no longer being made. Raises Unavailable where that does not end."""
    for _ in range(LOOKS):
        description = await _describe(client, name)
        if description is not None and description["TableStatus"] not in PASSING:
            return description
        await asyncio.sleep(ASK_AGAIN_S)
    raise Unavailable(f"dynamodb DescribeTable: table {name} did not become ACTIVE within {LOOKS * ASK_AGAIN_S:g} s")


async def _protect(client: Any, name: str, ttl_attribute: str | None) -> None:
    """Point-in-time recovery and expiry: worth having, and not worth a failed start where they cannot be had."""
    try:
        await _recoverable(client, name)
    except AwsError as error:
        log.warning("table_without_recovery", table=name, error=str(error))
    if ttl_attribute is None:
        return
    try:
        with translated("dynamodb", "UpdateTimeToLive"):
            await client.update_time_to_live(
                TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": ttl_attribute}
            )
    except AwsError as error:
        log.warning("table_without_expiry", table=name, error=str(error))


async def _recoverable(client: Any, name: str) -> None:
    for left in reversed(range(PROTECT_TRIES)):
        try:
            with translated("dynamodb", "UpdateContinuousBackups"):
                await client.update_continuous_backups(
                    TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
                )
        except AwsError as error:
            if not left or "ContinuousBackupsUnavailable" not in str(error):
                raise
            await asyncio.sleep(ASK_AGAIN_S)
        else:
            return


def _check(description: Any, setting: str, name: str) -> None:
    key = {element["KeyType"]: element["AttributeName"] for element in description["KeySchema"]}
    types = {element["AttributeName"]: element["AttributeType"] for element in description["AttributeDefinitions"]}
    if key != {"HASH": "pk", "RANGE": "sk"} or (types["pk"], types["sk"]) != ("S", "S"):
        shown = " and ".join(f"{attribute} ({types[attribute]})" for attribute in key.values())
        mend = "Name a table of headrace's own"
        raise SettingsError(setting, name, f"its key is {shown}, not pk (S) and sk (S)", mend)
    status = description["TableStatus"]
    if status not in USABLE:
        raise SettingsError(setting, name, f"the table is {status}", "Start again when it is ACTIVE")
