"""One session and its clients, and the one place where AWS's errors become ours.

Region, credentials, endpoints, proxies and CA bundle come from botocore's own chain; no setting of ours repeats them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

import headrace
from headrace.errors import (
    AwsError,
    Denied,
    IteratorExpired,
    NotFound,
    Rejected,
    SettingsError,
    Throttled,
    Unavailable,
)

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_kinesis import KinesisClient

CONNECT_S: Final = 3.0
READ_S: Final = 10.0
"""GetRecords may answer with 10 MiB; all other calls take milliseconds."""

LEASE_READ_S: Final = 3.0
"""A lease write without an answer is read again rather than waited for."""

TRIES: Final = 3
"""Of calls that change nothing, or nothing that a repeat would change again."""

CONNECTIONS: Final = 100
"""Pooled connections of one client: more shards than this share them."""

THROTTLED: Final = frozenset(
    {
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
UNAVAILABLE: Final = frozenset(
    {"InternalFailure", "InternalFailureException", "InternalServerError", "RequestTimeout", "ServiceUnavailable"}
)
DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "KMSAccessDeniedException",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "UnrecognizedClientException",
    }
)
"""Error codes by family: "Common errors" of the AWS APIs, and the error lists of Kinesis and DynamoDB."""


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of one process. `leases` sends every request once: a repeat is the lease protocol's decision."""

    session: AioSession
    kinesis: KinesisClient
    dynamodb: DynamoDBClient
    leases: DynamoDBClient


@asynccontextmanager
async def aws_clients() -> AsyncIterator[Clients]:
    """Open the clients for as long as the context lasts. Raises SettingsError without a region or a usable profile.

    botocore alone knows AWS_DEFAULT_REGION only; AWS_REGION, which every other SDK reads, is taken where that is unset.
    """
    session = get_session()
    session.set_config_variable("region", session.get_config_variable("region") or os.environ.get("AWS_REGION"))
    ordinary = _config(READ_S, TRIES)
    async with AsyncExitStack() as stack:
        try:
            yield Clients(
                session,
                await stack.enter_async_context(session.create_client("kinesis", config=ordinary)),
                await stack.enter_async_context(session.create_client("dynamodb", config=ordinary)),
                await stack.enter_async_context(session.create_client("dynamodb", config=_config(LEASE_READ_S, 1))),
            )
        except NoRegionError as error:
            raise SettingsError("AWS_REGION", None, "no AWS region is set", "Set it, like eu-central-1") from error
        except ProfileNotFound as error:
            raise SettingsError("AWS_PROFILE", None, str(error), "Name a profile of the AWS config file") from error


def _config(read_s: float, tries: int) -> AioConfig:
    return AioConfig(
        connect_timeout=CONNECT_S,
        read_timeout=read_s,
        retries={"mode": "standard", "total_max_attempts": tries},
        max_pool_connections=CONNECTIONS,
        # botocore makes this text anew for every request otherwise: 13-17 % of a small call
        user_agent=f"headrace/{headrace.__version__}",
    )


@contextmanager
def translated(service: str, operation: str) -> Iterator[None]:
    """Turn whatever an AWS call raises into the family of `errors`, with the original as its cause.

    Raises Throttled, Unavailable, IteratorExpired, Denied, NotFound, Rejected; SettingsError without credentials.
    """
    try:
        yield
    except ClientError as error:
        raise _family(error)(f"{service} {operation}: {_words(error)}") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        mend = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role for this machine"
        raise SettingsError("AWS credentials", None, f"none are usable: {error}", mend) from error
    except (HTTPClientError, BotoConnectionError, aiohttp.ClientError, TimeoutError, OSError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise Unavailable(f"{service} {operation}: {text}") from error
    except BotoCoreError as error:
        raise Rejected(f"{service} {operation}: {' '.join(str(error).split())}") from error


def _family(error: ClientError) -> type[AwsError]:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in THROTTLED:
        return Throttled
    if code == "ExpiredIteratorException":
        return IteratorExpired
    if code in DENIED:
        return Denied
    if code.startswith("ResourceNotFound"):
        return NotFound
    if code in UNAVAILABLE or status >= 500:  # noqa: PLR2004 - the server's side
        return Unavailable
    return Rejected


def _words(error: ClientError) -> str:
    problem = error.response.get("Error", {})
    return f"{problem.get('Code', 'error')}: {' '.join(str(problem.get('Message', '')).split())}"
