"""headrace's own tables are made when missing and allowed, and checked otherwise."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from contract.lease_tables import DYNALITE, MINISTACK

from headrace.aws.tables import ensure_table
from headrace.errors import SettingsError

on_servers = pytest.mark.parametrize("backend", [MINISTACK, DYNALITE], indirect=True, scope="module")

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
TYPES = [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}]


async def ensure(client, name: str, *, create: bool = True) -> None:
    await ensure_table(client, name, setting="HEADRACE_LEASE_TABLE", create=create, ttl_attribute="exp")


@pytest.fixture
def name() -> str:
    return f"own-{uuid4()}"


@on_servers
async def test_a_missing_table_is_made_ready_to_use(backend, name):
    """Also where the server knows neither recovery nor expiry."""
    await ensure(backend.client, name)
    await ensure(backend.client, name, create=False)

    description = (await backend.client.describe_table(TableName=name))["Table"]
    assert description["TableStatus"] == "ACTIVE"
    assert description["KeySchema"] == KEY
    assert description["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.parametrize("backend", [MINISTACK], indirect=True, scope="module")
async def test_a_new_table_can_be_restored_and_forgets_dead_workers(backend, name):
    """Point-in-time recovery, and expiry on `exp`."""
    await ensure(backend.client, name)

    expiry = (await backend.client.describe_time_to_live(TableName=name))["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "exp"}
    backups = (await backend.client.describe_continuous_backups(TableName=name))["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


@on_servers
async def test_workers_that_start_together_make_it_once(backend, name):
    """The slower ones find it being made, and wait for it."""
    async with asyncio.TaskGroup() as workers:
        for _ in range(5):
            workers.create_task(ensure(backend.client, name))

    assert (await backend.client.describe_table(TableName=name))["Table"]["TableStatus"] == "ACTIVE"


@on_servers
async def test_a_missing_table_that_may_not_be_made_is_named_with_the_mend(backend, name):
    """And is not made."""
    with pytest.raises(SettingsError, match=f"HEADRACE_LEASE_TABLE = '{name}': there is no such table.*CREATE_TABLES"):
        await ensure(backend.client, name, create=False)

    assert name not in (await backend.client.list_tables())["TableNames"]


@on_servers
@pytest.mark.parametrize(
    ("keys", "kinds", "shown"),
    [
        (("device",), "S", "its key is device (S), not pk (S) and sk (S)"),
        (("pk", "sk"), "SN", "its key is pk (S) and sk (N), not pk (S) and sk (S)"),
        (("sk", "pk"), "SS", "its key is sk (S) and pk (S), not pk (S) and sk (S)"),
    ],
)
async def test_a_table_with_another_key_is_refused_before_anything_is_written(backend, name, keys, kinds, shown):
    """Most likely the serving table's name by mistake."""
    schema = [{"AttributeName": key, "KeyType": role} for key, role in zip(keys, ("HASH", "RANGE"), strict=False)]
    types = [{"AttributeName": key, "AttributeType": kind} for key, kind in zip(keys, kinds, strict=True)]
    await backend.client.create_table(
        TableName=name, KeySchema=schema, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST"
    )

    with pytest.raises(SettingsError) as caught:
        await ensure(backend.client, name)

    assert shown in str(caught.value)
    assert caught.value.setting == "HEADRACE_LEASE_TABLE"


@on_servers
async def test_a_name_that_dynamodb_does_not_take_is_a_wrong_setting(backend):
    """Two characters are too short."""
    with pytest.raises(SettingsError, match="HEADRACE_LEASE_TABLE = 'ab'"):
        await ensure(backend.client, "ab")
