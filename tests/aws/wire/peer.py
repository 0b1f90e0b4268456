"""A server that is told what to do on each connection, byte by byte, and a pool to talk to it."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

from headrace.aws.connection_pool import ConnectionPool, Limits
from headrace.aws.origin import Origin

HEADERS = {"Host": "dynamodb.example", "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem"}
PATIENCE_S = 5.0
"""A test that waits so long for anything has failed."""


def always() -> bool:
    return True


def ok(body: bytes = b"{}", *headers: str) -> bytes:
    """An answer with its length."""
    lines = "".join(f"{header}\r\n" for header in (f"Content-Length: {len(body)}", *headers))
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + body


class Peer:
    """One accepted connection."""

    def __init__(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes | None:
        """The body of the next request; None when the client has closed."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self._server.heads.append(head)
        self._server.bodies.append(body)
        self._server.news.set()
        return body

    async def head(self) -> bytes:
        """Only the head of the next request."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def send(self, *pieces: bytes) -> None:
        """Write the pieces, each a packet of its own as far as one can say."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)

    async def ended(self) -> None:
        """Wait until the client has closed."""
        with suppress(ConnectionError):
            while await self._reader.read(2**16):
                pass

    def reset(self) -> None:
        """Break off without a goodbye."""
        transport = cast("asyncio.Transport", self._writer.transport)
        transport.abort()


Life = Callable[[Peer], Awaitable[None]]
"""What the server does on one connection. When it returns, the server closes."""


@dataclass
class RawServer:
    """`lives` are for the connections in the order of their coming."""

    lives: deque[Life]
    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    accepted: int = 0
    open: int = 0
    most_open: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    failures: list[BaseException] = field(default_factory=list)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.news.set()
        try:
            assert self.lives, "one connection too many"
            await self.lives.popleft()(Peer(self, reader, writer))
        except Exception as error:  # noqa: BLE001 - shown when the server ends
            self.failures.append(error)
        finally:
            self.open -= 1
            self.news.set()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that can be seen here."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def raw_server(*lives: Life, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    script = RawServer(deque(lives))
    server = await asyncio.start_server(script.accept, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    script.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield script
        await script.until(lambda: not script.open)
    finally:
        server.close()
        await server.wait_closed()
    for failure in script.failures:
        raise failure


def serves(*answers: bytes) -> Life:
    """One answer for each request, then waits for the client to close."""

    async def life(peer: Peer) -> None:
        for answer in answers:
            if await peer.request() is None:
                return
            await peer.send(answer)
        await peer.ended()

    return life


@asynccontextmanager
async def pool_to(
    url: str, *, trust: ssl.SSLContext | None = None, connections: int = 2, call_s: float = PATIENCE_S, **limits: float
) -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(Origin.of(url, trust), "/", Limits(connections, call_s, **limits))
    try:
        yield pool
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await pool.close()
