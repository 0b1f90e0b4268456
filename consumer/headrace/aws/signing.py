"""Signature Version 4 for `POST` to one service: botocore's signature, byte for byte, at a quarter of its price.

The set of signed headers is fixed, so the canonical request is one string; the signing key is derived again only when
the credentials or the day change. What remains of the cost is the SHA-256 of the body. The algorithm is AWS's "Create a
signed AWS API request".
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol
from urllib.parse import urlsplit

from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials

from headrace.aws.session import translated
from headrace.errors import Denied, Rejected, SettingsError, Unavailable
from headrace.ports import Clock

CONTENT_TYPE = "application/x-amz-json-1.0"
"""DynamoDB's version of the protocol (`jsonVersion` in botocore's service model)."""

TOKEN = "X-Amz-Security-Token"  # noqa: S105 - the name of a header


class Signer(Protocol):
    """Signs requests with credentials that change under way."""

    async def prepare(self) -> None:
        """See to valid credentials for the next `headers`. Raises Denied (there are none) or Unavailable."""

    async def renew(self, refused: Mapping[str, str]) -> None:
        """Fetch credentials anew, since the service says that those of these headers have expired. Raises as `prepare`."""

    def follow(self, now: datetime) -> None:
        """From here on sign with the service's time of day (aware), which this is."""

    def headers(self, target: str, body: bytes) -> dict[str, str]:
        """All headers for this body; `target` names the operation: `DynamoDB_20120810.BatchWriteItem`. Raises Denied."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What signatures are good for: one endpoint, region and service."""

    url: str
    region: str
    service: str = "dynamodb"

    @property
    def host(self) -> str:
        """The Host header: lower case, with the port only where it is not the scheme's own."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else f"{parts.hostname}"
        own_port = {"http": 80, "https": 443}.get(parts.scheme)
        return host if parts.port in {None, own_port} else f"{host}:{parts.port}"

    @property
    def path(self) -> str:
        """The path to post to."""
        return urlsplit(self.url).path or "/"


class CredentialChain:
    """The session's own credential chain, and the credentials that it gave last."""

    def __init__(self, session: AioSession) -> None:
        self.current = ReadOnlyCredentials("", "", None)
        self._session = session
        self._source: AioCredentials | None = None
        self._renewal = asyncio.Lock()

    async def prepare(self) -> None:
        """Let the chain refresh what it is time to refresh; next to nothing otherwise. Raises Denied, Unavailable."""
        try:
            if self._source is None:
                self._source = await self._session.get_credentials()
            self.current = await _frozen(self._source)
        except Exception:
            with _credential_errors():  # entered only now: this runs for every request
                raise

    async def renew(self, expired: ReadOnlyCredentials) -> None:
        """Walk the whole chain again, unless someone did since `expired` were given. Raises Denied, Unavailable."""
        async with self._renewal:
            if self.current != expired:
                return
            with _credential_errors():
                self._source = await self._session.get_component("credential_provider").load_credentials()
                self.current = await _frozen(self._source)


def _check(credentials: ReadOnlyCredentials) -> None:
    """A line end that was copied along with a key would end the header that it stands in."""
    text = f"{credentials.access_key}{credentials.token or ''}"
    if not (text.isascii() and text.isprintable()):
        raise Denied("the AWS credentials hold a character that they cannot have, like a line end or a tab")


async def _frozen(source: AioCredentials | None) -> ReadOnlyCredentials:
    if source is None:
        raise Denied("no AWS credentials were found where botocore looks for them")
    return await source.get_frozen_credentials()


@contextmanager
def _credential_errors() -> Iterator[None]:
    """As for every other call, except that nothing which a person can mend while we wait may end a worker, or bury a record."""
    try:
        with translated("credentials", "refresh"):
            yield
    except (SettingsError, Rejected) as error:
        raise Denied(str(error)) from error
    except RuntimeError as error:  # botocore's word for a refresh that brought credentials which have expired already
        raise Unavailable(f"credentials refresh: {error}") from error


class CachingSigner:
    """The Signer in use: keeps what two requests have in common."""

    def __init__(self, credentials: CredentialChain, scope: Scope, clock: Clock) -> None:
        self._credentials = credentials
        self._scope = scope
        self._clock = clock
        self._skew = timedelta()
        self._host = scope.host
        self._path = scope.path
        self._key_of: tuple[ReadOnlyCredentials, str] | None = None
        self._key = b""

    async def prepare(self) -> None:
        """See to valid credentials."""
        await self._credentials.prepare()

    async def renew(self, refused: Mapping[str, str]) -> None:
        """Fetch credentials anew, once for all the requests that were refused with the same ones."""
        current = self._credentials.current
        if refused.get(TOKEN) == current.token:
            await self._credentials.renew(current)

    def follow(self, now: datetime) -> None:
        """Sign with the service's time of day."""
        self._skew = now - self._clock.wall()

    def headers(self, target: str, body: bytes) -> dict[str, str]:
        """Content type, host, date, token, target and the signature over them and the body."""
        credentials = self._credentials.current
        instant = (self._clock.wall() + self._skew).strftime("%Y%m%dT%H%M%SZ")
        day = instant[:8]
        token, token_name = "", ""
        if credentials.token:
            token, token_name = f"x-amz-security-token:{credentials.token}\n", "x-amz-security-token;"
        signed = f"content-type;host;x-amz-date;{token_name}x-amz-target"
        canonical = (
            f"POST\n{self._path}\n\ncontent-type:{CONTENT_TYPE}\nhost:{self._host}\nx-amz-date:{instant}\n"
            f"{token}x-amz-target:{target}\n\n{signed}\n{sha256(body).hexdigest()}"
        )
        scope = f"{day}/{self._scope.region}/{self._scope.service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{instant}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(credentials, day), text.encode(), "sha256").hex()
        headers = {
            "Content-Type": CONTENT_TYPE,
            "Host": self._host,
            "X-Amz-Date": instant,
            "X-Amz-Target": target,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}",
        }
        if credentials.token:
            headers[TOKEN] = credentials.token
        return headers

    def _signing_key(self, credentials: ReadOnlyCredentials, day: str) -> bytes:
        if self._key_of != (credentials, day):
            _check(credentials)
            key = f"AWS4{credentials.secret_key}".encode()
            for part in (day, self._scope.region, self._scope.service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key_of, self._key = (credentials, day), key
        return self._key
