"""How long calls take, as the clients and the signed channel tell it."""

from __future__ import annotations

import asyncio

import pytest
from aws.fake_dynamo import FakeDynamo
from aws.scripted_server import bad, good, scripted_server
from aws.test_clients import KEYS, REGION, environment

from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.request_hooks import TimedCalls
from headrace.aws.session import aws_clients, lease_client, translated
from headrace.aws.timed_channel import TimedChannel
from headrace.errors import Denied, LeaseLost, Unavailable
from headrace.rows import Key


class Told:
    """Takes what is told, on a clock on which each look takes a second."""

    def __init__(self):
        self.calls = []
        self._looks = 0

    def took(self, service, operation, seconds):
        self.calls.append((service, operation, seconds))

    def now(self):
        self._looks += 1
        return float(self._looks)


async def test_each_call_of_every_client_is_told_once_whatever_came_of_it():
    """Also those of the client that the heartbeat's thread makes for itself."""
    told = Told()
    async with scripted_server(good(), good(), bad("AccessDeniedException")) as server:
        with environment(**KEYS, **REGION, AWS_ENDPOINT_URL=server.url):
            async with aws_clients(TimedCalls(told.took, told)) as clients, lease_client(clients) as heartbeats:
                await DynamoLeaseTable(clients.leases, "table").get(Key("M", "stream"))
                await heartbeats.list_tables()
                with pytest.raises(Denied), translated("dynamodb", "ListTables"):
                    await clients.leases.list_tables()
    assert told.calls == [
        ("dynamodb", "GetItem", 1.0), ("dynamodb", "ListTables", 1.0), ("dynamodb", "ListTables", 1.0),
    ]  # fmt: skip


async def test_a_call_without_an_answer_is_told_too():
    """The slowest calls are those that end in a timeout: left out, all would look well."""
    told = Told()
    with environment(**KEYS, **REGION, AWS_ENDPOINT_URL="http://127.0.0.1:9"):
        async with aws_clients(TimedCalls(told.took, told)) as clients:
            with pytest.raises(Unavailable):
                await DynamoLeaseTable(clients.leases, "table").get(Key("M", "stream"))
    assert told.calls == [("dynamodb", "GetItem", 1.0)]


@pytest.mark.looptime
async def test_a_request_of_the_signed_channel_is_told_by_its_operation_also_when_it_fails():
    """Nearly all requests of a worker go this way."""
    told, dynamo = Told(), FakeDynamo()
    channel = TimedChannel(dynamo, told.took, told)
    assert await channel.post("DynamoDB_20120810.BatchWriteItem", b'{"RequestItems":{"t":[]}}')
    dynamo.script.append(Unavailable("cut"))
    with pytest.raises(Unavailable):
        await channel.post("DynamoDB_20120810.BatchWriteItem", b'{"RequestItems":{"t":[]}}')
    assert told.calls == [("dynamodb", "BatchWriteItem", 1.0)] * 2


class Unsent:
    """Raises instead of sending."""

    def __init__(self, error):
        self._error = error

    async def post(self, *_):
        raise self._error


@pytest.mark.looptime
@pytest.mark.parametrize("error", [LeaseLost("late"), asyncio.CancelledError()], ids=["lease lost", "cancelled"])
async def test_a_request_that_was_not_carried_through_says_nothing_of_aws(error):
    """One that a lost lease kept from being sent would be counted as an answer in no time."""
    told = Told()
    with pytest.raises(type(error)):
        await TimedChannel(Unsent(error), told.took, told).post("DynamoDB_20120810.BatchWriteItem", b"{}")
    assert told.calls == []
