"""What AWS's error codes mean: one table for the ordinary clients and for the signed channel.

Sources: "Common errors" of the AWS APIs; "Error handling with DynamoDB" of its developer guide; the exceptions that
botocore's models of Kinesis and DynamoDB list for the operations in use; the throttling and transient codes of botocore's
standard retry mode (`botocore.retries.standard`). Each group below names its own.

The rule for what is not in the table: the HTTP status decides, and a refusal that nobody has heard of is a plain AwsError,
for every client. Rejected means that the request itself is known to be wrong: a sink buries records for it, and a start-up
check blames a setting. Neither may happen for an unknown reason, while a plain AwsError stops or repeats loudly.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from headrace.errors import AwsError, Denied, IteratorExpired, NotFound, Rejected, Throttled, Unavailable

THROTTLED: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KMS.ThrottlingException",
        "KMSThrottling",
        "KMSThrottlingException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
    }
)
"""Certainly not applied, and worth another try after a pause.

botocore's throttling codes without TransactionInProgressException, KMS's own (as Kinesis, SNS and SQS spell it), the two
conflicts of DynamoDB: with a transaction, and with another Region's write to a global table of strong consistency; and of SQS
OverLimit: 120,000 messages of a queue are out of sight, and come back.
"""

UNAVAILABLE: Final = frozenset(
    {
        "ExpiredNextTokenException",
        "IDPCommunicationError",
        "InternalFailure",
        "InternalFailureException",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "TransactionInProgressException",
    }
)
"""Perhaps applied, and worth another try.

"Common errors" and botocore's transient codes; of DynamoDB TransactionInProgressException: the same transaction, by its
token, is still on its way and may yet be applied; of Kinesis ExpiredNextTokenException: a listing took too long and begins
anew; of STS IDPCommunicationError: the identity provider did not answer.
"""

EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})
"""The session token has run out ("Common errors"; the spelling differs between services)."""

SKEWED: Final = frozenset({"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"})
"""The time of day in the signature is too far from the service's ("Common errors", and what SDKs correct their clock on)."""

SIGNATURE: Final = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
"""The signature is not the one that the service computes; also said of a wrong time of day, which only the text tells."""

DENIED: Final = (
    EXPIRED
    | SKEWED
    | SIGNATURE
    | {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "UnrecognizedClientException",
    }
)
"""Somebody has to mend credentials or permissions ("Common errors", in the spellings of either protocol version).

Any other refusal by a key of KMS (`KMS...`: disabled, deleted, not allowed; Kinesis, SNS, and SQS as `Kms...`) is of this
kind too.
"""

NOT_FOUND: Final = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NoSuchKey",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "TableNotFoundException",
    }
)
"""The exceptions of Kinesis and DynamoDB, in an older spelling that local servers use as well; of SQS, in both of its
protocols; of SNS; and of S3, where an answer without a body (HeadBucket) has the status for a code."""

REJECTED: Final = frozenset(
    {
        "AWS.SimpleQueueService.BatchRequestTooLong",
        "BatchRequestTooLong",
        "ConditionalCheckFailedException",
        "EntityTooLarge",
        "IdempotentParameterMismatchException",
        "InvalidAddress",
        "InvalidArgumentException",
        "InvalidMessageContents",
        "InvalidParameter",
        "InvalidParameterValue",
        "ItemCollectionSizeLimitExceededException",
        "ParameterValueInvalid",
        "ReceiptHandleIsInvalid",
        "SerializationException",
        "ValidationException",
    }
)
"""The request is wrong in itself, or its own condition refused it (DynamoDB and Kinesis; SQS, SNS and S3, in the API
references of the operations in use).

Not here are states that pass without the request being wrong, like ResourceInUseException, and UnknownOperationException: a
server that does not know an operation says nothing about the items.
"""

_FAMILY_OF: Final[dict[str, type[AwsError]]] = {
    "ExpiredIteratorException": IteratorExpired,  # Kinesis
    **dict.fromkeys(THROTTLED, Throttled),
    **dict.fromkeys(UNAVAILABLE, Unavailable),
    **dict.fromkeys(DENIED, Denied),
    **dict.fromkeys(NOT_FOUND, NotFound),
    **dict.fromkeys(REJECTED, Rejected),
}

_FAMILY_OF_STATUS: Final[dict[int, type[AwsError]]] = {
    HTTPStatus.UNAUTHORIZED: Denied,
    HTTPStatus.FORBIDDEN: Denied,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: Denied,
    HTTPStatus.REQUEST_TIMEOUT: Unavailable,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Rejected,
    HTTPStatus.TOO_MANY_REQUESTS: Throttled,
}
"""What a proxy, a load balancer or a new kind of error says without a code that is known here (RFC 9110, 15.5)."""


def family(code: str, status: int) -> type[AwsError]:
    """The error of ours for an error answer's code (empty without one) and HTTP status (0 inside an event stream)."""
    if known := _FAMILY_OF.get(code):
        return known
    if code.upper().startswith("KMS"):
        return Denied
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable
    return _FAMILY_OF_STATUS.get(status, AwsError)
