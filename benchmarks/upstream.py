"""Hands requests on to another HTTP server, bytes for bytes: the lease table lives in a real DynamoDB look-alike.

A client sends nothing more before it has its whole answer, so answers are copied as they come and never parsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

Receive = Callable[[bytes], None]


class Upstream:
    """What one client connection has open to the other server: one connection, made again when it was closed."""

    def __init__(self, host: str, port: int, receive: Receive, give_up: Callable[[], None]) -> None:
        self._host, self._port = host, port
        self._receive = receive
        self._give_up = give_up
        self._wire: _Wire | None = None
        self._connecting: Awaitable[None] | None = None

    def send(self, request: bytes, tasks: asyncio.TaskGroup) -> None:
        """Pass a request on; its answer goes to `receive`."""
        if self._wire is not None and self._wire.is_open:
            self._wire.send(request)
        else:
            self._connecting = tasks.create_task(self._send_anew(request), name="upstream-connect")

    def close(self) -> None:
        """The client is gone."""
        if self._wire is not None:
            self._wire.close()

    async def _send_anew(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, self._wire = await loop.create_connection(
                lambda: _Wire(self._receive, self._lost), self._host, self._port
            )
        except OSError:
            self._give_up()
            return
        self._wire.send(request)

    def _lost(self, *, unanswered: bool) -> None:
        if unanswered:
            self._give_up()


class _Wire(asyncio.Protocol):
    """One connection to the other server."""

    def __init__(self, receive: Receive, lost: Callable[..., None]) -> None:
        self._receive = receive
        self._lost = lost
        self._unanswered = False
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._unanswered = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._unanswered = False
        self._receive(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._lost(unanswered=self._unanswered)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
