"""A kept-alive connection that the server has closed meanwhile: one more try, on a new one, and only if it is safe to say so."""

import pytest
from aws.wire.peer import HEADERS, Peer, always, ok, pool_to, raw_server, serves

from headrace.aws.wire import UnansweredError


async def post(pool, body: bytes = b"body", permit=always) -> bytes:
    return (await pool.exchange(HEADERS, body, permit)).body


async def closes_on_the_second(peer: Peer) -> None:
    await peer.request()
    await peer.send(ok(b"first"))
    await peer.request()


async def resets_on_the_second(peer: Peer) -> None:
    await closes_on_the_second(peer)
    peer.reset()


@pytest.mark.parametrize("life", [closes_on_the_second, resets_on_the_second])
async def test_a_request_that_met_a_closing_connection_is_sent_again_on_a_new_one(life):
    """The server closed an idle connection just when we sent."""
    async with raw_server(life, serves(ok(b"second"))) as server, pool_to(server.url) as pool:
        assert await post(pool, b"1") == b"first"
        assert await post(pool, b"2") == b"second"
    assert server.bodies == [b"1", b"2", b"2"]


async def test_a_connection_seen_to_be_closed_is_not_tried_at_all():
    """No second sending where none is needed."""

    async def closes(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"first"))

    async with raw_server(closes, serves(ok(b"second"))) as server, pool_to(server.url) as pool:
        assert await post(pool, b"1") == b"first"
        await server.until(lambda: not server.open)
        assert await post(pool, b"2") == b"second"
    assert server.bodies == [b"1", b"2"]


async def test_a_new_connection_that_is_closed_is_an_outage():
    """It was not stale: the server does not want us, or died."""

    async def closes(peer: Peer) -> None:
        await peer.request()

    async with raw_server(closes) as server, pool_to(server.url) as pool:
        with pytest.raises(UnansweredError, match="without an answer"):
            await post(pool)
    assert len(server.bodies) == 1


async def test_there_is_no_third_try():
    """Once may be bad luck."""

    async def closes(peer: Peer) -> None:
        await peer.request()

    async with raw_server(closes_on_the_second, closes) as server, pool_to(server.url) as pool:
        await post(pool)
        with pytest.raises(UnansweredError, match="without an answer"):
            await post(pool)
    assert server.accepted == 2


async def test_the_second_try_does_not_use_another_old_connection():
    """The others are as likely to be closed: a server that restarted closed all of them."""

    async def life(peer: Peer) -> None:
        while await peer.request() not in {b"last", None}:
            await peer.send(ok(b"old"))

    async with raw_server(life, life, serves(ok(b"new"))) as server, pool_to(server.url, connections=2) as pool:
        connections = [await pool._connect(pool._loop.time() + 1) for _ in range(2)]
        for connection in connections:
            pool._give_back(connection)
        for _ in range(2):  # both have served
            await post(pool)
            pool._idle.reverse()
        assert await post(pool, b"last") == b"new"
    assert server.accepted == 3


async def test_an_interim_answer_counts_as_a_sign_of_life():
    """The server had taken the request in."""

    async def life(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())
        await peer.request()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    async with raw_server(life) as server, pool_to(server.url) as pool:
        await post(pool)
        with pytest.raises(UnansweredError, match="in the middle"):
            await post(pool)
    assert server.accepted == 1


async def test_the_second_try_needs_the_permit_again():
    """The lease may be gone since the first, which was read and so is told as one without an answer."""
    permits = iter([True, True, False])
    async with raw_server(closes_on_the_second, serves()) as server, pool_to(server.url) as pool:
        await post(pool, b"1", lambda: next(permits))
        with pytest.raises(UnansweredError):
            await post(pool, b"2", lambda: next(permits))
    assert server.bodies == [b"1", b"2"]
    assert next(permits, None) is None
