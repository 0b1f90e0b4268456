"""Lease tables in memory and on local servers behind one face, for the suites that they all have to pass."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.tables import KEY as KEY_SCHEMA
from headrace.aws.tables import TYPES as KEY_TYPES
from headrace.ports import LeaseTable
from headrace.rows import Applied, Key, PutRow
from headrace.testing.lease_table import MemoryLeaseTable

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

MEMORY = pytest.param("memory")
MINISTACK = pytest.param("ministack", marks=pytest.mark.servers)
DYNALITE = pytest.param("dynalite", marks=pytest.mark.servers)
"""A second opinion: no transactions, and its refusals carry no rows."""

KEY = Key("L#stream#3", "shard")


@dataclass(frozen=True)
class Backend:
    """Where tables are made. `shows_old_rows`: whether a refusal carries the row it met, as on AWS."""

    client: DynamoDBClient | None
    shows_old_rows: bool = True

    async def new_table(self) -> LeaseTable:
        """An empty one."""
        if self.client is None:
            return MemoryLeaseTable()
        name = f"leases-{uuid4()}"
        await self.client.create_table(
            TableName=name, KeySchema=KEY_SCHEMA, AttributeDefinitions=KEY_TYPES, BillingMode="PAY_PER_REQUEST"
        )
        while (await self.client.describe_table(TableName=name))["Table"]["TableStatus"] != "ACTIVE":  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # dynalite says CREATING for some milliseconds
        return DynamoLeaseTable(self.client, name)


def row(key: Key = KEY, **attributes):
    return {"pk": key.pk, "sk": key.sk, **attributes}


async def given(table: LeaseTable, key: Key = KEY, **attributes) -> None:
    assert isinstance(await table.apply(PutRow(key, attributes)), Applied)
