"""Why DynamoDB cancelled a transaction decides whether a condition failed, another try helps, or nothing does."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from headrace.aws.lease_table import DynamoLeaseTable
from headrace.errors import Rejected, Throttled
from headrace.rows import Key, PutRow, Refused, TransactionRefused

REQUESTS = [PutRow(Key("pk", sk), {"n": 1}) for sk in "ab"]


class Cancelling:
    """A client whose transactions are all cancelled for these reasons."""

    def __init__(self, *reasons: dict[str, object]) -> None:
        self.reasons = list(reasons)

    async def transact_write_items(self, **_: object) -> None:
        error = {"Code": "TransactionCanceledException", "Message": "Transaction cancelled"}
        raise ClientError({"Error": error, "CancellationReasons": self.reasons}, "TransactWriteItems")


NONE = {"Code": "None"}
FAILED = {"Code": "ConditionalCheckFailed", "Item": {"pk": {"S": "pk"}, "n": {"N": "7"}}, "Message": "failed"}


async def transact(*reasons: dict[str, object]):
    return await DynamoLeaseTable(Cancelling(*reasons), "t").transact(REQUESTS, "token")


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
async def test_a_conflict_or_a_throttle_passes(code):
    """Nothing was applied: the same transaction may be tried again."""
    with pytest.raises(Throttled, match=code):
        await transact(NONE, {"Code": code, "Message": "busy"})


@pytest.mark.parametrize("code", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
async def test_what_can_never_be_applied_is_rejected(code):
    """Even beside a conflict: trying again would go on for ever."""
    with pytest.raises(Rejected, match=f"{code}: words"):
        await transact({"Code": code, "Message": "words"}, {"Code": "TransactionConflict"})


async def test_a_failed_condition_is_told_with_its_row_beside_a_conflict():
    """The member that stood in conflict is innocent until it is asked again."""
    refused = Refused({"pk": "pk", "n": 7})
    assert await transact(FAILED, {"Code": "TransactionConflict"}) == TransactionRefused((refused, None))


async def test_a_failed_condition_on_a_row_that_is_not_there_has_none():
    """The child that should have been started was deleted."""
    outcome = await transact(NONE, {"Code": "ConditionalCheckFailed"})
    assert outcome == TransactionRefused((None, Refused(None)))
