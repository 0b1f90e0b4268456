"""Every way in which a call to AWS fails, and which of our errors it becomes."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    EventStreamError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from headrace.aws.session import translated
from headrace.errors import (
    AwsError,
    Denied,
    IteratorExpired,
    LeaseLost,
    NotFound,
    Rejected,
    Retryable,
    SettingsError,
    Throttled,
    Unavailable,
)

URL = "http://localhost/"


def refusal(code: str, message: str = "words", status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


def translation_of(error: BaseException) -> Exception:
    with pytest.raises(Exception) as caught, translated("dynamodb", "PutItem"):
        raise error
    return caught.value


CODES = {
    Throttled: (
        "KMS.ThrottlingException",
        "KMSThrottling",
        "KMSThrottlingException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TransactionConflictException",
    ),
    Unavailable: (
        "ExpiredNextTokenException",
        "InternalFailure",
        "InternalFailureException",
        "InternalServerError",
        "ServiceUnavailable",
        "TransactionInProgressException",
    ),
    IteratorExpired: ("ExpiredIteratorException",),
    Denied: (
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidSignatureException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KmsDisabled",
        "UnrecognizedClientException",
    ),
    NotFound: (
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NoSuchKey",
        "NotFound",
        "QueueDoesNotExist",
        "ResourceNotFound",
        "ResourceNotFoundException",
    ),
    Rejected: (
        "AWS.SimpleQueueService.BatchRequestTooLong",
        "ConditionalCheckFailedException",
        "InvalidArgumentException",
        "InvalidMessageContents",
        "InvalidParameter",
        "ReceiptHandleIsInvalid",
        "ValidationException",
    ),
    AwsError: ("ResourceInUseException", "TransactionCanceledException", "UnknownOperationException", "WhatIsThis", ""),
}


@pytest.mark.parametrize(("family", "code"), [(family, code) for family, codes in CODES.items() for code in codes])
def test_an_error_code_decides_the_family(family, code):
    """The exact class, so that a permanent error is never taken for a retryable one or the other way round."""
    assert type(translation_of(refusal(code))) is family


@pytest.mark.parametrize(
    ("status", "family"),
    [
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (408, Unavailable),
        (429, Throttled),
        (401, Denied),
        (403, Denied),
        (413, Rejected),
        (302, AwsError),
        (404, AwsError),
    ],
)
def test_an_unknown_code_is_judged_by_its_http_status(status, family):
    """A proxy or load balancer answers with codes of its own, or none. Nothing is held against the request by guess."""
    assert type(translation_of(refusal("WhatIsThis", status=status))) is family


def test_a_throttling_code_with_a_5xx_status_is_certainly_not_applied():
    """`SlowDown` and relatives come with 503."""
    assert type(translation_of(refusal("SlowDown", status=503))) is Throttled


def test_an_error_inside_an_event_stream_is_translated_too():
    """It has no HTTP status."""
    error = EventStreamError({"Error": {"Code": "ResourceNotFoundException", "Message": "gone"}}, "SubscribeToShard")
    assert type(translation_of(error)) is NotFound


LOST = [
    ConnectTimeoutError(endpoint_url=URL),
    ReadTimeoutError(endpoint_url=URL),
    EndpointConnectionError(endpoint_url=URL),
    ConnectionClosedError(endpoint_url=URL),
    HTTPClientError(error="broken"),
    IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ResponseParserError("<html>bad gateway</html>"),
    CredentialRetrievalError(provider="assume-role", error_msg="the token service does not answer"),
    MetadataRetrievalError(error_msg="the metadata service does not answer"),
    aiohttp.ClientPayloadError("cut"),
    aiohttp.ServerDisconnectedError(),
    TimeoutError(),
    ConnectionResetError(104, "reset"),
]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_an_answer_that_did_not_come_whole_is_unavailable(error):
    """The write may have been applied: only a new look at the row tells."""
    found = translation_of(error)

    assert type(found) is Unavailable
    assert isinstance(found, Retryable)
    assert str(found).removeprefix("dynamodb PutItem: ")


def test_a_request_that_botocore_itself_refuses_is_rejected():
    """Sending it again changes nothing."""
    assert type(translation_of(ParamValidationError(report="bad"))) is Rejected


def test_a_person_who_must_sign_in_again_is_denied():
    """Mended outside while the worker waits."""
    assert type(translation_of(UnauthorizedSSOTokenError())) is Denied


@pytest.mark.parametrize(
    "error", [NoCredentialsError(), PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY")]
)
def test_without_credentials_the_message_says_where_botocore_looks_for_them(error):
    """The user's to mend, with exit code 2."""
    found = translation_of(error)

    assert isinstance(found, SettingsError)
    assert "AWS credentials: none are usable" in str(found)
    assert "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role" in str(found)


def test_the_message_names_service_operation_and_what_aws_said_on_one_line():
    """And the original is its cause."""
    error = refusal("ValidationException", "1 validation\n  error detected")
    found = translation_of(error)

    assert str(found) == "dynamodb PutItem: ValidationException: 1 validation error detected"
    assert found.__cause__ is error
    assert isinstance(found, AwsError)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), LeaseLost("gone"), KeyError("a bug")], ids=repr)
def test_what_is_not_an_answer_of_aws_passes_through(error):
    """Cancellation, our own errors and bugs."""
    with pytest.raises(type(error)) as caught, translated("dynamodb", "PutItem"):
        raise error

    assert caught.value is error
