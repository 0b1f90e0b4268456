"""Requests under way: one that may have been read counts for as long as a call may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aws.sinks import always

from headrace.aws.connection_pool import ConnectionPool, Limits
from headrace.aws.origin import Origin
from headrace.aws.under_way import UnderWay
from headrace.aws.wire import UnansweredError
from headrace.errors import Throttled
from headrace.model import Permit

LONGEST_S = 0.5

pytestmark = pytest.mark.servers


@asynccontextmanager
async def served(read: list[bytes], answers: list[str | None]) -> AsyncIterator[ConnectionPool]:
    """A pool of one connection to a server that reads requests whole; None: it breaks off then."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while answers:
                await reader.readuntil(b"\r\n\r\n")
                read.append(await reader.readexactly(2))
                if (status := answers.pop(0)) is None:
                    break
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = ConnectionPool(Origin.of(f"http://127.0.0.1:{port}", None), "/", Limits(1, 3.0))
    try:
        yield pool
    finally:
        await pool.close()
        server.close()


async def ask(pool: ConnectionPool, under_way: UnderWay, permit: Permit) -> None:
    """As the sink does; a refusal is an error. Raises Throttled, UnansweredError."""
    with under_way.request([permit], permit) as counted:
        if (await pool.exchange({"Host": "x"}, b"{}", counted)).status != 200:
            raise Throttled("not now")


async def waited(under_way: UnderWay, permit: Permit) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await under_way.ended(permit)
    return loop.time() - began


async def test_a_request_that_was_read_and_not_answered_is_under_way_for_its_longest_time():
    """The server read it and broke off; the permit was gone by then, so it is not sent again."""
    read: list[bytes] = []
    under_way = UnderWay(LONGEST_S)

    def permit() -> bool:
        return len(read) < 2

    async with served(read, ["200 OK", None]) as pool:
        await ask(pool, under_way, permit)
        await under_way.ended(permit)
        with pytest.raises(UnansweredError):
            await ask(pool, under_way, permit)
        assert read == [b"{}", b"{}"]
        assert await waited(under_way, permit) > LONGEST_S * 0.8


@pytest.mark.parametrize("second", ["200 OK", "400 Bad Request"])
async def test_the_answer_to_a_second_try_is_none_to_the_first(second):
    """The server read the first one and broke off: it may take effect when the second has been written, or refused."""
    read: list[bytes] = []
    under_way = UnderWay(LONGEST_S)

    async with served(read, ["200 OK", None, second]) as pool:
        await ask(pool, under_way, always)
        assert await waited(under_way, always) < LONGEST_S * 0.2
        with suppress(Throttled):
            await ask(pool, under_way, always)
        assert len(read) == 3
        assert await waited(under_way, always) > LONGEST_S * 0.8
