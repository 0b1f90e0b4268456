"""A TCP door in front of a local server: open, or closed to everybody."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class Gate:
    """Passes bytes on in both directions while it is open; closed, it drops what there is and refuses what comes."""

    def __init__(self, endpoint: str) -> None:
        self._host, self._port = urlsplit(endpoint).hostname, urlsplit(endpoint).port
        self._is_open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self.endpoint = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        self._server.close()
        await self._server.wait_closed()

    def open(self) -> None:
        self._is_open = True

    def close(self) -> None:
        self._is_open = False
        for writer in [*self._writers]:
            writer.transport.abort()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            writer.transport.abort()
            return
        inner_reader, inner_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, inner_writer}
        try:
            await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))
        finally:
            self._writers -= {writer, inner_writer}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
