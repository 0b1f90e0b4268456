"""Requests under way: one that may have been read counts for as long as a call may take."""

from __future__ import annotations

import asyncio

import pytest

from headrace.aws.connection_pool import ConnectionPool, Limits
from headrace.aws.origin import Origin
from headrace.aws.under_way import UnderWay
from headrace.aws.wire import UnansweredError

LONGEST_S = 0.5

pytestmark = pytest.mark.servers


async def test_a_request_that_was_read_and_not_answered_is_under_way_for_its_longest_time():
    """The server read it and broke off; the permit was gone by then, so it is not sent again."""
    may, read = [True], []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(read) < 2:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            read.append(await reader.readexactly(2))
            if len(read) == 1:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()
        may.clear()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = ConnectionPool(Origin.of(f"http://127.0.0.1:{port}", None), "/", Limits(1, 3.0))
    under_way = UnderWay(LONGEST_S)

    def permit() -> bool:
        return bool(may)

    try:
        with under_way.request([permit]):
            await pool.exchange({"Host": "x"}, b"{}", permit)
        await under_way.ended(permit)
        with pytest.raises(UnansweredError), under_way.request([permit]):
            await pool.exchange({"Host": "x"}, b"{}", permit)
        assert read == [b"{}", b"{}"]
        loop = asyncio.get_running_loop()
        began = loop.time()
        await under_way.ended(permit)
        assert loop.time() - began > LONGEST_S * 0.8
    finally:
        await pool.close()
        server.close()
