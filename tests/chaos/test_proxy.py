"""The proxy: what gets through a link, when, and what never does."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from chaos.fleet import until
from chaos.proxy import LOOPBACK, SINK_WRITE, Direction, Fate, Link


@contextlib.asynccontextmanager
async def link_to_echo():
    """A link to a server that notes what it hears and says it again."""
    heard = []

    async def echo(reader, writer):
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1000):
                heard.append(chunk)
                writer.write(chunk)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, LOOPBACK, 0)
    link = Link(*server.sockets[0].getsockname())
    await link.open()
    try:
        yield link, heard
    finally:
        await link.close()
        server.close()
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def client_of(link):
    reader, writer = await asyncio.open_connection(LOOPBACK, link.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(reader, writer, text: bytes) -> bytes:
    writer.write(text)
    async with asyncio.timeout(2):
        return await reader.readexactly(len(text))


async def silence(reader) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_bytes_go_both_ways():
    """The link that nobody touched."""
    async with link_to_echo() as (link, _), client_of(link) as (reader, writer):
        assert await ask(reader, writer, b"hello") == b"hello"


async def test_a_cut_resets_what_is_open_and_refuses_what_is_new_until_it_is_mended():
    """The same port serves again afterwards."""
    async with link_to_echo() as (link, _):
        async with client_of(link) as (reader, writer):
            await ask(reader, writer, b"hello")
            await link.cut()
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, link.port)
        await link.open()
        async with client_of(link) as (reader, writer):
            assert await ask(reader, writer, b"again") == b"again"


async def test_what_is_sent_into_a_stall_comes_late():
    """Held on the way out: the server hears nothing until then."""
    async with link_to_echo() as (link, heard), client_of(link) as (reader, writer):
        link.stall(Direction.OUT)
        writer.write(b"late")
        assert await silence(reader)
        assert heard == []
        link.unstall(Direction.OUT, Fate.LATE)
        assert await reader.readexactly(4) == b"late"


async def test_a_stall_on_the_way_back_holds_only_answers():
    """The server has acted; the client does not know."""
    async with link_to_echo() as (link, heard), client_of(link) as (reader, writer):
        link.stall(Direction.BACK)
        writer.write(b"done")
        assert await silence(reader)
        assert heard == [b"done"]
        link.unstall(Direction.BACK, Fate.LATE)
        assert await reader.readexactly(4) == b"done"


async def test_what_was_held_may_be_dropped_with_its_connection():
    """And connections that nothing was held on go on."""
    async with link_to_echo() as (link, heard), client_of(link) as (reader, writer), client_of(link) as idle:
        await ask(*idle, b"idle")
        link.stall(Direction.OUT)
        writer.write(b"never")
        assert await silence(reader)
        link.unstall(Direction.OUT, Fate.DROPPED)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        assert await ask(*idle, b"more") == b"more"
        assert b"never" not in heard


async def test_a_request_arrives_late_although_its_sender_has_given_up():
    """This is what makes a zombie write."""
    async with link_to_echo() as (link, heard):
        async with client_of(link) as (reader, writer):
            link.stall(Direction.OUT)
            writer.write(b"zombie")
            assert await silence(reader)
        link.unstall(Direction.OUT, Fate.LATE)
        await until(lambda: bool(heard), 2)
        assert heard == [b"zombie"]


async def test_how_long_the_server_takes_is_noted_by_operation_and_a_stall_is_not_part_of_it():
    """The link's own doing is not the server's."""
    question = b"POST / HTTP/1.1\r\nX-Amz-Target: Kinesis_20131202.GetRecords\r\n\r\n{}"
    async with link_to_echo() as (link, _), client_of(link) as (reader, writer):
        link.stall(Direction.OUT)
        writer.write(question)
        assert await silence(reader)
        link.stall(Direction.BACK)
        link.unstall(Direction.OUT, Fate.LATE)
        assert await silence(reader)
        link.unstall(Direction.BACK, Fate.LATE)
        await reader.readexactly(len(question))

        (answer,) = link.answers
        assert answer.operation == "GetRecords"
        assert 0 <= answer.seconds < 0.1


async def test_writes_to_the_serving_table_are_noted_even_when_a_chunk_ends_within_the_name():
    """With the time at which the worker sent them and the time at which they went on."""
    async with link_to_echo() as (link, _), client_of(link) as (reader, writer):
        before = time.time()
        await ask(reader, writer, b"POST / " + SINK_WRITE[:10])
        await ask(reader, writer, SINK_WRITE[10:] + b"\r\n")
        await ask(reader, writer, b"POST / UpdateItem")
        assert len(link.sink_writes) == 1
        assert before <= link.sink_writes[0].sent <= link.sink_writes[0].delivered
