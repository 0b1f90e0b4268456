"""One session and its clients, and the one place where AWS's errors become ours.

Region, credentials, endpoints, proxies and CA bundle come from botocore's own chain; no setting of ours repeats them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    InvalidRegionError,
    LoginError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from botocore.parsers import ResponseParserError

import headrace
from headrace.aws.error_codes import family
from headrace.aws.request_hooks import CallHooks
from headrace.errors import AwsError, Denied, Rejected, SettingsError, Unavailable

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

BROKEN: Final = (
    HTTPClientError,
    BotoConnectionError,
    IncompleteReadError,
    ChecksumError,
    ResponseParserError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    aiohttp.ClientError,
    OSError,  # TimeoutError is one
)
"""No answer, half an answer, somebody else's answer (a proxy's page), or credentials that did not come just now."""

SIGNED_OUT: Final = (SSOError, LoginError, TokenRetrievalError, NoAuthTokenError)
"""A person has to sign in again."""


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of one process.

    `leases` sends every request once: a repeat is the lease protocol's decision. So does `kinesis`: a repeat inside the
    client would spend the calls that a shard allows before the pace knows of it.
    """

    session: AioSession
    kinesis: KinesisClient
    dynamodb: DynamoDBClient
    leases: DynamoDBClient
    hooks: Sequence[CallHooks] = ()


@asynccontextmanager
async def aws_clients(*hooks: CallHooks) -> AsyncIterator[Clients]:
    """Open the clients for as long as the context lasts; `hooks` are told of their calls.

    botocore alone knows AWS_DEFAULT_REGION only; AWS_REGION, which every other SDK reads, is taken where that is unset.
    Raises SettingsError without a usable region, profile, endpoint or pair of keys.
    """
    async with AsyncExitStack() as stack:
        with _settings_of_botocore():
            clients = await _open(stack, hooks)
        yield clients


@asynccontextmanager
async def lease_client(clients: Clients) -> AsyncIterator[DynamoDBClient]:
    """A client for the lease table that belongs to the running loop, with credentials of its own.

    It shares the service models that were read already: 50 ms of processor time become 12.
    """
    session = _hooked(clients.hooks)
    session.register_component("data_loader", clients.session.get_component("data_loader"))
    with _settings_of_botocore():
        config = _config(LEASE_READ_S, 1)
        client = session.create_client("dynamodb", region_name=clients.dynamodb.meta.region_name, config=config)
    async with client as opened:
        yield opened


@asynccontextmanager
async def open_client(
    clients: Clients, service: str, region: str | None = None, connections: int = CONNECTIONS
) -> AsyncIterator[Any]:
    """An ordinary client of another service, for as long as the context lasts; its calls are sent once.

    `region` is that of the other clients unless it is given.
    """
    with _settings_of_botocore():
        where = region or clients.dynamodb.meta.region_name
        client = clients.session.create_client(service, region_name=where, config=_config(READ_S, 1, connections))  # type: ignore[call-overload]
    async with client as opened:
        yield opened


async def _open(stack: AsyncExitStack, hooks: Sequence[CallHooks]) -> Clients:
    session = _hooked(hooks)
    session.set_config_variable("region", session.get_config_variable("region") or os.environ.get("AWS_REGION"))
    ordinary = _config(READ_S, TRIES)
    return Clients(
        session,
        await stack.enter_async_context(session.create_client("kinesis", config=_config(READ_S, 1))),
        await stack.enter_async_context(session.create_client("dynamodb", config=ordinary)),
        await stack.enter_async_context(session.create_client("dynamodb", config=_config(LEASE_READ_S, 1))),
        hooks,
    )


def _hooked(hooks: Sequence[CallHooks]) -> AioSession:
    session = get_session()
    for one in hooks:
        one.attach(session)
    return session


@contextmanager
def _settings_of_botocore() -> Iterator[None]:
    try:
        yield
    except NoRegionError as error:
        raise SettingsError("AWS_REGION", None, "no AWS region is set", "Set it, like eu-central-1") from error
    except InvalidRegionError as error:
        raise SettingsError("AWS_REGION", None, _text(error), "Set it, like eu-central-1") from error
    except ProfileNotFound as error:
        raise SettingsError("AWS_PROFILE", None, _text(error), "Name a profile of the AWS config file") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise _without_credentials(error) from error
    except (CredentialRetrievalError, *SIGNED_OUT) as error:
        raise SettingsError("AWS credentials", None, _text(error), "Sign in again, or mend the profile") from error
    except BotoCoreError as error:
        mend = "Look at the AWS_ variables and at the AWS config file"
        raise SettingsError("AWS configuration", None, _text(error), mend) from error
    except ValueError as error:
        mend = "AWS_ENDPOINT_URL and its relatives hold URLs like http://localhost:4566"
        raise SettingsError("AWS_ENDPOINT_URL", None, _text(error), mend) from error


def _config(read_s: float, tries: int, connections: int = CONNECTIONS) -> AioConfig:
    return AioConfig(
        connect_timeout=CONNECT_S,
        read_timeout=read_s,
        retries={"mode": "standard", "total_max_attempts": tries},
        max_pool_connections=connections,
        # botocore makes this text anew for every request otherwise: 13-17 % of a small call
        user_agent=f"headrace/{headrace.__version__}",
    )


@contextmanager
def translated(service: str, operation: str) -> Iterator[None]:
    """Turn whatever an AWS call raises into the family of `errors`, with the original as its cause.

    Raises Throttled, Unavailable, IteratorExpired, Denied, NotFound, Rejected; AwsError for an unknown refusal;
    SettingsError without credentials.
    """
    try:
        yield
    except ClientError as error:
        raise _family(error)(f"{service} {operation}: {_words(error)}") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise _without_credentials(error) from error
    except SIGNED_OUT as error:
        raise Denied(f"{service} {operation}: {_text(error)}") from error
    except BROKEN as error:
        raise Unavailable(f"{service} {operation}: {_text(error)}") from error
    except BotoCoreError as error:
        raise Rejected(f"{service} {operation}: {_text(error)}") from error


def _without_credentials(error: BotoCoreError) -> SettingsError:
    mend = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role for this machine"
    return SettingsError("AWS credentials", None, f"none are usable: {_text(error)}", mend)


def _text(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _family(error: ClientError) -> type[AwsError]:
    code = error.response.get("Error", {}).get("Code", "")
    return family(code, error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _words(error: ClientError) -> str:
    problem = error.response.get("Error", {})
    return f"{problem.get('Code', 'error')}: {' '.join(str(problem.get('Message', '')).split())}"
