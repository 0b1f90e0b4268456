"""TransactWriteItems: what is asked, and what each answer and each reason of a cancellation means."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from headrace.aws import transaction_call
from headrace.aws.cancellation import CancellationReason, Cancelled
from headrace.aws.transactions import DynamoTransactions
from headrace.core.native import Native
from headrace.core.write_modes import NotCarried
from headrace.errors import AwsError, Throttled, Unavailable
from headrace.operations import Condition, Delete, Increment, Put, Update
from headrace.rows import Absent, Key, UpdateRow
from headrace.transactions import Committed, OperationsRefused, RowRefused, Transaction

LEASE = UpdateRow(Key("L", "shard"), (Absent("done"),), {"ck": "1"})
LETTER = UpdateRow(Key("D", "shard#1"), (Absent("at"),), {"at": 1.5})
OPERATIONS = (
    Put({"pk": "a"}, condition=Condition("attribute_not_exists(pk)")),
    Increment({"pk": "b"}, {"n": 1}),
)
NONE = CancellationReason()
FAILED = CancellationReason("ConditionalCheckFailed", "The conditional request failed")


def transaction(*operations: Any, rows: Any = (LEASE,)) -> Transaction:
    return Transaction(operations or OPERATIONS, rows, "token", 1, 2)


def members(*operations: Any, native: Native | None = None) -> list[dict[str, Any]]:
    return json.loads(transaction_call.encode(transaction(*operations), "things", "leases", native))["TransactItems"]


def test_an_item_of_any_kind_is_put_as_it_is(native):
    """Also one that the transcoder leaves to Python."""
    put, other = members(Put({"pk": "a", "n": Decimal("1.10")}), Put(OrderedDict(pk="b")), native=native)[1:]
    assert put["Put"]["Item"] == {"pk": {"S": "a"}, "n": {"N": "1.10"}}
    assert other["Put"]["Item"] == {"pk": {"S": "b"}}


def read(*reasons: CancellationReason, rows: Any = (LEASE,)) -> Any:
    return transaction_call.read_cancelled(Cancelled("cancelled", reasons), transaction(rows=rows))


def test_the_leases_row_comes_first_and_its_refusal_brings_the_row_along():
    """Which tells whether an earlier try was applied."""
    row, put = members(Put({"pk": "a", "n": 1}, "others"))
    assert row["Update"]["TableName"] == "leases"
    assert row["Update"]["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
    assert put == {"Put": {"TableName": "others", "Item": {"pk": {"S": "a"}, "n": {"N": "1"}}}}


def test_names_of_any_kind_and_the_users_own_placeholders_stand_beside_each_other():
    """Reserved words and dots are names like others."""
    condition = Condition("#status = :old", {":old": "new"}, {"#status": "status"})
    _, update, increment, delete = members(
        Update({"pk": "a"}, {"status": "x", "a.b": [1]}, {"count": 2}, ["old name"], condition=condition),
        Increment({"pk": "b"}, {"count": 1}),
        Delete({"pk": "c"}, condition=Condition("attribute_exists(pk)")),
    )
    asked = update["Update"]
    text = asked["UpdateExpression"]
    for stand_in, name in asked["ExpressionAttributeNames"].items():
        text = text.replace(f"{stand_in} ", f"{name} ").replace(f"{stand_in},", f"{name},")
    assert text.startswith("SET status = :headrace0, a.b = :headrace1 ADD count :headrace2 REMOVE #headrace3")
    assert asked["ExpressionAttributeNames"]["#headrace3"] == "old name"
    assert asked["ExpressionAttributeNames"]["#status"] == "status"
    assert asked["ExpressionAttributeValues"][":old"] == {"S": "new"}
    assert asked["ExpressionAttributeValues"][":headrace2"] == {"N": "2"}
    assert asked["ConditionExpression"] == "#status = :old"
    assert increment["Update"]["ExpressionAttributeValues"] == {":headrace0": {"N": "1"}}
    assert delete["Delete"] == {
        "TableName": "things",
        "Key": {"pk": {"S": "c"}},
        "ConditionExpression": "attribute_exists(pk)",
    }


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_conflict_or_a_throttle_may_be_tried_again(code):
    """Of the row or of an item."""
    for reasons in ((CancellationReason(code), NONE, NONE), (NONE, NONE, CancellationReason(code))):
        with pytest.raises(Throttled):
            read(*reasons)


def test_a_refused_row_goes_before_everything_else_that_was_refused():
    """A worker that lost the lease buries nothing."""
    there = CancellationReason("ConditionalCheckFailed", None, {"pk": {"S": "L"}, "ep": {"N": "7"}})
    assert read(there, FAILED, CancellationReason("TransactionConflict")) == RowRefused(0, {"pk": "L", "ep": 7})
    assert read(FAILED, NONE, NONE) == RowRefused(0, None)
    assert read(NONE, FAILED, NONE, NONE, rows=(LEASE, LETTER)) == RowRefused(1, None)


def test_a_refused_operation_is_told_by_its_place_even_beside_a_conflict():
    """Its condition in words, or AWS's own; never a value."""
    refused = read(NONE, FAILED, CancellationReason("TransactionConflict"))
    assert isinstance(refused, OperationsRefused)
    assert dict(refused.reasons) == {0: "its condition does not hold: attribute_not_exists(pk)"}
    refused = read(NONE, NONE, CancellationReason("ValidationError", "incorrect data type"))
    assert dict(refused.reasons) == {1: "incorrect data type"}


@pytest.mark.parametrize("code", ["AccessDenied", "SomethingNew"])
def test_a_reason_that_nobody_has_heard_of_buries_nothing(code):
    """It is tried again, loudly."""
    with pytest.raises(AwsError) as caught:
        read(NONE, CancellationReason(code), NONE)
    assert type(caught.value) is AwsError


def test_reasons_that_do_not_go_with_what_was_asked_are_no_answer():
    """A truncated list could blame the wrong operation."""
    with pytest.raises(Unavailable):
        read(FAILED)


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"\xff", b""])
async def test_an_answer_that_makes_no_sense_is_no_success(answer):
    """A proxy's page is no proof that something was written."""
    made = DynamoTransactions(Says(answer), None, "things", "leases")  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await made.commit(transaction(), lambda: True)
    assert (made.counts.failed, made.counts.written) == (1, 0)


async def test_what_a_transaction_stood_for_is_counted():
    """Also what was folded."""
    made = DynamoTransactions(Says(b"{}"), None, "things", "leases")  # type: ignore[arg-type]
    assert await made.commit(Transaction(OPERATIONS, (LEASE,), "t", 3, 5), lambda: True) == Committed()
    assert (made.counts.requests, made.counts.written, made.counts.folded) == (1, 5, 3)


def test_the_lease_table_is_no_place_for_results():
    """A handler that named it could move any checkpoint."""
    made = DynamoTransactions(Says(b"{}"), None, "things", "leases")  # type: ignore[arg-type]
    with pytest.raises(NotCarried, match="is the lease table"):
        made.key(Put({"pk": "L", "sk": "x"}, "leases"))


class Says:
    """A channel with one answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def post(self, target: str, body: bytes, permit: Callable[[], bool]) -> bytes:
        assert permit()
        assert target == transaction_call.TARGET
        return self._answer
