"""The signed channel: a body of JSON bytes in, the answer's bytes out, without the stock client's 0.7 ms a call.

For DynamoDB's data operations only. Endpoint, region, credentials, CA bundle and proxies are what botocore resolved.
Nothing is retried here except what one more try with corrected credentials or time mends; the caller knows what a repeat
would do.
"""

from __future__ import annotations

import io
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from aiobotocore.session import AioSession
from botocore.httpsession import get_cert_path
from yarl import URL

from headrace.aws.session import CONNECT_S, DENIED, THROTTLED, UNAVAILABLE
from headrace.aws.signing import CachingSigner, CredentialChain, Scope, Signer
from headrace.errors import AwsError, Denied, LeaseLost, NotFound, Rejected, Throttled, Unavailable
from headrace.model import Permit
from headrace.ports import Clock

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

KEEPALIVE_S: Final = 12.0
"""How long an idle connection is kept: aiobotocore's own value, below DynamoDB's."""

LARGE_BODY: Final = 2**20
"""aiohttp wants to stream what is larger, in pieces that do not hold the loop."""

EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})
SKEWED: Final = frozenset({"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"})
SIGNATURE: Final = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
CONFLICT: Final = frozenset({"ReplicatedWriteConflictException"})
"""Two Regions of a global table with strong consistency wrote the item at once: as good as throttled."""

REJECTED: Final = frozenset(
    {
        "ItemCollectionSizeLimitExceededException",
        "SerializationException",
        "ValidationException",
    }
)
"""What DynamoDB says of a request that is wrong in itself ("Error handling with DynamoDB").

A 4xx with any other unknown code becomes a plain AwsError, so that nothing is buried for an unknown reason.
"""


def always() -> bool:
    """The permit of a call that needs none."""
    return True


class Poster(Protocol):
    """What the data operations need of the channel."""

    async def post(self, target: str, body: bytes, permit: Permit = always) -> bytes:
        """Send one request, return the answer's body. `permit` is asked right before anything is sent.

        Raises LeaseLost without a permit; Throttled, Unavailable, Denied, NotFound, Rejected; AwsError for an unknown code.
        """


class Failure(msgspec.Struct):
    """The body of an error answer: `{"__type": "com.amazonaws.dynamodb.v20120810#ValidationException", "message": ...}`."""

    type: str = msgspec.field(name="__type", default="")
    message: str = ""
    Message: str = ""

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


class Answer(NamedTuple):
    """What came back."""

    status: int
    date: str
    crc32: str
    body: bytes


_failure = msgspec.json.Decoder(Failure)


class Channel:
    """Posts to one endpoint over kept-alive connections."""

    def __init__(self, http: aiohttp.ClientSession, signer: Signer, url: str, proxy: str | None = None) -> None:
        self._http = http
        self._signer = signer
        self._url = URL(url, encoded=True)
        self._proxy = proxy

    async def post(self, target: str, body: bytes, permit: Permit = always) -> bytes:
        """Sign, send and check. An expired token or a wrong clock is mended and tried again, once."""
        await self._signer.prepare()
        headers = self._signer.headers(target, body)
        answer = await self._send(headers, body, permit)
        if answer.status == 200:  # noqa: PLR2004 - the only success there is
            return _checked(answer, target)
        failure = _read_failure(answer)
        if await self._mend(failure, answer, headers):
            answer = await self._send(self._signer.headers(target, body), body, permit)
            if answer.status == 200:  # noqa: PLR2004 - the only success there is
                return _checked(answer, target)
            failure = _read_failure(answer)
        raise _translated(failure, answer.status, target)

    async def _send(self, headers: dict[str, str], body: bytes, permit: Permit) -> Answer:
        if not permit():
            raise LeaseLost("the permit to write ended before the request was sent")
        data = body if len(body) <= LARGE_BODY else io.BytesIO(body)
        try:
            async with self._http.post(
                self._url, data=data, headers=headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                content = await response.read()
                found = response.headers
                return Answer(response.status, found.get("Date", ""), found.get("x-amz-crc32", ""), content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{headers['X-Amz-Target']}: {type(error).__name__} {error}".rstrip()) from error

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
    url = client.meta.endpoint_url
    signer = CachingSigner(CredentialChain(session), Scope(url, client.meta.region_name), clock)
    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEPALIVE_S, ssl=_trust(session, url)),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    )
    async with http:
        yield Channel(http, signer, url, _proxy_for(url))


def _trust(session: AioSession, url: str) -> ssl.SSLContext | bool:
    if not url.startswith("https:"):
        return True
    return ssl.create_default_context(cafile=session.get_config_variable("ca_bundle") or get_cert_path(True))


def _proxy_for(url: str) -> str | None:
    """The environment's proxy, looked up once: aiohttp's `trust_env` would read the environment for every request."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return getproxies().get(parts.scheme)


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
    code = failure.code
    if code in REJECTED or status == 413:  # noqa: PLR2004 - Payload Too Large, from whatever stands in front
        return Rejected(failure.text or text)
    if code in THROTTLED | CONFLICT or status == 429:  # noqa: PLR2004 - Too Many Requests
        return Throttled(text)
    if code in UNAVAILABLE or status >= 500:  # noqa: PLR2004 - the server's side
        return Unavailable(text)
    if code == "ResourceNotFoundException":
        return NotFound(text)
    if code in DENIED | EXPIRED | SKEWED | SIGNATURE:
        return Denied(text)
    return AwsError(text)
