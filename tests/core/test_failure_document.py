"""The document of an on-failure destination: AWS's fields, byte for byte, and what AWS leaves out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.failure_document import (
    Cut,
    Elsewhere,
    Inline,
    failure_document,
    identity_of,
    letter_of,
    mapping_id,
    object_key,
    payload_of,
)
from headrace.core.lambda_event import EventEncoder
from headrace.model import DeadLetter, FailedAttempt, Record, WorkerId

STREAM = "arn:aws:kinesis:us-east-2:123456789012:stream/mystream"
NUMBER = 49601189658422359378836298521827638475320189012309704722
LETTER = DeadLetter(
    stream="mystream",
    record=Record(b'{"n": 1}', "1", NUMBER, 1573691884.835, "shardId-000000000001"),
    reason="RetryAttemptsExhausted",
    error="ValueError",
    message="bad",
    attempts=2,
    buried_at=datetime(2019, 11, 14, 0, 38, 6, 21_000, tzinfo=UTC),
    worker=WorkerId("w"),
    epoch=3,
    stream_arn=STREAM,
    handler="arn:aws:lambda:us-east-2:123456789012:function:myfunction",
    traceback="Traceback",
    request_id="c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5",
    log=(FailedAttempt(datetime(2019, 11, 14, 0, 38, 5, tzinfo=UTC), 1, "ValueError"),),
)


def of_aws(document: bytes) -> dict:
    parsed = json.loads(document)
    del parsed["headrace"]
    return parsed


def test_fields_order_and_forms_are_those_of_aws():
    """As in the developer guide, for a batch of one."""
    assert json.dumps(of_aws(failure_document(LETTER, Inline()))) == json.dumps(
        {
            "requestContext": {
                "requestId": "c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5",
                "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:myfunction",
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 2,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": "2019-11-14T00:38:06.021Z",
            "KinesisBatchInfo": {
                "shardId": "shardId-000000000001",
                "startSequenceNumber": str(NUMBER),
                "endSequenceNumber": str(NUMBER),
                "approximateArrivalOfFirstRecord": "2019-11-14T00:38:04.835Z",
                "approximateArrivalOfLastRecord": "2019-11-14T00:38:04.835Z",
                "batchSize": 1,
                "streamArn": STREAM,
            },
        }
    )


def test_an_answer_that_named_the_record_is_no_function_error():
    """Recorded: null."""
    document = of_aws(failure_document(replace(LETTER, is_function_error=False), Inline()))

    assert document["responseContext"]["functionError"] is None


@pytest.mark.parametrize("attempts", [0, 1, 8])
def test_a_record_that_outlived_its_age_has_no_response(attempts):
    """Recorded: no responseContext, a request id in any case, and a count of 1 though nothing was called."""
    letter = replace(LETTER, reason="RecordAgeExceeded", attempts=attempts, request_id="")
    document = of_aws(failure_document(letter, Inline()))

    assert "responseContext" not in document
    assert document["requestContext"]["approximateInvokeCount"] == max(1, attempts)
    assert document["requestContext"]["requestId"] == str(identity_of(letter))


def test_an_object_in_s3_has_the_event_as_text_within_the_json():
    """Documented: an escaped JSON string."""
    document = json.loads(failure_document(LETTER, Inline(), with_event=True))

    expected = EventEncoder(STREAM, LETTER.handler).encode([LETTER.record]).decode()
    assert document["payload"] == expected
    assert json.loads(document["payload"])["Records"][0]["kinesis"]["sequenceNumber"] == str(NUMBER)


def test_a_handler_that_is_no_function_of_lambda_gets_an_arn_beside_the_stream():
    """Readers of AWS's document expect one."""
    document = of_aws(failure_document(replace(LETTER, handler="app:handle"), Inline()))

    assert document["requestContext"]["functionArn"] == "arn:aws:lambda:us-east-2:123456789012:function:app.handle"


def test_the_key_of_an_object_has_aws_s_form_and_is_the_same_for_the_same_record():
    """Whenever and by whomever it is buried."""
    key = object_key("orders", LETTER)
    later = replace(LETTER, buried_at=datetime(2030, 1, 1, tzinfo=UTC), worker=WorkerId("x"), attempts=9)

    mapping = mapping_id("orders", "mystream")
    assert key == f"aws/lambda/{mapping}/shardId-000000000001/2019/11/14/2019-11-14T00.38.04-{identity_of(LETTER)}"
    assert object_key("orders", later) == key
    assert object_key("orders", replace(LETTER, stream="other")) != key
    assert object_key("other", LETTER) != key


instants = st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - hypothesis adds the zone itself
    lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000, tzinfo=UTC)
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
letters = st.builds(
    DeadLetter,
    stream=texts,
    record=st.builds(
        Record,
        st.binary(max_size=100),
        texts,
        st.integers(0, 10**56),
        st.floats(0, 4e9).map(lambda value: round(value, 3)),
        st.just("shardId-000000000001"),
        st.integers(-1, 1000),
    ),
    reason=texts,
    error=texts,
    message=texts,
    attempts=st.integers(0, 10_000),
    buried_at=instants,
    worker=texts.map(WorkerId),
    epoch=st.integers(1, 10**6),
    stream_arn=st.just(STREAM),
    handler=texts,
    traceback=texts,
    request_id=texts,
    is_function_error=st.booleans(),
    log=st.lists(st.builds(FailedAttempt, instants, st.integers(1, 10_000), texts), max_size=3).map(tuple),
)


@given(letters, st.booleans())
def test_a_letter_comes_back_from_its_document_as_it_was(letter, with_event):
    """Exact number, exact payload."""
    assert letter_of(failure_document(letter, Inline(), with_event=with_event)) == letter


@given(letters)
def test_a_payload_that_is_elsewhere_is_put_back(letter):
    """The document says where."""
    document = failure_document(letter, Elsewhere("s3://bucket/key"))

    assert payload_of(document) == Elsewhere("s3://bucket/key")
    assert letter_of(document, letter.record.data) == letter


def test_a_payload_that_was_cut_is_marked_with_its_size():
    """Nobody takes the document for the whole of it."""
    document = failure_document(LETTER, Cut())

    assert payload_of(document) == Cut()
    assert json.loads(document)["headrace"]["payloadBytes"] == len(LETTER.record.data)
    with pytest.raises(ValueError, match="payload"):
        letter_of(document)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"7", b"{}", b'{"headrace": {}}', b'{"headrace": 1}'])
def test_any_other_text_is_no_letter(text):
    """A queue may hold anything."""
    with pytest.raises(ValueError, match="not a dead letter"):
        letter_of(text)
