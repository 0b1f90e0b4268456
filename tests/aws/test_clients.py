"""headrace's clients: what botocore's chain lacks is told as a setting, and a lease write leaves once."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
from aws.scripted_server import bad, good, scripted_server

from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.session import aws_clients, translated
from headrace.errors import Denied, SettingsError, Unavailable
from headrace.rows import Key, PutRow

ISOLATED = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
REGION = {"AWS_REGION": "eu-central-1"}


def environment(**variables: str):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return mock.patch.dict(os.environ, {**inherited, **ISOLATED, **variables}, clear=True)


async def ask() -> None:
    async with aws_clients() as clients:
        with translated("dynamodb", "ListTables"):
            await clients.dynamodb.list_tables()


@pytest.mark.parametrize(
    ("variables", "setting", "words"),
    [
        (KEYS, "AWS_REGION", "no AWS region is set"),
        ({**KEYS, "AWS_REGION": "the moon"}, "AWS_REGION", "'the moon'"),
        (REGION, "AWS credentials", "Unable to locate credentials"),
        ({**REGION, "AWS_ACCESS_KEY_ID": "key"}, "AWS credentials", "missing: AWS_SECRET_ACCESS_KEY"),
        ({**REGION, "AWS_PROFILE": "nobody"}, "AWS_PROFILE", "(nobody) could not be found"),
        ({**REGION, **KEYS, "AWS_ENDPOINT_URL": "localhost:80"}, "AWS_ENDPOINT_URL", "Invalid endpoint: localhost:80"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_the_chain_lacks_is_told_as_the_setting_to_mend(variables, setting, words):
    """Before anything starts, and never as a traceback."""
    with environment(**variables), pytest.raises(SettingsError) as caught:
        await ask()

    assert caught.value.setting == setting
    assert words in str(caught.value)


async def test_a_broken_profile_is_told_as_configuration(tmp_path: Path):
    """It names the profile."""
    file = tmp_path / "config"
    file.write_text("[profile p]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = gone\n")
    variables = {**REGION, "AWS_PROFILE": "p", "AWS_CONFIG_FILE": str(file)}

    with environment(**variables), pytest.raises(SettingsError, match=r'AWS configuration.*"gone"'):
        await ask()


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
async def test_the_region_comes_under_either_name(name):
    """Containers on AWS are given AWS_REGION, botocore alone reads only the other."""
    with environment(**{**KEYS, name: "eu-central-1"}):
        async with aws_clients() as clients:
            regions = {client.meta.region_name for client in (clients.kinesis, clients.dynamodb, clients.leases)}
            assert regions == {"eu-central-1"}


async def test_an_error_in_the_block_is_not_taken_for_a_wrong_setting():
    """Only the opening of the clients is about settings."""
    with environment(**REGION, **KEYS), pytest.raises(ValueError, match="a bug"):
        async with aws_clients():
            raise ValueError("a bug")


async def test_a_lease_write_without_an_answer_leaves_once():
    """A repeat inside the client could apply after the worker has drawn its conclusions."""
    async with scripted_server(bad("InternalServerError", status=500), good()) as server:
        with environment(**REGION, **KEYS, AWS_ENDPOINT_URL=server.url):
            async with aws_clients() as clients:
                with pytest.raises(Unavailable):
                    await DynamoLeaseTable(clients.leases, "t").apply(PutRow(Key("pk", "sk"), {}))

        assert len(server.requests) == 1


async def test_other_calls_are_repeated_inside_the_client():
    """Nothing depends on how often they arrive."""
    async with scripted_server(bad("InternalServerError", status=500), good(b'{"TableNames": []}')) as server:
        with environment(**REGION, **KEYS, AWS_ENDPOINT_URL=server.url):
            await ask()

        assert len(server.requests) == 2
        assert server.requests[0][0]["User-Agent"].startswith("headrace/")


async def test_a_refused_key_is_denied_and_not_repeated():
    """The message carries what AWS said."""
    async with scripted_server(bad("UnrecognizedClientException", "The security token is invalid.")) as server:
        with (
            environment(**REGION, **KEYS, AWS_ENDPOINT_URL=server.url),
            pytest.raises(Denied, match="token is invalid"),
        ):
            await ask()

        assert len(server.requests) == 1
