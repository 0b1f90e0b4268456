"""A call that a closing connection swallowed takes effect late, though the next try of it has long been answered."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from flow.fleet import TIMING, fleet
from flow.test_operators import desk

from headrace.aws.patience import Patience
from headrace.aws.serving_table import ServingTable, SinkRules
from headrace.flow.operate import shards
from headrace.operations import Put

pytestmark = pytest.mark.looptime

LATE_S = TIMING.call_timeout_s - 0.2


@dataclass
class Wire:
    """One worker's way to the table. The first sending of the next call is swallowed, and lands after `LATE_S`."""

    items: dict[str, int]
    swallows: bool = False
    calls: list[float] = field(default_factory=list)

    async def post(self, target, body, permit):
        loop = asyncio.get_running_loop()
        assert permit()
        if self.swallows:
            self.swallows = False
            loop.call_later(LATE_S, self._land, body)
            assert permit()
        self._land(body)
        self.calls.append(loop.time())
        return b"{}"

    def _land(self, body):
        for requests in json.loads(body)["RequestItems"].values():
            for row in requests:
                item = row["PutRequest"]["Item"]
                self.items[item["pk"]["S"]] = int(item["n"]["N"])


@pytest.mark.parametrize("how", ["stop", "move", "split"])
async def test_nobody_else_writes_the_keys_of_a_shard_before_such_a_call_has_ended(how):
    """Else what it writes stands over what came after it, for good: on a stop, a handoff, and for the shard's children."""
    async with fleet() as f:
        items: dict[str, int] = {}
        writing = []

        def worker(name):
            wire = Wire(items)
            f.sink = ServingTable(
                wire, None, SinkRules("t"), Patience(f.clock, lambda: 0.05), longest_call_s=TIMING.call_timeout_s
            )
            f.sink._keys["t"] = ("pk",)
            writing.append(asyncio.create_task(f.sink.run()))
            return f.start(name, lambda record: Put({"pk": "state", "n": int(record.data)})), wire

        a, wire = worker("a")
        await f.until(lambda: any(lease.owner for lease in f.leases().values()))
        heir, _ = worker("b")
        await f.until(lambda: "b" in f.states())
        await asyncio.sleep(3)
        wire.swallows = True
        f.put(1)
        await f.until(lambda: wire.calls)
        (shard,) = f.leases()
        match how:
            case "stop":
                a.stop.set()
            case "move":
                row = next(row for row in (await desk(f).workers()).values() if row.worker_id == heir.worker.me)
                await shards.move(desk(f), shard, row, 30)
            case "split":
                f.stream.split(shard)
        f.put(1)
        await asyncio.sleep(20)
        for task in writing:
            task.cancel()
        assert items == {"state": 1}


async def test_a_shard_without_such_a_call_passes_on_at_once():
    """Nobody waits for nothing."""
    async with fleet() as f:
        f.start("a")
        f.put(10)
        await f.until(f.all_written)
        f.start("b")
        await asyncio.sleep(5)
        began = f.clock.now()
        await f.stop("a")
        assert f.clock.now() - began < 1
