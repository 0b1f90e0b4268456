"""`headrace.testing.run`: a handler's own test."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest

from headrace import Condition, Delete, Increment, Put, Record, Reject, Retry, Update
from headrace.errors import SettingsError
from headrace.testing import Rules, run


def write(record: Record) -> Put:
    payload = record.json()
    if payload.get("bad"):
        raise ValueError("bad")
    return Put({"pk": str(payload["id"]), "n": payload["n"]})


def test_what_a_handler_writes_is_seen_in_its_order_and_as_it_is_in_the_end():
    """Two records of one key: the later one stands."""
    outcome = run(write, [("a", {"id": 1, "n": 1}), ("a", {"id": 1, "n": 2}), ("b", {"id": 2, "n": 3})])

    assert [effect.item["n"] for effect in outcome.effects] == [1, 2, 3]
    assert outcome.items == [{"pk": "1", "n": 2}, {"pk": "2", "n": 3}]
    assert outcome.dead_letters == []
    assert [call.records[0].partition_key for call in outcome.calls] == ["a", "a", "b"]


def test_a_record_that_fails_is_tried_as_often_as_in_production_and_takes_no_time():
    """Five retries with their backoff, and then a dead letter with everything in it."""
    began = time.monotonic()
    outcome = run(write, [{"id": 1, "n": 1, "bad": True}, b"nonsense", {"id": 2, "n": 2}])

    assert time.monotonic() - began < 5
    assert outcome.items == [{"pk": "2", "n": 2}]
    assert sorted((letter.error, letter.attempts) for letter in outcome.dead_letters) == [
        ("DecodeError", 6),
        ("ValueError", 6),
    ]
    failed = [call for call in outcome.calls if isinstance(call.error, ValueError) and b"bad" in call.records[0].data]
    assert [call.records[0].attempt for call in failed] == [1, 2, 3, 4, 5, 6]
    assert failed[-1].at_s - failed[0].at_s > 1, "the backoff did pass, in virtual time"


def test_the_two_signals_of_a_handler_mean_what_they_mean():
    """Reject buries at once; Retry names its own delay."""
    seen = []

    def handle(record: Record):
        if record.data == b"reject":
            raise Reject("unknown device")
        if record.attempt == 1:
            raise Retry(timedelta(hours=3))
        seen.append(record.data)
        return [Delete({"pk": "x"})]

    outcome = run(handle, ["reject", "later"])

    assert [(letter.reason, letter.message, letter.attempts) for letter in outcome.dead_letters] == [
        ("Rejected", "unknown device", 1)
    ]
    assert seen == [b"later"]
    assert outcome.effects == [Delete({"pk": "x"})]


async def handle_async(order: dict) -> dict:
    return {"pk": order["id"]}


def handle_batch(batch: list[dict]) -> list[Put]:
    return [Put({"pk": order["id"]}) for order in batch]


def handle_event(event, context):
    failures = [
        {"itemIdentifier": one["kinesis"]["sequenceNumber"]}
        for one in event["Records"]
        if one["kinesis"]["partitionKey"] == "bad"
    ]
    assert context.get_remaining_time_in_millis() > 0
    return {"batchItemFailures": failures}


@pytest.mark.parametrize("handler", [handle_async, handle_batch], ids=["async", "batch"])
def test_every_kind_of_handler_can_be_run(handler):
    """Known by its signature, as in production; payloads are read by its annotation."""
    outcome = run(handler, [{"id": "a"}, {"id": "b"}, {"id": "c"}])

    assert [item["pk"] for item in outcome.items] == ["a", "b", "c"]


def test_a_lambda_handler_goes_through_partial_failures():
    """Its event and context are the real ones; the record that it names is buried alone."""
    outcome = run(handle_event, [("a", "1"), ("bad", "2"), ("b", "3")], Rules(maximum_attempts=2))

    assert [letter.record.data for letter in outcome.dead_letters] == [b"2"]
    assert [[record.data for record in call.records] for call in outcome.calls] == [
        [b"1", b"2", b"3"],
        [b"2", b"3"],
        [b"2"],
        [b"2"],
        [b"2"],
        [b"3"],
    ]


def test_a_batch_is_bisected_as_in_production():
    """One bad record of eight."""

    def handle(batch):
        if any(record.data == b"5" for record in batch):
            raise ValueError("bad")

    outcome = run(handle, [str(number) for number in range(8)], Rules(maximum_attempts=0))

    assert [letter.record.data for letter in outcome.dead_letters] == [b"5"]
    assert [len(call.records) for call in outcome.calls] == [8, 4, 4, 2, 1, 1, 2]


def test_windows_end_with_their_last_call():
    """Also the one that is open when the records end."""
    totals = []

    def handler(event, context):
        state = event["state"]
        if event["isFinalInvokeForWindow"]:
            totals.append(state["count"])
            return {}
        return {"state": {"count": state.get("count", 0) + len(event["Records"])}}

    run(handler, ["x"] * 25, Rules(batch_size=10, tumbling_window=timedelta(seconds=60)))

    assert sum(totals) == 25


def test_filters_leave_records_out():
    """Neither called nor buried."""
    pattern = json.dumps({"data": {"kind": ["order"]}})
    outcome = run(
        lambda record: {"pk": record.partition_key},
        [("a", {"kind": "order"}), ("b", {"kind": "ping"})],
        Rules(filters=(pattern,)),
    )

    assert [item["pk"] for item in outcome.items] == ["a"]


def test_a_parked_key_s_later_records_are_dead_letters():
    """In their order."""
    payloads = [("k", {"id": 1, "n": 1, "bad": True}), ("k", {"id": 1, "n": 2}), ("l", {"id": 2, "n": 3})]
    outcome = run(write, payloads, Rules(park_keys=True))

    assert [letter.reason for letter in outcome.dead_letters] == ["RetryAttemptsExhausted", "KeyParked"]
    assert outcome.items == [{"pk": "2", "n": 3}]


def test_a_record_that_never_ends_is_an_error_of_the_test():
    """A day of virtual time, unless it is told otherwise."""

    def handle(record: Record):
        raise ValueError("for ever")

    with pytest.raises(TimeoutError):
        run(handle, ["x"], Rules(maximum_attempts=-1), within=timedelta(hours=1))


def test_what_is_no_handler_is_told_as_the_worker_tells_it():
    """With the name of the function."""
    with pytest.raises(SettingsError, match=r"test_runner:.*cannot be called with one argument"):
        run(lambda: None, ["x"], Rules(kind="record"))


def test_counters_and_conditions_are_those_of_the_transactions_they_would_go_in():
    """A handler for mode transactional is tested like any other; elsewhere its increments are refused."""

    def handle(record: Record) -> list:
        amount = record.json()["amount"]
        return [
            Increment({"pk": "total"}, {"amount": amount}),
            Update(
                {"pk": "last"},
                assign={"amount": amount},
                condition=Condition("attribute_not_exists(amount) OR amount < :a", {":a": amount}),
            ),
        ]

    records = [{"amount": amount} for amount in (1, 5, 3, 7)]
    outcome = run(handle, records, Rules(mode="transactional"))
    assert outcome.items == [{"pk": "total", "amount": 13}, {"pk": "last", "amount": 7}]
    assert [letter.message for letter in outcome.dead_letters] == [
        "its condition does not hold: attribute_not_exists(amount) OR amount < :a"
    ]
    refused = run(handle, records[:1], Rules())
    assert "HEADRACE_SINK_MODE=put carries no Increment" in refused.dead_letters[0].message


def test_a_batch_handler_is_refused_in_mode_transactional():
    """As it is by the worker."""
    with pytest.raises(SettingsError, match="batch or Lambda handler"):
        run(lambda batch: None, [b"1"], Rules(kind="batch", mode="transactional"))
