"""Where connections go: one host and port, and whom to believe that they are that host."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from socket import SOCK_STREAM
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import aiohappyeyeballs
from aiobotocore.session import AioSession
from botocore.httpsession import create_urllib3_context, get_cert_path

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)

NEXT_ADDRESS_S: Final = 0.25
"""An address that does not answer so soon gets company by the next one (RFC 8305, section 5)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One endpoint; `trust` is None for plain HTTP."""

    host: str
    port: int
    trust: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str, trust: ssl.SSLContext | None) -> Self:
        """The origin of this URL, which has a scheme and a host."""
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), trust)

    async def connect(self, protocol: Callable[[], AnyProtocol]) -> AnyProtocol:
        """A new connection, its TLS handshake done. Raises OSError, with ssl.SSLError; RuntimeError from uvloop."""
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(self.host, self.port, type=SOCK_STREAM)
        socket = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S)
        try:
            _, connection = await loop.create_connection(
                protocol, sock=socket, ssl=self.trust, server_hostname=self.host if self.trust else None
            )
        except BaseException:
            socket.close()  # a loop that failed early has not taken it over
            raise
        return connection


def trust_of(session: AioSession, url: str) -> ssl.SSLContext | None:
    """What the session's ordinary clients believe: their kind of context and their CA bundle; None for plain HTTP."""
    if not url.startswith("https:"):
        return None
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True  # urllib3 looks at the name itself, asyncio leaves it to the context
    context.load_verify_locations(session.get_config_variable("ca_bundle") or get_cert_path(True))
    return context
