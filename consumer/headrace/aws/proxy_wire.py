"""Requests through a proxy, by aiohttp: it knows CONNECT, TLS inside of it, and how a proxy wants to be asked."""

from __future__ import annotations

import io
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from yarl import URL

from headrace.aws.connection_pool import Limits
from headrace.aws.wire import Answer, UnansweredError, require
from headrace.model import Permit

LARGE_BODY: Final = 2**20
"""aiohttp wants to stream what is larger, in pieces that do not hold the loop."""


class ProxyWire:
    """Implements `Wire`."""

    def __init__(self, http: aiohttp.ClientSession, url: str, proxy: str) -> None:
        self._http = http
        self._url = URL(url, encoded=True)
        self._proxy = proxy

    async def exchange(self, headers: Mapping[str, str], body: bytes, permit: Permit) -> Answer:
        """Have the proxy ask; see `Wire`."""
        require(permit)
        data = body if len(body) <= LARGE_BODY else io.BytesIO(body)
        try:
            async with self._http.post(
                self._url, data=data, headers=headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                content = await response.read()
                found = response.headers
                return Answer(response.status, found.get("Date", ""), found.get("x-amz-crc32", ""), content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnansweredError(f"{type(error).__name__} {error}".rstrip()) from error


@asynccontextmanager
async def open_proxy_wire(
    url: str, proxy: str, trust: ssl.SSLContext | None, limits: Limits
) -> AsyncIterator[ProxyWire]:
    """A wire to `url` through `proxy`. The age of a connection is not limited: the proxy resolves the name."""
    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=limits.connections, keepalive_timeout=limits.idle_s, ssl=True if trust is None else trust
        ),
        timeout=aiohttp.ClientTimeout(total=limits.call_s, sock_connect=limits.connect_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    )
    async with http:
        yield ProxyWire(http, url, proxy)
