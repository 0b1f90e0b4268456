"""What a run takes place on: local servers, a stream, a serving table, a folder for what is kept of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import servers

from chaos.fleet import plain_environment
from chaos.handler import TRACE
from headrace.aws.session import Clients, aws_clients

NAME = "chaos"
"""Application and stream: the servers are the run's own."""

TABLE = "chaos-results"
TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Size:
    """How much of everything. `rate` is in records a second, `lease_s` the lease duration in seconds."""

    workers: int
    shards: int
    rate: float
    lease_s: float
    kinesis: str = "kinesis-local"
    keys: int = 400
    poison_rate: float = 0.001
    settings: tuple[tuple[str, str], ...] = ()
    """Of the workers, beside those that a run needs: environment variables and their values."""

    @property
    def poll_s(self) -> float:
        """Between two looks of a worker at the others (`core/tenure.py`)."""
        return self.lease_s / 10

    @property
    def takeover_bound_s(self) -> float:
        """From the end of a worker to the first page its shards' next owners read."""
        return self.lease_s * 1.01 + self.poll_s + 1.0


@dataclass(frozen=True)
class Stage:
    """Where it happens. `clients` reach the servers directly; `environment` is that of every process."""

    size: Size
    folder: Path
    clients: Clients
    endpoints: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def trace(self) -> Path:
        """A line for each call of the handler."""
        return Path(self.environment[TRACE])

    @property
    def ledger(self) -> Path:
        """What the stream acknowledged."""
        return self.folder / "ledger"

    async def shards(self) -> list[dict[str, Any]]:
        """All shards of the stream."""
        found: list[dict[str, Any]] = []
        request: dict[str, Any] = {"StreamName": NAME}
        while request:
            page = await self.clients.kinesis.list_shards(**request)
            found += page["Shards"]
            request = {"NextToken": page["NextToken"]} if page.get("NextToken") else {}
        return found

    async def active(self) -> None:
        """Wait until the stream may be changed."""
        while True:
            summary = await self.clients.kinesis.describe_stream_summary(StreamName=NAME)
            if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return
            await asyncio.sleep(0.05)

    async def leases(self) -> list[dict[str, Any]]:
        """The lease rows, as DynamoDB gives them."""
        rows: list[dict[str, Any]] = []
        async for page in self.clients.dynamodb.get_paginator("scan").paginate(TableName=NAME, ConsistentRead=True):
            rows += [row for row in page["Items"] if row["pk"]["S"].startswith("L#")]
        return rows


@contextlib.asynccontextmanager
async def set_up(size: Size, folder: Path) -> AsyncIterator[Stage]:
    """Servers, stream and table, for as long as the context lasts."""
    with servers.ministack() as dynamodb, _kinesis(size.kinesis) as kinesis:
        endpoints = {"dynamodb": dynamodb.endpoint, "kinesis": kinesis.endpoint}
        environment = _environment(dynamodb, endpoints, size, folder)
        with mock.patch.dict(os.environ, environment, clear=True):
            async with aws_clients() as clients:
                stage = Stage(size, folder, clients, endpoints, environment)
                await _create(stage)
                yield stage


@contextlib.contextmanager
def _kinesis(kind: str) -> Iterator[servers.Server]:
    match kind:
        case "kinesis-local":
            server = servers.kinesis_local()
        case "kinesalite":
            server = _kinesalite()
        case _:
            server = servers.ministack()  # another than DynamoDB's, which must answer while this one is busy
    with server as running:
        yield running


@contextlib.contextmanager
def _kinesalite() -> Iterator[servers.Server]:
    """Drains closed shards as AWS does, at a cost that does not grow; it does not name children on the last page."""
    port = servers.free_port()
    program = [str(servers.EMULATORS / "node_modules" / ".bin" / "kinesalite"), "--port", str(port)]
    options = ["--createStreamMs", "5", "--updateStreamMs", "5", "--deleteStreamMs", "5", "--shardLimit", "1000"]
    with servers._running([*program, *options], {}, port, ("kinesis",)) as server:
        yield server


def _environment(dynamodb: servers.Server, endpoints: Mapping[str, str], size: Size, folder: Path) -> dict[str, str]:
    python_path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {
        **plain_environment(),
        **{name: value for name, value in dynamodb.environment().items() if not name.startswith("AWS_ENDPOINT")},
        **{f"AWS_ENDPOINT_URL_{service.upper()}": url for service, url in endpoints.items()},
        "PYTHONPATH": python_path,
        TRACE: str(folder / "trace"),
        "HEADRACE_APPLICATION": NAME,
        "HEADRACE_STREAM_NAME": NAME,
        "HEADRACE_SINK_TABLE": TABLE,
        "HEADRACE_HANDLER": "chaos.handler:handle",
        "HEADRACE_RETRY_MAXIMUM_ATTEMPTS": "2",  # poison is to be buried before the run ends
        "HEADRACE_OPS_PORT": "0",
        "HEADRACE_LEASE_DURATION": f"{size.lease_s * 1000:.0f}ms",
        "HEADRACE_LOG_FORMAT": "json",
        **dict(size.settings),
    }


async def _create(stage: Stage) -> None:
    key: Any = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    types: Any = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    await stage.clients.dynamodb.create_table(
        TableName=TABLE, KeySchema=key, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST"
    )
    await stage.clients.kinesis.create_stream(StreamName=NAME, ShardCount=stage.size.shards)
    await stage.active()


def kinesis_of(wanted: str | None, *, reshard: bool) -> str:
    """The Kinesis server to use: the wanted one, else one that can do what the run needs and is installed."""
    if wanted is not None:
        return wanted
    return "kinesis-local" if reshard and servers.has_node_servers() else "ministack"
