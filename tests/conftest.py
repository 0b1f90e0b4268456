"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from unittest import mock

import pytest
import servers
import structlog

from headrace.aws.session import Clients, aws_clients
from headrace.core.native import Native, installed


def pytest_configure(config: pytest.Config) -> None:
    """pytest-asyncio asks for the current event loop; on Python 3.11 that makes one which nobody would close."""
    asyncio.set_event_loop(None)


LONG = ("process", "chaos", "docs", "page", "simulation", "cli", "deploy")
"""Folders whose files take long though they have few tests: begun last, they would keep one processor waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Virtual time moves on as soon as nothing is ready, not after looptime's 42 empty rounds: half of such a test's CPU."""
    if item.get_closest_marker("looptime") is not None:
        item.add_marker(pytest.mark.looptime(noop_cycles=0))


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command that a test runs in this process chooses its own level, which would hide events from the tests after it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(params=["python", "native"])
def native(request: pytest.FixtureRequest) -> Native | None:
    """None for the Python way, and then the compiled transcoder: what a test of a codec says holds for both."""
    if request.param == "python":
        return None
    found = installed()
    if found is None:
        pytest.skip("headrace_native is not installed: it needs cargo, then `make setup`")
    return found


@pytest.fixture(scope="session")
def ministack() -> Iterator[servers.Server]:
    """A running MiniStack."""
    with servers.ministack() as server:
        yield server


@pytest.fixture(scope="session")
def kinesis_local() -> Iterator[servers.Server]:
    """A running kinesis-local."""
    if not servers.has_node_servers():
        pytest.skip("kinesis-local needs Node: install npm, then run `make emulators`")
    with servers.kinesis_local() as server:
        yield server


@pytest.fixture(scope="session")
def dynalite() -> Iterator[servers.Server]:
    """A running dynalite."""
    if not servers.has_node_servers():
        pytest.skip("dynalite needs Node: install npm, then run `make emulators`")
    with servers.dynalite() as server:
        yield server


Opener = Callable[[servers.Server], AbstractAsyncContextManager[Clients]]


@pytest.fixture(scope="session")
def aws() -> Opener:
    """Opens headrace's own clients on a server, for one `async with` block.

    They know their endpoint and credentials once they are made: the environment is changed for no longer than that.
    """

    @asynccontextmanager
    async def opened(server: servers.Server) -> AsyncIterator[Clients]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        async with contextlib.AsyncExitStack() as stack:
            with mock.patch.dict(os.environ, {**inherited, **server.environment()}, clear=True):
                clients = await stack.enter_async_context(aws_clients())
            yield clients

    return opened
