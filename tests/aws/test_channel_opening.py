"""Where a channel goes: endpoint, credentials and proxies are those of the ordinary client."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import mock

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aws.scripted_server import good, scripted_server

from headrace.aws.channel import Channel, open_channel
from headrace.aws.session import aws_clients
from headrace.testing.clock import LoopClock

TARGET = "DynamoDB_20120810.BatchWriteItem"


@asynccontextmanager
async def opened(url: str, **environment: str) -> AsyncIterator[Channel]:
    variables = {
        "AWS_ENDPOINT_URL_DYNAMODB": url,
        "AWS_DEFAULT_REGION": "eu-north-1",
        "AWS_ACCESS_KEY_ID": "AKID",
        "AWS_SECRET_ACCESS_KEY": "secret",
        **environment,
    }
    with mock.patch.dict(os.environ, variables):
        async with (
            aws_clients() as clients,
            open_channel(clients.session, clients.dynamodb, LoopClock(), connections=2, timeout_s=5) as channel,
        ):
            yield channel


async def test_an_opened_channel_signs_for_the_clients_endpoint_and_sends_nothing_superfluous():
    """Endpoint, region and credentials are those of the ordinary client."""
    async with scripted_server(good()) as server, opened(server.url) as channel:
        await channel.post(TARGET, b"{}")
    headers, _ = server.requests[0]
    assert "Credential=AKID/2026" in headers["Authorization"]
    assert (
        "/eu-north-1/dynamodb/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
        in (headers["Authorization"])
    )
    assert headers["Host"] == server.url.removeprefix("http://")
    assert headers.keys() == {"Authorization", "Content-Length", "Content-Type", "Host", "X-Amz-Date", "X-Amz-Target"}


async def test_the_environments_proxy_is_used():
    """The endpoint need not be reachable from here: the proxy gets the request, with the endpoint's own host."""
    async with (
        scripted_server(good()) as proxy,
        opened("http://dynamodb.example:8000", http_proxy=proxy.url) as channel,
    ):
        await channel.post(TARGET, b"{}")
    assert proxy.requests[0][0]["Host"] == "dynamodb.example:8000"


async def test_a_proxy_may_be_named_without_its_scheme():
    """As botocore takes it."""
    async with (
        scripted_server(good()) as proxy,
        opened("http://dynamodb.example:8000", http_proxy=proxy.url.removeprefix("http://")) as channel,
    ):
        await channel.post(TARGET, b"{}")
    assert len(proxy.requests) == 1


async def test_the_proxy_of_the_clients_own_config_goes_before_the_environments():
    """The data operations go where the client's would."""
    async with scripted_server(good()) as proxy, scripted_server() as other:
        variables = {"http_proxy": other.url, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
        session, config = get_session(), AioConfig(proxies={"http": proxy.url})
        with mock.patch.dict(os.environ, variables):
            async with (
                session.create_client(
                    "dynamodb", region_name="eu-north-1", endpoint_url="http://dynamodb.example", config=config
                ) as client,
                open_channel(session, client, LoopClock(), connections=1, timeout_s=5) as channel,
            ):
                await channel.post(TARGET, b"{}")
    assert len(proxy.requests) == 1
    assert not other.requests


async def test_hosts_that_the_environment_excepts_from_the_proxy_are_reached_directly():
    """NO_PROXY, as for every other program."""
    async with (
        scripted_server() as proxy,
        scripted_server(good()) as server,
        opened(server.url, http_proxy=proxy.url, no_proxy="127.0.0.1") as channel,
    ):
        await channel.post(TARGET, b"{}")
    assert len(server.requests) == 1
    assert not proxy.requests
