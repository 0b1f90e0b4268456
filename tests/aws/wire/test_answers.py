"""What counts as an answer, and what becomes of the connection after it."""

import asyncio

import pytest
from aws.wire.peer import HEADERS, Peer, always, ok, pool_to, raw_server, serves

from headrace.aws.wire import Answer, UnansweredError

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNFINISHED = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"half":'

WHOLE = {
    "with a length": (ok(b"{}"), b"{}"),
    "of nothing": (ok(b""), b""),
    "in chunks": (CHUNKED + b"2\r\n{}\r\n3;note=1\r\n   \r\n0\r\n\r\n", b"{}   "),
    "in chunks with a trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n", b"{}"),
    "after 100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(), b"{}"),
    "after early hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n" + ok(), b"{}"),
    "with an oddly spelt header": (b"HTTP/1.1 200\r\ncOnTeNt-lEnGtH:2\r\n\r\n{}", b"{}"),
    "that has no body": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
}
LAST = {
    "that asks to close": (ok(b"{}", "Connection: close"), b"{}"),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
}


async def post(pool, body: bytes = b"body") -> Answer:
    return await pool.exchange(HEADERS, body, always)


@pytest.mark.parametrize("name", WHOLE)
async def test_a_whole_answer_is_given_and_the_connection_serves_the_next_request(name):
    """However its end is marked."""
    answer, body = WHOLE[name]
    async with raw_server(serves(answer, ok(b"next"))) as server, pool_to(server.url) as pool:
        assert (await post(pool)).body == body
        assert (await post(pool)).body == b"next"


@pytest.mark.parametrize("name", LAST)
async def test_after_a_last_answer_there_is_a_new_connection(name):
    """The server said that it would not take another request on this one."""
    answer, body = LAST[name]
    async with raw_server(serves(answer), serves(ok(b"next"))) as server, pool_to(server.url) as pool:
        assert (await post(pool)).body == body
        assert (await post(pool)).body == b"next"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_answer_without_a_length_ends_with_the_connection(version):
    """The oldest way, still allowed (RFC 9112, 6.3)."""

    async def life(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/%b 200 OK\r\nDate: today\r\n\r\n" % version, b"ha", b"lf")

    async with raw_server(life, serves(ok())) as server, pool_to(server.url) as pool:
        assert await post(pool) == Answer(200, "today", "", b"half")
        await post(pool)


async def test_status_date_and_checksum_come_with_the_body():
    """What the channel looks at."""
    answer = b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\nDate: Tue, 10 Mar 2026\r\nx-AMZ-crc32: 7\r\n\r\n{}"
    async with raw_server(serves(answer, ok())) as server, pool_to(server.url) as pool:
        assert await post(pool) == Answer(400, "Tue, 10 Mar 2026", "7", b"{}")
        assert await post(pool) == Answer(200, "", "", b"{}")


async def test_an_answer_that_comes_byte_by_byte_is_put_together():
    """Nothing depends on where the network cuts."""
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + b"2\r\n{}\r\na\r\n0123456789\r\n0\r\n\r\n"

    async def life(peer: Peer) -> None:
        await peer.request()
        await peer.send(*(answer[place : place + 1] for place in range(len(answer))))
        await peer.ended()

    async with raw_server(life) as server, pool_to(server.url) as pool:
        assert (await post(pool)).body == b"{}0123456789"


async def test_an_answer_of_megabytes_is_put_together():
    """Sixteen megabytes of unprocessed items."""
    body = bytes(range(256)) * 2**16
    async with raw_server(serves(ok(body))) as server, pool_to(server.url) as pool:
        assert (await post(pool)).body == body


async def test_an_endless_answer_is_given_up(monkeypatch):
    """A stray server must not fill our memory."""
    monkeypatch.setattr("headrace.aws.answer_reader.MOST_BYTES", 1000)
    async with raw_server(serves(ok(b"x" * 1000))) as server, pool_to(server.url) as pool:
        with pytest.raises(UnansweredError, match="longer than"):
            await post(pool)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x50",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        CHUNKED + b"zz\r\n{}\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=lambda answer: ascii(answer)[2:40],
)
async def test_what_is_no_http_answer_is_no_answer(answer):
    """Another program on the port, or a server that is out of its mind: the connection is closed."""
    async with raw_server(serves(answer), serves(ok())) as server, pool_to(server.url) as pool:
        with pytest.raises(UnansweredError, match="not HTTP"):
            await post(pool)
        await post(pool)


@pytest.mark.parametrize("part", [b"HTT", UNFINISHED, CHUNKED, CHUNKED + b"5\r\n{}"], ids=ascii)
async def test_an_answer_that_breaks_off_is_no_answer_and_the_request_is_not_sent_again(part):
    """The server had begun to answer, so it has most likely applied the request."""

    async def life(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())
        await peer.request()
        await peer.send(part)

    async with raw_server(life) as server, pool_to(server.url) as pool:
        await post(pool)
        with pytest.raises(UnansweredError, match="in the middle of the answer"):
            await post(pool)
    assert len(server.bodies) == 2


@pytest.mark.parametrize("surplus", [b"HT", ok(b"stray"), b"garbage"], ids=ascii)
async def test_bytes_behind_an_answer_are_never_taken_for_the_next_one(surplus):
    """They would meet the wrong request."""
    async with raw_server(serves(ok(b"mine") + surplus), serves(ok(b"yours"))) as server, pool_to(server.url) as pool:
        assert (await post(pool)).body == b"mine"
        assert (await post(pool)).body == b"yours"


@pytest.mark.parametrize("stray", [ok(b"stray"), b"HT", b"garbage"], ids=ascii)
async def test_bytes_that_nobody_asked_for_end_an_idle_connection(stray):
    """A late duplicate, or a server's 408 for a connection that it is about to close."""

    async def life(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"mine"))
        await told.wait()
        await peer.send(stray)
        await peer.ended()

    told = asyncio.Event()
    async with raw_server(life, serves(ok(b"yours"))) as server, pool_to(server.url) as pool:
        assert (await post(pool)).body == b"mine"
        told.set()
        await server.until(lambda: not server.open)
        assert (await post(pool)).body == b"yours"


async def test_the_request_is_what_http_asks_for():
    """One line, the headers as given, the length, the body."""
    async with raw_server(serves(ok())) as server, pool_to(server.url) as pool:
        await post(pool, "zwölf".encode())
    assert server.heads == [
        b"POST / HTTP/1.1\r\nHost: dynamodb.example\r\nX-Amz-Target: DynamoDB_20120810.BatchWriteItem\r\nContent-Length: 6\r\n\r\n"
    ]
    assert server.bodies == ["zwölf".encode()]
