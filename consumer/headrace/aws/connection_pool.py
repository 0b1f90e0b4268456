"""Kept-alive connections to one origin, shared by everything that posts there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.aws.connection import Connection, StaleError
from headrace.aws.origin import Origin
from headrace.aws.session import CONNECT_S
from headrace.aws.wire import Answer, UnansweredError, require
from headrace.errors import LeaseLost
from headrace.model import Permit

IDLE_S: Final = 12.0
"""How long a connection is kept without a request: aiobotocore's own value, below DynamoDB's."""

AGE_S: Final = 300.0
"""How long a connection is used at most: so long may it hold on to a server that the endpoint's name no longer points to."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`connections` at most, and seconds: for a whole call with all it waits for, for one connect, for idleness, for age."""

    connections: int
    call_s: float
    connect_s: float = CONNECT_S
    idle_s: float = IDLE_S
    age_s: float = AGE_S


class ConnectionPool:
    """Implements `Wire` on HTTP/1.1. The connection used last is used next, so that those that are too many run idle.

    A request whose kept-alive connection turns out to be closed is sent once more, on a new one. That is only for
    requests that may be applied twice: the server may have died after it had read the first.
    """

    def __init__(self, origin: Origin, path: str, limits: Limits) -> None:
        self._origin = origin
        self._request_line = f"POST {path} HTTP/1.1\r\n"
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(limits.connections)
        """One for every call under way, in the order of their coming; none has more than one connection."""
        self._idle: list[Connection] = []
        self._retire_at: dict[Connection, float] = {}
        """Of every open connection: the loop's time at which it is too old."""
        self._change = asyncio.Event()

    async def exchange(self, headers: Mapping[str, str], body: bytes, permit: Permit) -> Answer:
        """Send over a connection that is there, or over a new one; see `Wire`."""
        deadline = self._loop.time() + self._limits.call_s
        head = self._head(headers, len(body))
        await self._slots.acquire()  # in time: the calls in front end by their own deadlines, which are earlier
        try:
            connection = self._take_idle() or await self._connect(deadline)
            try:
                return await self._over(connection, head, body, permit, deadline)
            except StaleError as stale:
                try:
                    return await self._over(await self._connect(deadline), head, body, permit, deadline)
                except LeaseLost:  # it is not sent again; the first time it may have been read all the same
                    raise UnansweredError("the connection broke off") from stale
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close every connection; no call may be under way."""
        for connection in tuple(self._retire_at):
            connection.abort()
        while self._retire_at:
            self._change.clear()
            await self._change.wait()

    def _head(self, headers: Mapping[str, str], length: int) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return f"{self._request_line}{lines}Content-Length: {length}\r\n\r\n".encode()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self, deadline: float) -> Connection:
        limit = min(deadline, self._loop.time() + self._limits.connect_s)
        try:
            async with asyncio.timeout_at(limit):
                connection = await self._origin.connect(lambda: Connection(self._loop, self._lost))
        except TimeoutError:
            raise UnansweredError(f"no connection to {self._origin.host} within {self._limits.connect_s:g} s") from None
        except (OSError, RuntimeError) as error:  # uvloop raises either for a socket that fails
            raise UnansweredError(f"no connection to {self._origin.host}: {type(error).__name__} {error}") from error
        if connection.is_open:
            self._retire_at[connection] = self._loop.time() + self._limits.age_s
        return connection

    async def _over(self, connection: Connection, head: bytes, body: bytes, permit: Permit, deadline: float) -> Answer:
        try:
            require(permit)
            return await connection.exchange(head, body, deadline)
        finally:
            self._give_back(connection)

    def _give_back(self, connection: Connection) -> None:
        now = self._loop.time()
        retire_at = self._retire_at.get(connection, -math.inf)
        if connection.is_open and now < retire_at:
            connection.rest(min(now + self._limits.idle_s, retire_at))
            self._idle.append(connection)
        else:
            connection.abort()

    def _lost(self, connection: Connection) -> None:
        self._retire_at.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)
        self._change.set()
