"""A serving table over a fake DynamoDB, and what to submit to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aws.fake_dynamo import TABLE, FakeClient, FakeDynamo

from headrace.aws.patience import Patience
from headrace.aws.serving_table import ServingTable, SinkRules
from headrace.core.native import Native
from headrace.operations import Put
from headrace.testing.clock import LoopClock
from headrace.traces import Traces


@asynccontextmanager
async def running(
    dynamo: FakeDynamo,
    client: FakeClient,
    native: Native | None = None,
    *,
    depth: int = 16,
    unit: Callable[[], float] = lambda: 0.5,
    traces: Traces | None = None,
) -> AsyncIterator[ServingTable]:
    """A checked sink whose writers run for as long as the context lasts."""
    sink = ServingTable(
        dynamo, client, SinkRules(TABLE, native=native), Patience(LoopClock(), unit), depth=depth, traces=traces
    )
    await sink.check()
    task = asyncio.create_task(sink.run())
    await asyncio.sleep(0)
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.wait([task])


def puts(*keys, **attributes) -> list[tuple[int, Put]]:
    return [(index, Put({"pk": key, **attributes})) for index, key in enumerate(keys)]


def names(count: int) -> list[str]:
    return [f"k{number:03}" for number in range(count)]


def always() -> bool:
    return True


class Lease:
    """A permit that a test takes away."""

    def __init__(self) -> None:
        self.held = True

    def permits(self) -> bool:
        return self.held
