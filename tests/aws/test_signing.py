"""headrace's signature is botocore's, byte for byte."""

from datetime import UTC, datetime, timedelta

import pytest
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    InvalidConfigError,
    PartialCredentialsError,
    UnauthorizedSSOTokenError,
)

from headrace.aws.signing import CONTENT_TYPE, CachingSigner, CredentialChain, Scope
from headrace.errors import AwsError, Denied, Throttled, Unavailable
from headrace.model import Instant

TARGET = "DynamoDB_20120810.BatchWriteItem"
NOW = datetime(2026, 3, 9, 23, 59, 58, tzinfo=UTC)
REGIONAL = "https://dynamodb.eu-central-1.amazonaws.com"

BODIES = {
    "empty": b"",
    "small": b"{}",
    "non-ASCII": '{"k":{"S":"Zoë прибор 🦆 %2F+"}}'.encode(),
    "400 KB": b'{"x":"' + b"y" * 400_000 + b'"}',
}
URLS = [
    REGIONAL,
    f"{REGIONAL}/",
    "https://DynamoDB.eu-central-1.amazonaws.com:443",
    "http://localhost:80",
    "http://127.0.0.1:4566",
    "http://127.0.0.1:4566/proxy",
    "http://[::1]:8000",
]


class Clock:
    """A time of day that a test sets."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> Instant:
        return Instant(0.0)

    def wall(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def signer_for(clock: Clock, url: str = REGIONAL, token: str | None = None) -> CachingSigner:
    session = AioSession()
    session.set_credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    signer = CachingSigner(CredentialChain(session), Scope(url, "eu-central-1"), clock)
    await signer.prepare()
    return signer


def botocore_headers(monkeypatch, url, body, token, now=NOW) -> dict[str, str]:
    """What the stock client would send."""
    monkeypatch.setattr(auth, "get_current_datetime", lambda: now)
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": CONTENT_TYPE, "X-Amz-Target": TARGET})
    credentials = AioCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    auth.SigV4Auth(credentials, "dynamodb", "eu-central-1").add_auth(request)
    return dict(request.headers.items())


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("token", [None, "IQoJb3JpZ2luX2VjEJr//////+example=="], ids=["long-term key", "session token"])
async def test_every_header_equals_botocores(monkeypatch, clock, url, body, token):
    """Same instant, credentials and body: same Authorization, with nothing missing and nothing else signed."""
    headers = (await signer_for(clock, url, token)).headers(TARGET, body)
    host = headers.pop("Host")
    assert headers == botocore_headers(monkeypatch, url, body, token)
    assert host == Scope(url, "").host


async def test_the_signing_key_changes_with_the_day(monkeypatch, clock):
    """Two seconds later it is tomorrow: a cached key would be refused."""
    signer = await signer_for(clock)
    signer.headers(TARGET, b"{}")
    clock.time = NOW + timedelta(seconds=2)
    assert (
        signer.headers(TARGET, b"{}")["Authorization"]
        == (botocore_headers(monkeypatch, REGIONAL, b"{}", None, clock.time)["Authorization"])
    )


async def test_the_services_clock_is_followed(monkeypatch, clock):
    """After `follow` the signature carries the service's time, and goes on with it."""
    signer = await signer_for(clock)
    signer.follow(NOW + timedelta(minutes=20))
    clock.time = NOW + timedelta(seconds=5)
    then = NOW + timedelta(minutes=20, seconds=5)
    assert (
        signer.headers(TARGET, b"{}")["Authorization"]
        == (botocore_headers(monkeypatch, REGIONAL, b"{}", None, then)["Authorization"])
    )


class Chain:
    """A credential provider whose answers a test scripts."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)

    async def load_credentials(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def session_with(chain: Chain) -> AioSession:
    session = AioSession()
    session.register_component("credential_provider", chain)
    return session


def expired(token: str) -> dict[str, str]:
    return {"X-Amz-Security-Token": token}


async def test_expired_credentials_are_fetched_once_for_all_the_requests_they_failed(clock):
    """The second of two refused requests finds the new credentials there already."""
    chain = Chain(AioCredentials("A", "a", "old"), AioCredentials("B", "b", "new"))
    signer = CachingSigner(CredentialChain(session_with(chain)), Scope(REGIONAL, "eu-central-1"), clock)
    await signer.prepare()
    await signer.renew(expired("old"))
    await signer.renew(expired("old"))
    await signer.prepare()
    assert signer.headers(TARGET, b"{}")["X-Amz-Security-Token"] == "new"
    assert not chain.answers


async def test_no_credentials_anywhere_is_denied(clock):
    """Retrying would not help, and the message says what is missing."""
    signer = CachingSigner(CredentialChain(session_with(Chain(None))), Scope(REGIONAL, "eu-central-1"), clock)
    with pytest.raises(Denied, match="no AWS credentials"):
        await signer.prepare()


async def test_a_credential_source_that_is_down_is_an_outage(clock):
    """The metadata service being away for a moment must not end the worker."""
    trouble = CredentialRetrievalError(provider="iam-role", error_msg="no answer")
    chain = Chain(trouble, AioCredentials("A", "a", None))
    signer = CachingSigner(CredentialChain(session_with(chain)), Scope(REGIONAL, "eu-central-1"), clock)
    with pytest.raises(Unavailable):
        await signer.prepare()
    await signer.prepare()
    assert "Credential=A/" in signer.headers(TARGET, b"{}")["Authorization"]


def refused_by_sts(code: str, status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "AssumeRole")


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (refused_by_sts("AccessDenied", 403), Denied),
        (refused_by_sts("Throttling"), Throttled),
        (refused_by_sts("IDPCommunicationError"), Unavailable),
        (refused_by_sts("RegionDisabledException"), AwsError),
        (UnauthorizedSSOTokenError(), Denied),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), Denied),
        (InvalidConfigError(error_msg="no such source profile"), Denied),
        (EndpointConnectionError(endpoint_url="http://localhost/"), Unavailable),
        (TimeoutError(), Unavailable),
        (RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."), Unavailable),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
async def test_trouble_with_credentials_means_what_it_means_for_every_other_call(clock, trouble, kind):
    """Only that nothing of it is blamed on the request, whose records would be buried, or ends the worker as a setting."""
    signer = CachingSigner(CredentialChain(session_with(Chain(trouble))), Scope(REGIONAL, "eu-central-1"), clock)
    with pytest.raises(AwsError) as caught:
        await signer.prepare()
    assert type(caught.value) is kind


@pytest.mark.parametrize("credentials", [("A\n", "a", None), ("A", "a", "token\r\nX-Header: 1"), ("A", "a", "tökén")])
async def test_credentials_with_a_character_that_ends_a_header_are_denied(clock, credentials):
    """Copied along with a line end: nothing is sent with them."""
    chain = Chain(AioCredentials(*credentials))
    signer = CachingSigner(CredentialChain(session_with(chain)), Scope(REGIONAL, "eu-central-1"), clock)
    await signer.prepare()
    with pytest.raises(Denied, match="character"):
        signer.headers(TARGET, b"{}")
