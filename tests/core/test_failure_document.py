"""The document of an on-failure destination: AWS's fields, byte for byte, and what AWS leaves out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
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


@pytest.mark.parametrize(
    ("letter", "context"),
    [
        pytest.param(
            replace(LETTER, attempts=3),
            {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            id="an exception, batch size 1, two retries: 3 calls",
        ),
        pytest.param(
            replace(LETTER, attempts=3, is_function_error=False),
            {"statusCode": 200, "executedVersion": "$LATEST", "functionError": None},
            id="a bad report, batch size 1, two retries: 3 calls",
        ),
        pytest.param(
            replace(LETTER, attempts=4, is_function_error=False),
            {"statusCode": 200, "executedVersion": "$LATEST", "functionError": None},
            id="the last of 6 records, three retries after progress: 4 calls of its own",
        ),
        pytest.param(replace(LETTER, reason="RecordAgeExceeded", attempts=8), None, id="expired while it was retried"),
        pytest.param(replace(LETTER, reason="RecordAgeExceeded", attempts=0), None, id="expired before the first call"),
    ],
)
def test_a_case_that_was_recorded_has_the_members_that_aws_gave_it(letter, context):
    """Order and names of all of them, and of the response."""
    document = of_aws(failure_document(letter, Inline()))

    response = [] if context is None else ["responseContext"]
    assert list(document) == ["requestContext", *response, "version", "timestamp", "KinesisBatchInfo"]
    assert document.get("responseContext") == context
    assert document["requestContext"]["approximateInvokeCount"] == max(1, letter.attempts)
    assert document["KinesisBatchInfo"]["batchSize"] == 1


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


broken_texts = st.text(
    st.sampled_from("a\x00\x1f\x7f\ud7ff\ud800\udfff\ue000\ufffd\ufffe\uffff\U00010000"), max_size=20
)


@given(broken_texts, st.binary(max_size=20))
def test_whatever_an_error_says_makes_a_document_that_sqs_takes(text, data):
    """Errors quote broken data; half a character is a question mark, and none is left that no message may hold."""
    letter = replace(
        LETTER,
        record=msgspec.structs.replace(LETTER.record, data=data),
        error=text,
        message=text,
        traceback=text,
        handler=text,
        log=(replace(LETTER.log[0], error=text),),
    )
    document = failure_document(letter, Inline(), with_event=True)

    allowed = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
    assert allowed.fullmatch(document.decode())
    assert letter_of(document).message == text.encode(errors="replace").decode()


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


def changed(**members: object) -> bytes:
    """A document of ours, but for these members of `headrace`."""
    document = json.loads(failure_document(LETTER, Inline()))
    document["headrace"] |= members
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"headrace": {}}',
        b'{"headrace": 1}',
        b"\xff",
        b"[" * 100_000,
        b'{"x":' + b"[" * 100_000,
        failure_document(LETTER, Inline()).replace(str(NUMBER).encode(), b"many"),
        failure_document(LETTER, Inline()).replace(b"2019-11-14T00:38:06.021Z", b"2019-11-14T00:38:06.021"),
        changed(partitionKey=5),
        changed(stream=["orders"]),
        changed(payload=None),
    ],
)
def test_any_other_text_is_no_letter(text):
    """A queue may hold anything."""
    with pytest.raises(ValueError, match="not a dead letter"):
        letter_of(text)
