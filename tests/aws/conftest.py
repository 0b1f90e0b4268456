"""Fixtures of the sink's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aws.fake_dynamo import FakeClient, FakeDynamo
from aws.sinks import running

from headrace.aws.serving_table import ServingTable
from headrace.core.native import Native


@pytest.fixture
def dynamo() -> FakeDynamo:
    """BatchWriteItem."""
    return FakeDynamo()


@pytest.fixture
def client() -> FakeClient:
    """DescribeTable."""
    return FakeClient()


@pytest.fixture
async def sink(dynamo: FakeDynamo, client: FakeClient, native: Native | None) -> AsyncIterator[ServingTable]:
    """A sink that is running."""
    async with running(dynamo, client, native) as sink:
        yield sink
