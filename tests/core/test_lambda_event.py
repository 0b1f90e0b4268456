"""The event of a Lambda handler, byte for byte."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.lambda_event import WINDOW_ROOM, EventEncoder
from headrace.core.windows import LARGEST_STATE
from headrace.model import Record, ShardId, WindowCall

STREAM = "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"
ROLE = "arn:aws:iam::123456789012:role/lambda-role"
ENCODER = EventEncoder(STREAM, ROLE)

records = st.builds(
    Record,
    data=st.binary(max_size=200),
    partition_key=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    sequence_number=st.integers(0, 10**56),
    arrival_s=st.floats(0, 4e9).map(lambda value: round(value, 3)),
    shard_id=st.sampled_from(["shardId-000000000006", "shardId-000000012345"]),
)


RECORDED = b"""
{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"1",
   "sequenceNumber":"49590338271490256608559692538361571095921575989136588898",
   "data":"SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==","approximateArrivalTimestamp":1545084650.987},
  "eventSource":"aws:kinesis","eventVersion":"1.0",
  "eventID":"shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
  "eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role",
  "awsRegion":"us-east-2","eventSourceARN":"arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"}]}
"""
"""From the developer guide; the keys are those recorded from AWS."""


def test_a_record_looks_as_aws_recorded_it():
    """Five keys within eight, nothing else, in their order, to the byte."""
    number = 49590338271490256608559692538361571095921575989136588898
    record = Record(b"Hello, this is a test.", "1", number, 1545084650.987, "shardId-000000000006")

    assert ENCODER.encode([record]) == b"".join(line.strip() for line in RECORDED.splitlines())


@given(st.lists(records, min_size=1, max_size=5))
def test_the_size_is_known_before_the_event_is_made(batch):
    """To the byte, whatever the keys and payloads."""
    event = ENCODER.encode(batch)

    assert len(event) == ENCODER.overhead + sum(map(ENCODER.size_of, batch)) - 1
    told = json.loads(event)["Records"]
    assert {(len(one), len(one["kinesis"])) for one in told} == {(8, 5)}
    assert [base64.b64decode(one["kinesis"]["data"]) for one in told] == [record.data for record in batch]
    assert [one["kinesis"]["partitionKey"] for one in told] == [record.partition_key for record in batch]
    assert [int(one["kinesis"]["sequenceNumber"]) for one in told] == [record.sequence_number for record in batch]
    assert [one["kinesis"]["approximateArrivalTimestamp"] for one in told] == [record.arrival_s for record in batch]


def test_a_tumbling_window_adds_its_six_members():
    """As in the developer guide."""
    window = WindowCall(ShardId("shardId-000000000006"), 1607497440.0, 1607497560.0, {"1": 282, "2": 715})
    event = json.loads(ENCODER.encode([Record(b"x", "k", 1, 1607497441.5, "shardId-000000000006")], window))

    assert list(event) == [
        "Records",
        "window",
        "state",
        "shardId",
        "eventSourceARN",
        "isFinalInvokeForWindow",
        "isWindowTerminatedEarly",
    ]
    assert event["window"] == {"start": "2020-12-09T07:04:00Z", "end": "2020-12-09T07:06:00Z"}
    assert event["state"] == {"1": 282, "2": 715}
    assert (event["isFinalInvokeForWindow"], event["isWindowTerminatedEarly"]) == (False, False)


@given(st.dictionaries(st.text(max_size=9), st.integers() | st.text()))
def test_a_window_s_state_is_told_as_it_is(state):
    """Whatever its names and values."""
    window = WindowCall(ShardId("shardId-000000000006"), 1607497440.0, 1607497560.0, state)

    assert json.loads(ENCODER.encode([], window))["state"] == state


@given(records)
def test_a_window_takes_no_more_room_than_is_kept_for_it(record):
    """The largest state and the longest names included."""
    state = {"s": "x" * (LARGEST_STATE - len('{"s":""}'))}
    window = WindowCall(ShardId("shardId-000000000006"), 1607497440.0, 1607497560.0, state, True, True)
    long = EventEncoder(f"arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/{'x' * 128}", ROLE)

    assert len(long.encode([record], window)) <= long.overhead + WINDOW_ROOM + long.size_of(record)


def test_the_last_call_of_a_window_may_have_no_records():
    """An empty list, not a missing one."""
    window = WindowCall(ShardId("shardId-000000000006"), 0.0, 60.0, {}, True)

    assert json.loads(ENCODER.encode([], window))["Records"] == []
