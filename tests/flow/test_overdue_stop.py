"""A stop that takes longer than it may, with the real serving table between worker and DynamoDB."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from flow.fleet import fleet

from headrace.aws import serving_table
from headrace.aws.batch_write import BatchWrites
from headrace.aws.key_schema import KeySchema
from headrace.aws.patience import Patience
from headrace.aws.serving_table import ServingTable, SinkRules
from headrace.aws.write_request import TableKeys
from headrace.errors import LeaseLost, Throttled, Unavailable
from headrace.operations import Put
from headrace.testing.clock import LoopClock

pytestmark = pytest.mark.looptime


@dataclass
class Table:
    """What was written, by whom and when."""

    items: dict = field(default_factory=dict)
    log: list = field(default_factory=list)


@dataclass
class Post:
    """One worker's way to the table; in a brownout full requests are throttled and the others get no answer in time."""

    table: Table
    clock: LoopClock
    who: str
    brownout: bool = False

    async def post(self, target, body, permit=lambda: True):
        if not permit():
            raise LeaseLost("no permit")
        requests = json.loads(body)["RequestItems"]
        rows = [(name, row["PutRequest"]["Item"]) for name, several in requests.items() for row in several]
        if self.brownout and len(rows) == 25:
            raise Throttled("hot partition")
        if self.brownout:
            await asyncio.sleep(2.9)
        for name, item in rows:
            self.table.items[name, item["pk"]["S"]] = int(item["n"]["N"])
            self.table.log.append((self.clock.now(), self.who))
        if self.brownout:
            raise Unavailable("no answer in time")
        return b"{}"


async def test_after_a_stop_that_ran_out_of_time_nothing_is_under_way_when_another_may_start():
    """Else an older write lands on a newer one, for good."""
    async with fleet() as f:
        table, writing = Table(), []

        def sink(who):
            post = Post(table, f.clock, who)
            made = ServingTable(post, None, SinkRules("t"), Patience(f.clock, lambda: 0.05))
            made._keys["t"] = ("pk",)
            writing.append(asyncio.create_task(made.run()))
            return made, post

        def handle(record):
            return Put({"pk": record.partition_key, "n": int(record.data)})

        f.sink, troubled = sink("a")
        f.start("a", handle=handle)
        await f.until(lambda: any(lease.owner for lease in f.leases().values()))
        f.sink, _ = sink("b")
        f.start("b", handle=handle)
        await asyncio.sleep(5)
        troubled.brownout = True
        f.put(30, keys=30)
        await asyncio.sleep(2)
        f.members["a"].stop.set()
        await asyncio.sleep(10)
        f.put(30, keys=30)
        await asyncio.sleep(40)
        for task in writing:
            task.cancel()

        assert set(table.items.values()) == set(range(30, 60))
        assert max(at for at, who in table.log if who == "a") < min(at for at, who in table.log if who == "b")
        assert f.states()["a"] == "left"


async def test_a_write_to_a_table_just_learned_does_not_overtake_those_that_waited_for_it(monkeypatch):
    """Two tables are learned one after the other."""
    known = []

    async def describe_keys(client, table):
        await asyncio.sleep(3.0 if known else 0.01)
        known.append(table)
        return KeySchema(("pk",), ("S",), "ACTIVE")

    monkeypatch.setattr(serving_table, "describe_keys", describe_keys)
    clock, table = LoopClock(), Table()
    sink = ServingTable(Post(table, clock, "a"), None, SinkRules("t"), Patience(clock, lambda: 0.5))
    writing = asyncio.create_task(sink.run())
    first = sink.submit([(0, Put({"pk": "x", "n": 1}, "one")), (1, Put({"pk": "x", "n": 1}, "two"))], lambda: True)
    await asyncio.sleep(1)
    second = sink.submit([(0, Put({"pk": "x", "n": 2}, known[0]))], lambda: True)
    await first
    await second
    writing.cancel()

    assert table.items[known[0], "x"] == 2


@pytest.mark.parametrize("answer", [b"", b"OK", b"<html/>", b'{"message":"x"}'])
async def test_an_answer_that_does_not_say_that_all_was_written_is_no_proof_of_it(answer):
    """A proxy or a wrong endpoint may say 200 to anything."""
    with pytest.raises(Unavailable):
        BatchWrites(TableKeys("t")).read({}, answer)
