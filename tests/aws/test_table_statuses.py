"""What DynamoDB answers about a table that is made, changed or locked away, and local servers never do."""

from __future__ import annotations

import pytest
import structlog
from botocore.exceptions import ClientError

from headrace.aws.tables import KEY, TYPES, ensure_table
from headrace.errors import SettingsError, Unavailable

pytestmark = pytest.mark.looptime


async def ensure(client, name: str, *, create: bool = True) -> None:
    await ensure_table(client, name, setting="HEADRACE_LEASE_TABLE", create=create, ttl_attribute="exp")


class ScriptedClient:
    """Answers DescribeTable with one status after the other (None: no such table), the last one for ever."""

    def __init__(self, *statuses: str | None, refusals: dict[str, list[str]] | None = None) -> None:
        self.statuses = list(statuses)
        self.refusals = refusals or {}
        self.calls: list[str] = []

    async def describe_table(self, **_: object) -> object:
        self.calls.append("describe_table")
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "none"}}, "DescribeTable")
        return {"Table": {"TableStatus": status, "KeySchema": KEY, "AttributeDefinitions": TYPES}}

    async def answer(self, operation: str) -> None:
        self.calls.append(operation)
        if codes := self.refusals.get(operation):
            raise ClientError({"Error": {"Code": codes.pop(0), "Message": "no"}}, operation)

    async def create_table(self, **_: object) -> None:
        await self.answer("create_table")

    async def update_continuous_backups(self, **_: object) -> None:
        await self.answer("update_continuous_backups")

    async def update_time_to_live(self, **_: object) -> None:
        await self.answer("update_time_to_live")


async def test_a_table_that_somebody_else_is_making_is_waited_for():
    """Its key is known at once, but writes to it would fail."""
    client = ScriptedClient("CREATING", "CREATING", "ACTIVE")
    await ensure(client, "t", create=False)
    assert client.calls == ["describe_table"] * 3


async def test_a_worker_that_is_second_to_make_the_table_waits_for_the_first():
    """Both found none. What protects the table is the first one's business."""
    client = ScriptedClient(None, "CREATING", "ACTIVE", refusals={"create_table": ["ResourceInUseException"]})
    await ensure(client, "t")
    assert client.calls == ["describe_table", "create_table", "describe_table", "describe_table"]


async def test_a_table_that_never_becomes_active_ends_the_start():
    """With a message instead of a wait for ever."""
    with pytest.raises(Unavailable, match="did not become ACTIVE"):
        await ensure(ScriptedClient("CREATING"), "t")


@pytest.mark.parametrize("status", ["ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
async def test_a_table_that_wants_a_person_is_named(status):
    """Waiting does not help."""
    with pytest.raises(SettingsError, match=status):
        await ensure(ScriptedClient(status), "t")


async def test_a_table_under_change_is_usable():
    """UPDATING: an index, say; reads and writes go on."""
    await ensure(ScriptedClient("UPDATING"), "t")


async def test_recovery_is_asked_for_again_while_a_new_table_has_no_backups_yet():
    """The first seconds of a table on AWS."""
    refusals = {"update_continuous_backups": ["ContinuousBackupsUnavailableException"] * 3}
    client = ScriptedClient(None, "ACTIVE", refusals=refusals)
    with structlog.testing.capture_logs() as logs:
        await ensure(client, "t")
    assert client.calls.count("update_continuous_backups") == 4
    assert [entry["event"] for entry in logs] == ["table_created"]


async def test_what_protects_the_table_may_be_refused_and_is_told():
    """A policy with the least rights need not allow it."""
    denied = ["AccessDeniedException"]
    refusals = {"update_continuous_backups": denied[:], "update_time_to_live": denied[:]}
    with structlog.testing.capture_logs() as logs:
        await ensure(ScriptedClient(None, "ACTIVE", refusals=refusals), "t")
    assert [entry["event"] for entry in logs] == [
        "table_created",
        "table_without_recovery",
        "table_without_expiry",
    ]


async def test_a_missing_permission_to_make_the_table_is_the_users_to_mend():
    """With AWS's own words."""
    with pytest.raises(SettingsError, match=r"CreateTable: AccessDeniedException.*create the table beforehand"):
        await ensure(ScriptedClient(None, refusals={"create_table": ["AccessDeniedException"]}), "t")
