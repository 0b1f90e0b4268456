"""What the channel makes of the answers it gets, over either wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aws.scripted_server import bad, good, scripted_server

from headrace.aws.channel import Channel
from headrace.aws.connection_pool import ConnectionPool, Limits
from headrace.aws.origin import Origin
from headrace.aws.proxy_wire import open_proxy_wire
from headrace.errors import AwsError, Denied, LeaseLost, NotFound, Rejected, Throttled, Unavailable

TARGET = "DynamoDB_20120810.BatchWriteItem"
HOST = "dynamodb.example"


class RecordingSigner:
    """Signs nothing and notes what it is told. `wire` says how its channel reaches the server."""

    def __init__(self, wire: str = "direct") -> None:
        self.wire = wire
        self.followed: list[datetime] = []
        self.renewed = 0
        self.prepared = 0

    async def prepare(self) -> None:
        self.prepared += 1

    async def renew(self, refused) -> None:
        self.renewed += 1

    def follow(self, now: datetime) -> None:
        self.followed.append(now)

    def headers(self, target: str, body: bytes) -> dict[str, str]:
        return {"Host": HOST, "X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0"}


@pytest.fixture(params=["direct", "proxy"])
def signer(request) -> RecordingSigner:
    return RecordingSigner(request.param)


@asynccontextmanager
async def channel_to(url: str, signer, timeout_s: float = 5.0) -> AsyncIterator[Channel]:
    limits = Limits(2, timeout_s)
    if signer.wire == "proxy":
        async with open_proxy_wire(f"http://{HOST}", url, None, limits) as wire:
            yield Channel(wire, signer)
        return
    pool = ConnectionPool(Origin.of(url, None), "/", limits)
    try:
        yield Channel(pool, signer)
    finally:
        await pool.close()


async def post_to(signer, *answers, timeout_s: float = 5.0) -> bytes:
    async with scripted_server(*answers) as server, channel_to(server.url, signer, timeout_s) as channel:
        return await channel.post(TARGET, b"{}")


async def test_the_body_goes_out_and_the_answer_comes_back_untouched(signer):
    """Bytes in, bytes out, under the headers of the signer."""
    async with scripted_server(good(b'{"UnprocessedItems":{}}')) as server, channel_to(server.url, signer) as channel:
        assert await channel.post(TARGET, "zwölf".encode()) == b'{"UnprocessedItems":{}}'
    ((headers, body),) = server.requests
    assert body == "zwölf".encode()
    assert headers["X-Amz-Target"] == TARGET
    assert signer.prepared == 1


async def test_one_connection_serves_one_request_after_another(signer):
    """Keep-alive: a TLS handshake per request would cost more than everything else."""
    async with scripted_server(good(), good(), good()) as server, channel_to(server.url, signer) as channel:
        for _ in range(3):
            await channel.post(TARGET, b"{}")
    assert len(server.requests) == 3
    assert len(server.callers) == 1


async def test_a_body_of_many_megabytes_arrives_whole(signer):
    """25 items of 400 KB."""
    body = b"x" * (10 * 2**20)
    async with scripted_server(good()) as server, channel_to(server.url, signer) as channel:
        await channel.post(TARGET, body)
    assert server.requests[0][1] == body


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (lambda: bad("ProvisionedThroughputExceededException", "slow down"), Throttled, "slow down"),
        (lambda: bad("ThrottlingException"), Throttled, "ThrottlingException"),
        (lambda: bad("RequestLimitExceeded"), Throttled, "RequestLimitExceeded"),
        (lambda: web.Response(status=429), Throttled, "429"),
        (lambda: bad("InternalServerError", status=500), Unavailable, "InternalServerError"),
        (lambda: web.Response(status=503, text="<html>overloaded</html>"), Unavailable, "503"),
        (lambda: bad("AccessDeniedException", "no right", field="Message"), Denied, "no right"),
        (lambda: bad("UnrecognizedClientException"), Denied, "UnrecognizedClientException"),
        (lambda: bad("InvalidSignatureException", "The request signature does not match"), Denied, "does not match"),
        (
            lambda: bad("ResourceNotFoundException", "Requested resource not found"),
            NotFound,
            "Requested resource not found",
        ),
        (lambda: bad("ValidationException", "Item size exceeded"), Rejected, "Item size exceeded"),
        (lambda: bad("SerializationException", field="Message"), Rejected, "SerializationException"),
        (lambda: web.Response(status=413), Rejected, "413"),
        (lambda: bad("SomethingNewException", "unheard of"), AwsError, "unheard of"),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), AwsError, "302"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_failure_becomes_one_of_the_family_with_awss_words(signer, answer, expected, words):
    """Nothing but the exact class: an unknown code is neither retried blindly nor held against the item."""
    with pytest.raises(AwsError, match=words) as caught:
        await post_to(signer, answer())
    assert type(caught.value) is expected


async def test_a_damaged_answer_is_an_outage(signer):
    """The checksum says that these are not the bytes DynamoDB sent: the write may or may not have been applied."""
    with pytest.raises(Unavailable, match="crc32"):
        await post_to(signer, good(b'{"UnprocessedItems":{}}', **{"x-amz-crc32": "1"}))


async def test_an_answer_without_a_checksum_is_taken(signer):
    """Not every server sends one."""
    assert await post_to(signer, web.Response(body=b"{}")) == b"{}"


async def test_a_server_that_says_nothing_is_an_outage_after_the_timeout(signer):
    """The caller's timeout covers the whole call."""
    with pytest.raises(Unavailable, match="BatchWriteItem"):
        await post_to(signer, None, timeout_s=0.05)


async def test_a_connection_nobody_accepts_is_an_outage(signer):
    """The server is down."""
    async with scripted_server() as server:
        url = server.url
    async with channel_to(url, signer) as channel:
        with pytest.raises(Unavailable):
            await channel.post(TARGET, b"{}")


async def test_a_connection_cut_before_the_answer_is_an_outage(signer):
    """The request may have been applied."""
    async with asyncio.timeout(5):
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with channel_to(f"http://127.0.0.1:{port}", signer) as channel:
                with pytest.raises(Unavailable):
                    await channel.post(TARGET, b"{}")


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken"])
async def test_an_expired_token_is_renewed_and_the_request_sent_again(signer, code):
    """Credentials ran out between two refreshes."""
    assert await post_to(signer, bad(code), good(b'{"second":1}')) == b'{"second":1}'
    assert signer.renewed == 1


async def test_a_token_that_stays_expired_is_denied(signer):
    """One more try, not for ever."""
    with pytest.raises(Denied):
        await post_to(signer, bad("ExpiredTokenException"), bad("ExpiredTokenException"))
    assert signer.renewed == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidSignatureException", "Signature expired: 20260309T235958Z is now earlier than 20260310T000958Z"),
        ("InvalidSignatureException", "Signature not yet current: 20260309T235958Z is still later than now"),
        ("RequestExpired", "Request has expired"),
        ("RequestTimeTooSkewed", ""),
    ],
)
async def test_a_wrong_clock_takes_the_servers_time_and_sends_again(signer, code, message):
    """The machine's clock is off by more than the five minutes that AWS allows."""
    refusal = bad(code, message, Date="Tue, 10 Mar 2026 00:09:58 GMT")
    assert await post_to(signer, refusal, good(b'{"second":1}')) == b'{"second":1}'
    assert signer.followed == [datetime(2026, 3, 10, 0, 9, 58, tzinfo=UTC)]


async def test_a_skew_without_a_readable_date_is_denied(signer):
    """There is nothing to set the clock by."""
    with pytest.raises(Denied):
        await post_to(signer, bad("RequestExpired", Date="yesterday"))
    assert not signer.followed


async def test_a_clock_that_stays_wrong_is_denied(signer):
    """The server's time is taken once."""
    with pytest.raises(Denied, match="RequestExpired"):
        await post_to(signer, bad("RequestExpired"), bad("RequestExpired"))
    assert len(signer.followed) == 1


async def test_nothing_is_sent_without_a_permit(signer):
    """Asked when the credentials are there, right before sending."""
    async with scripted_server() as server, channel_to(server.url, signer) as channel:
        with pytest.raises(LeaseLost):
            await channel.post(TARGET, b"{}", lambda: False)
    assert not server.requests


async def test_the_second_try_asks_for_the_permit_again(signer):
    """Fetching new credentials may have taken longer than the lease."""
    permits = iter([True, False])
    async with scripted_server(bad("ExpiredTokenException")) as server, channel_to(server.url, signer) as channel:
        with pytest.raises(LeaseLost):
            await channel.post(TARGET, b"{}", lambda: next(permits))
    assert len(server.requests) == 1
