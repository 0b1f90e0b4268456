"""TLS: who is believed to be the endpoint, and that all else works as without."""

import asyncio
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiobotocore.session import AioSession
from aws.wire.peer import HEADERS, Peer, always, ok, pool_to, raw_server, serves

from headrace.aws.origin import trust_of
from headrace.aws.wire import UnansweredError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl")


@dataclass(frozen=True)
class Identity:
    """A certificate that vouches for itself, good for the name `localhost` alone."""

    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def trust(self) -> ssl.SSLContext | None:
        """What a client with this CA bundle believes."""
        session = AioSession()
        session.set_config_variable("ca_bundle", str(self.certificate))
        return trust_of(session, "https://localhost")


def make(folder: Path, lifetime_days: int = 2) -> Identity:
    identity = Identity(folder / "certificate.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(identity.key), "-out", str(identity.certificate), "-days", str(lifetime_days)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return identity


@pytest.fixture(scope="session")
def identity(tmp_path_factory) -> Identity:
    return make(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory) -> Identity:
    return make(tmp_path_factory.mktemp("stranger"))


def named(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


async def test_the_endpoint_is_believed_when_the_ca_bundle_vouches_for_it(identity):
    """And one handshake serves for many requests, large ones too."""
    large = bytes(range(256)) * 2**13
    life = serves(ok(b"1"), ok(b"2"), ok(b"3" * 300_000))
    async with (
        raw_server(life, tls=identity.server()) as server,
        pool_to(named(server.url), trust=identity.trust()) as pool,
    ):
        assert (await pool.exchange(HEADERS, b"small", always)).body == b"1"
        assert (await pool.exchange(HEADERS, large, always)).body == b"2"
        assert (await pool.exchange(HEADERS, b"small", always)).body == b"3" * 300_000
    assert server.bodies == [b"small", large, b"small"]


async def refused(server, url: str, trust: ssl.SSLContext | None, words: str) -> None:
    async with pool_to(url, trust=trust) as pool:
        with pytest.raises(UnansweredError, match=words):
            await pool.exchange(HEADERS, b"secret", always)
    assert not server.bodies


async def test_a_stranger_gets_nothing(identity, stranger):
    """Somebody stands between us and AWS, or AWS_CA_BUNDLE lacks the certificate of a proxy."""
    async with raw_server(tls=identity.server()) as server:
        await refused(server, named(server.url), stranger.trust(), "CERTIFICATE_VERIFY_FAILED")


async def test_the_certificate_must_be_for_the_name_that_was_asked_for(identity):
    """A good certificate of somebody else proves nothing."""
    async with raw_server(tls=identity.server()) as server:
        await refused(server, server.url, identity.trust(), "CERTIFICATE_VERIFY_FAILED.*127.0.0.1")


async def test_without_a_ca_bundle_the_one_of_botocore_decides(identity):
    """Which knows public authorities alone."""
    trust = trust_of(AioSession(), "https://localhost")
    assert trust is not None
    assert trust.cert_store_stats()["x509_ca"] > 50
    async with raw_server(tls=identity.server()) as server:
        await refused(server, named(server.url), trust, "CERTIFICATE_VERIFY_FAILED")


async def test_a_server_without_tls_is_no_endpoint(identity):
    """Nothing is sent in the clear."""

    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(plain) as server:
        await refused(server, named(server.url).replace("http:", "https:"), identity.trust(), "no connection")


async def test_a_handshake_that_does_not_end_is_given_up(identity):
    """Connecting is over when the handshake is."""

    async def mute(peer: Peer) -> None:
        await peer.ended()

    async with (
        raw_server(mute) as server,
        pool_to(named(server.url), trust=identity.trust(), connect_s=0.05) as pool,
    ):
        with pytest.raises(UnansweredError, match=r"no connection to localhost within 0.05 s"):
            await pool.exchange(HEADERS, b"secret", always)


async def test_a_stale_connection_is_found_out_under_tls_too(identity):
    """The server says goodbye in its own way there."""

    async def closes_on_the_second(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"first"))
        await peer.request()

    async with (
        raw_server(closes_on_the_second, serves(ok(b"second")), tls=identity.server()) as server,
        pool_to(named(server.url), trust=identity.trust()) as pool,
    ):
        assert (await pool.exchange(HEADERS, b"1", always)).body == b"first"
        assert (await pool.exchange(HEADERS, b"2", always)).body == b"second"
    assert server.bodies == [b"1", b"2", b"2"]


async def test_an_answer_without_a_length_ends_with_the_connection_under_tls_too(identity):
    """The end comes as TLS's own word for it."""

    async def life(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\n", b"ha", b"lf")

    async with (
        raw_server(life, tls=identity.server()) as server,
        pool_to(named(server.url), trust=identity.trust()) as pool,
    ):
        assert (await pool.exchange(HEADERS, b"1", always)).body == b"half"


async def test_a_call_that_is_cancelled_closes_its_connection_under_tls_too(identity):
    """At once, without waiting for the server's goodbye."""
    seen = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.request()
        seen.set()
        await peer.ended()

    async with (
        raw_server(silent, serves(ok(b"new")), tls=identity.server()) as server,
        pool_to(named(server.url), trust=identity.trust(), connections=1) as pool,
    ):
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(pool.exchange(HEADERS, b"old", always))
            await seen.wait()
            call.cancel()
        assert (await pool.exchange(HEADERS, b"new", always)).body == b"new"
