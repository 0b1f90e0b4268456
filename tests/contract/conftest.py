"""Fixtures of the suites that both kinds of implementation have to pass."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from contract.lease_tables import DYNALITE, MEMORY, MINISTACK, Backend

from headrace.ports import LeaseTable


@pytest_asyncio.fixture(params=[MEMORY, MINISTACK, DYNALITE], scope="module", loop_scope="module")
async def backend(request: pytest.FixtureRequest, aws) -> AsyncIterator[Backend]:
    """Where lease tables are: in memory, or on a running server whose clients serve all tests of a file."""
    if request.param == "memory":
        yield Backend(None)
        return
    async with aws(request.getfixturevalue(request.param)) as clients:
        yield Backend(clients.leases, shows_old_rows=request.param != "dynalite")


@pytest_asyncio.fixture(loop_scope="module")
async def table(backend: Backend) -> LeaseTable:
    """An empty lease table."""
    return await backend.new_table()
