"""What the modes `insert` and `latest` promise, asked of a real server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from headrace.aws.channel import open_channel
from headrace.aws.patience import Patience
from headrace.aws.serving_table import ServingTable, SinkRules
from headrace.aws.session import Clients
from headrace.core.guarded import Guard
from headrace.core.record_order import order_at
from headrace.core.write_modes import WriteMode
from headrace.flow.clock import SystemClock
from headrace.model import Checkpoint
from headrace.operations import Delete, Effect, Put

pytestmark = pytest.mark.servers


def always() -> bool:
    return True


Read = Callable[[str], Awaitable[dict[str, Any] | None]]


@dataclass
class Place:
    """A table with the key `pk`, and sinks over it as workers would have them."""

    clients: Clients
    table: str
    read: Read
    sinks: list[ServingTable] = field(default_factory=list)


@pytest.fixture
async def place(request, aws) -> AsyncIterator[Place]:
    """An empty table."""
    async with aws(request.getfixturevalue("ministack")) as clients:
        table = f"things-{uuid4()}"
        await clients.dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

        async def read(pk: str) -> dict[str, Any] | None:
            answer = await clients.dynamodb.get_item(TableName=table, Key={"pk": {"S": pk}}, ConsistentRead=True)
            item = answer.get("Item")
            return None if item is None else {name: next(iter(value.values())) for name, value in item.items()}

        yield Place(clients, table, read)


@asynccontextmanager
async def sink(place: Place, mode: WriteMode, *, by: str | None = None, folds: bool = True) -> AsyncIterator[Any]:
    """What submits writes as (order, effect), and tells the refusals."""
    clock = SystemClock()
    async with open_channel(place.clients.session, place.clients.dynamodb, clock, connections=8, timeout_s=10) as wire:
        rules = SinkRules(place.table, mode, folds, Guard("recordOrder", by))
        made = ServingTable(wire, place.clients.dynamodb, rules, Patience(clock, random.Random(1).random), depth=4)
        await made.check()
        task = asyncio.create_task(made.run())

        async def write(*writes: tuple[int, Effect]) -> dict[int, str]:
            orders = [order_at(0, Checkpoint.at(number)) for number, _ in writes]
            effects = [(index, effect) for index, (_, effect) in enumerate(writes)]
            refusals: Mapping[int, Any] = await made.submit(effects, always, orders.__getitem__)
            return {index: refusal.reason for index, refusal in refusals.items()}

        async def together(number: int, *effects: Effect) -> Mapping[int, Any]:
            return await made.submit(
                [(0, effect) for effect in effects], always, lambda _: order_at(0, Checkpoint.at(number))
            )

        write.counts, write.together = made.counts, together  # type: ignore[attr-defined]
        try:
            yield write
        finally:
            task.cancel()
            await asyncio.wait([task])


def put(pk: str = "a", **others: Any) -> Put:
    return Put({"pk": pk, **others})


async def test_an_insert_of_a_key_that_is_there_is_counted_and_changes_nothing(place):
    """In the same call, in a later one, and beside new ones."""
    async with sink(place, WriteMode.INSERT) as write:
        assert await write((1, put(n=1)), (2, put(n=2)), (3, put("b", n=3))) == {}
        assert await write((1, put(n=9)), (4, put("c", n=4))) == {}
        assert (write.counts.written, write.counts.folded, write.counts.duplicates) == (5, 1, 1)
    assert [(await place.read(pk))["n"] for pk in "abc"] == ["1", "3", "4"]


@pytest.mark.parametrize("mode", [WriteMode.INSERT, WriteMode.LATEST])
async def test_a_write_that_will_never_be_taken_is_refused_alone(place, mode):
    """Too large, no key, an empty key, not a number, a delete; its neighbours are there."""
    bad: list[Effect] = [
        put("big", text="x" * 410_000),
        Put({"n": 1}),
        put(""),
        put("nan", n=float("nan")),
        Delete({"pk": "d"}),
    ]
    good = [put(f"good-{number}") for number in range(len(bad))]
    pairs = [effect for pair in zip(bad, good, strict=True) for effect in pair]
    async with sink(place, mode) as write:
        refusals = await write(*enumerate(pairs, start=1))
    assert set(refusals) == {2 * number for number in range(len(bad))}
    assert f"HEADRACE_SINK_MODE={mode} carries no Delete" in refusals[8]
    for number in range(len(bad)):
        assert await place.read(f"good-{number}") is not None


async def test_an_older_record_never_replaces_a_newer_one(place):
    """Whichever comes first, from this worker or another one."""
    async with sink(place, WriteMode.LATEST) as one, sink(place, WriteMode.LATEST) as other:
        assert await one((5, put(n=5))) == {}
        assert await other((3, put(n=3)), (4, put("b", n=4))) == {}
        assert (await place.read("a"))["n"] == "5"
        assert other.counts.stale == 1
        assert await other((7, put(n=7))) == {}
        assert await one((6, put(n=6))) == {}
    assert (await place.read("a"))["n"] == "7"


async def test_nothing_of_the_item_before_is_left_behind(place):
    """Attributes that the newer item does not have are gone, also those of an owner in between; a repeat after a crash finishes that too."""
    async with sink(place, WriteMode.LATEST) as one, sink(place, WriteMode.LATEST) as other:
        await one((1, put(n=1, old=1)))
        await one((2, put(n=2)))
        assert set(await place.read("a")) == {"pk", "n", "recordOrder"}
        await other((3, put(n=3, theirs=1)))
        await one((4, put(n=4)))
        assert set(await place.read("a")) == {"pk", "n", "recordOrder"}
        half_done = {"pk": {"S": "a"}, "n": {"N": "4"}, "left": {"N": "1"}}
        half_done["recordOrder"] = {"S": order_at(0, Checkpoint.at(4))}
        await place.clients.dynamodb.put_item(TableName=place.table, Item=half_done)
        await one((4, put(n=4)))
    assert set(await place.read("a")) == {"pk", "n", "recordOrder"}


async def test_of_several_writes_of_one_record_the_last_one_stands(place):
    """Also where they go in different calls, and when the record is repeated."""
    for folds in (False, True):
        async with sink(place, WriteMode.LATEST, folds=folds) as write:
            assert await write.together(1, *[put(n=number) for number in range(12)]) == {}
        assert (await place.read("a"))["n"] == "11"


async def test_an_item_of_another_writer_is_taken_over(place):
    """It has no order yet, so whatever comes is newer."""
    await place.clients.dynamodb.put_item(TableName=place.table, Item={"pk": {"S": "a"}, "other": {"S": "x"}})
    async with sink(place, WriteMode.LATEST) as write:
        await write((1, put(n=1)))
    assert set(await place.read("a")) == {"pk", "n", "recordOrder"}


async def test_a_great_many_attributes_of_the_item_before_are_taken_away_too(place):
    """In several statements, each as long as a statement may be."""
    async with sink(place, WriteMode.LATEST) as write:
        await write((1, put(**{f"attribute-{number:03}": number for number in range(60)})))
        await write((2, put(n=2)))
    assert set(await place.read("a")) == {"pk", "n", "recordOrder"}


async def test_an_item_that_keeps_something_else_where_the_order_should_be_refuses_the_write(place):
    """It could wait for ever: nothing is older than a number that is no order."""
    item = {"pk": {"S": "a"}, "recordOrder": {"N": "7"}}
    await place.clients.dynamodb.put_item(TableName=place.table, Item=item)
    async with sink(place, WriteMode.LATEST) as write:
        refusals = await write((1, put(n=1)), (2, put("b", n=2)))
    assert set(refusals) == {0}
    assert "HEADRACE_SINK_ORDER_ATTRIBUTE" in refusals[0]
    assert (await place.read("b"))["n"] == "2"


async def test_an_attribute_of_the_user_decides_where_one_is_named(place):
    """Greater is newer whatever the record; between equal ones the later record; another type never."""
    async with sink(place, WriteMode.LATEST, by="at") as write:
        await write((1, put(at=50, n=1)), (2, put(at=40, n=2)))
        assert (await place.read("a"))["n"] == "1"
        await write((3, put(at=9, n=3)))
        assert (await place.read("a"))["n"] == "1"
        await write((4, put(at=50, n=4)))
        assert (await place.read("a"))["n"] == "4"
        await write((2, put(at=50, n=2)))
        assert (await place.read("a"))["n"] == "4"
        refusals = await write((5, put(at="60")), (6, put()))
    assert "another type" in refusals[0]
    assert "HEADRACE_SINK_ORDER_BY" in refusals[1]


@pytest.mark.parametrize("seed", range(3))
async def test_two_workers_that_write_the_same_records_in_any_pieces_end_at_the_newest_of_each_key(place, seed):
    """One is a zombie: it goes on with what it has while the other repeats it and goes further."""
    rng = random.Random(seed)
    records = [(number, rng.choice("abcdefgh")) for number in range(1, 200)]

    async def work(write: Any, some: list[tuple[int, str]]) -> None:
        while some:
            size = rng.randint(1, 40)
            batch, some = some[:size], some[size:]
            await write(*[(number, put(pk, n=number)) for number, pk in batch])

    async with sink(place, WriteMode.LATEST) as zombie, sink(place, WriteMode.LATEST) as owner:
        await asyncio.gather(work(zombie, records[:120]), work(owner, records[60:]))
    newest = {pk: number for number, pk in records}
    assert {pk: int((await place.read(pk))["n"]) for pk in newest} == newest, f"seed {seed}"
