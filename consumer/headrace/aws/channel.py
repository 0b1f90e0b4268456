"""The signed channel: a body of JSON bytes in, the answer's bytes out, without the stock client's 0.7 ms a call.

For DynamoDB's data operations only. Endpoint, region, credentials, CA bundle and proxies are what botocore resolved.
Nothing is retried here except what one more try with corrected credentials or time mends, and by the wire below what met a
connection that was closing; the caller knows what a repeat would do.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from aiobotocore.session import AioSession
from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies

from headrace.aws.cancellation import CANCELLED, CancellationReason, Cancelled
from headrace.aws.connection_pool import ConnectionPool, Limits
from headrace.aws.error_codes import EXPIRED, SIGNATURE, SKEWED, family
from headrace.aws.origin import Origin, trust_of
from headrace.aws.proxy_wire import open_proxy_wire
from headrace.aws.signing import CachingSigner, CredentialChain, Scope, Signer
from headrace.aws.wire import Answer, UnansweredError, Wire
from headrace.errors import AwsError, Rejected, Unavailable
from headrace.model import Permit
from headrace.ports import Clock

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

OK: Final = 200
"""The only success there is."""


def always() -> bool:
    """The permit of a call that needs none."""
    return True


class Poster(Protocol):
    """What the data operations need of the channel. For requests that may be applied twice: one may be sent again."""

    async def post(self, target: str, body: bytes, permit: Permit = always) -> bytes:
        """Send one request, return the answer's body. `permit` is asked right before anything is sent.

        Raises LeaseLost without a permit; Throttled, Unavailable, Denied, NotFound, Rejected; Cancelled for a transaction;
        AwsError for an unknown code.
        """


class Failure(msgspec.Struct):
    """The body of an error answer: `{"__type": "com.amazonaws.dynamodb.v20120810#ValidationException", "message": ...}`."""

    type: str = msgspec.field(name="__type", default="")
    message: str = ""
    Message: str = ""
    CancellationReasons: list[CancellationReason] = []

    @property
    def code(self) -> str:
        """The error's name without its namespace."""
        return self.type.rpartition("#")[2]

    @property
    def text(self) -> str:
        """AWS's own words; the spelling of the field differs between errors."""
        return self.message or self.Message

    @property
    def is_skew(self) -> bool:
        """The time of day in the signature was refused."""
        in_words = "Signature expired" in self.text or "Signature not yet current" in self.text
        return self.code in SKEWED or (self.code in SIGNATURE and in_words)


_failure = msgspec.json.Decoder(Failure)


class Channel:
    """Posts to one endpoint, over a wire to it."""

    def __init__(self, wire: Wire, signer: Signer) -> None:
        self._wire = wire
        self._signer = signer

    async def post(self, target: str, body: bytes, permit: Permit = always) -> bytes:
        """Sign, send and check. An expired token or a wrong clock is mended and tried again, once."""
        await self._signer.prepare()
        headers = self._signer.headers(target, body)
        answer = await self._send(headers, body, permit)
        if answer.status == OK:
            return _checked(answer, target)
        failure = _read_failure(answer)
        if await self._mend(failure, answer, headers):
            answer = await self._send(self._signer.headers(target, body), body, permit)
            if answer.status == OK:
                return _checked(answer, target)
            failure = _read_failure(answer)
        raise _translated(failure, answer.status, target)

    async def _send(self, headers: dict[str, str], body: bytes, permit: Permit) -> Answer:
        try:
            return await self._wire.exchange(headers, body, permit)
        except UnansweredError as error:
            raise Unavailable(f"{headers['X-Amz-Target']}: {error}") from error

    async def _mend(self, failure: Failure, answer: Answer, headers: dict[str, str]) -> bool:
        if failure.code in EXPIRED:
            await self._signer.renew(headers)
            return True
        if failure.is_skew and (now := _server_time(answer)) is not None:
            self._signer.follow(now)
            return True
        return False


@asynccontextmanager
async def open_channel(
    session: AioSession, client: DynamoDBClient, clock: Clock, *, connections: int, timeout_s: float
) -> AsyncIterator[Channel]:
    """A channel to where `client` points, with at most `connections` requests at once and `timeout_s` for each."""
    scope = Scope(client.meta.endpoint_url, client.meta.region_name)
    signer = CachingSigner(CredentialChain(session), scope, clock)
    async with _open_wire(session, client, scope, Limits(connections, timeout_s)) as wire:
        yield Channel(wire, signer)


@asynccontextmanager
async def _open_wire(session: AioSession, client: DynamoDBClient, scope: Scope, limits: Limits) -> AsyncIterator[Wire]:
    trust, proxy = trust_of(session, scope.url), _proxy_for(client, scope.url)
    if proxy is not None:
        async with open_proxy_wire(scope.url, proxy, trust, limits) as wire:
            yield wire
        return
    pool = ConnectionPool(Origin.of(scope.url, trust), scope.path, limits)
    try:
        yield pool
    finally:
        await pool.close()


def _proxy_for(client: DynamoDBClient, url: str) -> str | None:
    """The client's own proxy for this URL: its config's, else the environment's; looked up once."""
    config: Any = client.meta.config  # botocore sets the attributes of its options by name
    proxies = config.proxies
    found = ProxyConfiguration(get_environ_proxies(url) if proxies is None else proxies).proxy_url_for(url)
    return found or None


def _server_time(answer: Answer) -> datetime | None:
    try:
        return parsedate_to_datetime(answer.date).replace(tzinfo=UTC)  # HTTP dates are in GMT (RFC 9110, 5.6.7)
    except ValueError:
        return None


def _checked(answer: Answer, target: str) -> bytes:
    if answer.crc32 and answer.crc32 != str(zlib.crc32(answer.body)):
        raise Unavailable(f"{target}: the answer was damaged on its way (x-amz-crc32 differs)")
    return answer.body


def _read_failure(answer: Answer) -> Failure:
    try:
        return _failure.decode(answer.body)
    except msgspec.DecodeError:  # a load balancer's or a proxy's page
        return Failure(message=f"HTTP status {answer.status}")


def _translated(failure: Failure, status: int, target: str) -> AwsError:
    operation = target.rpartition(".")[2]
    text = f"{operation}: {failure.code or status}: {failure.text}"
    if failure.code == CANCELLED:
        return Cancelled(text, failure.CancellationReasons)
    kind = family(failure.code, status)
    return kind(failure.text or text if kind is Rejected else text)
