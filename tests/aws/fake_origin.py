"""Connections without a network, for virtual time: a server that answers each request after so many seconds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from headrace.aws.connection import Connection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Reaction = float | None | bytes
"""To a request: OK after so many seconds, silence, or these bytes and the end of the connection."""


class FakeTransport(asyncio.Transport):
    """One connection; requests come in single calls of `writelines`."""

    def __init__(self, origin: FakeOrigin, connection: Connection) -> None:
        super().__init__()
        self._origin = origin
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def writelines(self, _pieces: Iterable[bytes]) -> None:
        self._origin.requests += 1
        match self._origin.reactions.popleft() if self._origin.reactions else 0.0:
            case None:
                pass
            case bytes() as last:
                self._loop.call_soon(self._end, last)
            case delay:
                self._loop.call_later(delay, self._answer)

    def _answer(self) -> None:
        if not self._closed:
            self._connection.data_received(OK)

    def _end(self, last: bytes) -> None:
        if last:
            self._connection.data_received(last)
        self._connection.eof_received()

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closed

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._origin.closed_at.append(self._loop.time())
            self._loop.call_soon(self._connection.connection_lost, None)


class FakeOrigin:
    """Stands in for `Origin`. `connects` are the seconds that connecting takes, then none."""

    host = "dynamodb.example"

    def __init__(self, *reactions: Reaction, connects: Iterable[float] = ()) -> None:
        self.reactions: deque[Reaction] = deque(reactions)
        self.connects = deque(connects)
        self.requests = 0
        self.connected = 0
        self.closed_at: list[float] = []

    async def connect(self, protocol) -> Connection:
        await asyncio.sleep(self.connects.popleft() if self.connects else 0)
        connection = protocol()
        connection.connection_made(FakeTransport(self, connection))
        self.connected += 1
        return connection
