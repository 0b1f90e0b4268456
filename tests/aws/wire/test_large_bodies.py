"""Bodies that do not fit in a socket's buffer."""

import asyncio

import pytest
from aws.wire.peer import HEADERS, PATIENCE_S, Peer, always, ok, pool_to, raw_server, serves

from headrace.aws.connection import AT_ONCE
from headrace.aws.wire import UnansweredError

LARGEST = 16 * 2**20
"""DynamoDB's limit for a request (API reference, BatchWriteItem)."""


@pytest.mark.parametrize("size", [0, AT_ONCE, AT_ONCE + 1, LARGEST])
async def test_a_body_arrives_whole_and_the_connection_serves_on(size):
    """Up to the largest request that there is."""
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    async with raw_server(serves(ok(b"1"), ok(b"2"))) as server, pool_to(server.url) as pool:
        assert (await pool.exchange(HEADERS, body, always)).body == b"1"
        assert (await pool.exchange(HEADERS, b"small", always)).body == b"2"
    assert server.bodies == [body, b"small"]


async def test_a_server_that_does_not_read_is_not_written_to_without_end():
    """The transport holds a piece or two; the rest waits for room, and the deadline ends it all."""

    async def deaf(peer: Peer) -> None:
        peer._writer.transport.pause_reading()
        await done.wait()

    done = asyncio.Event()
    async with raw_server(deaf) as server, pool_to(server.url, call_s=0.3) as pool:
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(unanswered(pool, bytes(LARGEST)))
            await server.until(lambda: bool(server.accepted))
            await asyncio.sleep(0.1)
            (connection,) = pool._retire_at
            assert connection._transport.get_write_buffer_size() <= 2 * AT_ONCE
            assert len(connection._unsent) > LARGEST // 4
            await call
        done.set()


async def unanswered(pool, body: bytes) -> None:
    with pytest.raises(UnansweredError, match="within the time"):
        await pool.exchange(HEADERS, body, always)


@pytest.mark.parametrize("last", [True, False])
async def test_an_answer_that_comes_before_the_body_is_sent_ends_the_sending(last):
    """The server has seen enough: 413, or a refusal that it knew from the head. The connection is of no more use."""

    async def hasty(peer: Peer) -> None:
        await peer.head()
        await peer.send(ok(b"too large", *(["Connection: close"] if last else [])))
        await peer.ended()

    async with raw_server(hasty, serves(ok(b"next"))) as server, pool_to(server.url) as pool:
        assert (await pool.exchange(HEADERS, bytes(LARGEST), always)).body == b"too large"
        assert (await pool.exchange(HEADERS, b"small", always)).body == b"next"


async def test_a_server_that_hangs_up_on_a_large_body_is_an_outage():
    """Without an answer nobody knows why."""

    async def rude(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async with raw_server(rude) as server, pool_to(server.url) as pool:
        with pytest.raises(UnansweredError, match="without an answer"):
            await pool.exchange(HEADERS, bytes(LARGEST), always)


async def test_a_large_body_that_is_cancelled_closes_its_connection():
    """Half a body must not be followed by another request."""

    async def deaf(peer: Peer) -> None:
        peer._writer.transport.pause_reading()
        await cancelled.wait()

    cancelled = asyncio.Event()
    async with raw_server(deaf, serves(ok(b"next"))) as server, pool_to(server.url) as pool:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            call = tasks.create_task(pool.exchange(HEADERS, bytes(LARGEST), always))
            await server.until(lambda: bool(server.accepted))
            await asyncio.sleep(0)
            call.cancel()
        assert (await pool.exchange(HEADERS, b"small", always)).body == b"next"
        cancelled.set()
