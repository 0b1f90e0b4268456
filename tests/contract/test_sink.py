"""What the flow relies on, asked of the sink in memory and of the serving table on a real server alike."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from headrace.aws.channel import open_channel
from headrace.aws.patience import Patience
from headrace.aws.serving_table import ServingTable, SinkRules
from headrace.aws.session import Clients
from headrace.core.items import N, attributes
from headrace.errors import LeaseLost
from headrace.flow.clock import SystemClock
from headrace.operations import Delete, Put
from headrace.ports import Sink
from headrace.testing.sink import TABLE, MemorySink

KEYS = ("pk", "sk")


@dataclass(frozen=True)
class Place:
    """A sink whose table has the keys `pk` (text) and `sk` (number), a second table, and a way to look into both."""

    sink: Sink
    second: str
    read: Callable[..., Awaitable[dict[str, Any] | None]]


@pytest.fixture(params=["memory", pytest.param("ministack", marks=pytest.mark.servers)])
async def place(request, aws) -> AsyncIterator[Place]:
    """Empty tables."""
    if request.param == "memory":
        yield in_memory()
        return
    async with aws(request.getfixturevalue("ministack")) as clients, on_server(clients) as place:
        yield place


def in_memory() -> Place:
    sink = MemorySink(KEYS)

    async def read(pk: str, sk: int, table: str = TABLE) -> dict[str, Any] | None:
        for item in sink.tables.get(table, {}).values():
            if (item["pk"], item["sk"]) == (pk, sk):
                return {name: plain(value) for name, value in attributes(item).items()}
        return None

    return Place(sink, "second", read)


@asynccontextmanager
async def on_server(clients: Clients) -> AsyncIterator[Place]:
    first, second = f"things-{uuid4()}", f"others-{uuid4()}"
    for name in (first, second):
        await clients.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "N"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )

    async def read(pk: str, sk: int, table: str = first) -> dict[str, Any] | None:
        key = {"pk": {"S": pk}, "sk": {"N": str(sk)}}
        answer = await clients.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)
        return {name: plain(value) for name, value in answer["Item"].items()} if "Item" in answer else None

    clock = SystemClock()
    async with open_channel(clients.session, clients.dynamodb, clock, connections=8, timeout_s=10) as channel:
        sink = ServingTable(
            channel, clients.dynamodb, SinkRules(first), Patience(clock, random.Random(1).random), depth=8
        )
        await sink.check()
        task = asyncio.create_task(sink.run())
        try:
            yield Place(sink, second, read)
        finally:
            task.cancel()
            await asyncio.wait([task])


def plain(value: Any) -> Any:
    """An attribute value, ours or botocore's, as a Python value."""
    if not isinstance(value, Mapping):
        value = {type(value).__name__: getattr(value, type(value).__name__)}
    ((kind, content),) = value.items()
    return MEANING.get(kind, lambda same: same)(content)


MEANING: dict[str, Callable[[Any], Any]] = {
    "N": Decimal,
    "NS": lambda numbers: set(map(Decimal, numbers)),
    "SS": set,
    "BS": set,
    "L": lambda inner: [plain(value) for value in inner],
    "M": lambda inner: {name: plain(value) for name, value in inner.items()},
    "NULL": lambda _: None,
}


def always() -> bool:
    return True


def put(pk: str = "a", sk: Any = 1, table: str | None = None, **others: Any) -> Put:
    return Put({"pk": pk, "sk": sk, **others}, table)


async def submit(place: Place, *effects: Put | Delete) -> dict[int, str]:
    """Why each refused effect was refused."""
    refusals = await place.sink.submit(list(enumerate(effects)), always)
    return {index: refusal.reason for index, refusal in refusals.items()}


async def test_an_item_of_every_type_is_there_when_the_future_resolves(place):
    """Numbers exactly, sets as sets, documents as documents."""
    item = {
        "text": "zwölf €",
        "exact": N("1.10"),
        "big": 12345678901234567890123456789012345678,
        "float": 0.1,
        "yes": True,
        "nothing": None,
        "raw": b"\x00\xff",
        "list": [1, "a", {"deep": [None]}],
        "words": {"a", "b"},
        "numbers": {1, 2},
        "blobs": {b"x"},
        "empty": "",
    }
    assert await submit(place, put(**item)) == {}
    assert await place.read("a", 1) == {
        "pk": "a",
        "sk": 1,
        **item,
        "exact": Decimal("1.1"),
        "float": Decimal("0.1"),
    }


async def test_more_items_than_a_request_takes_are_all_there(place):
    """Of several submissions at once."""
    futures = [
        place.sink.submit([(index, put(f"p{batch}", index)) for index in range(60)], always) for batch in range(4)
    ]
    for future in futures:
        assert await future == {}
    for batch in range(4):
        for index in (0, 24, 25, 59):
            assert await place.read(f"p{batch}", index) is not None


async def test_a_put_replaces_the_whole_item(place):
    """Attributes that the new item lacks are gone."""
    await submit(place, put(old=1))
    await submit(place, put(new=2))
    assert await place.read("a", 1) == {"pk": "a", "sk": 1, "new": 2}


async def test_a_repeat_changes_nothing(place):
    """At-least-once delivery meets a write that may be repeated."""
    for _ in range(2):
        assert await submit(place, put(n=1), Delete({"pk": "b", "sk": 1})) == {}
    assert await place.read("a", 1) == {"pk": "a", "sk": 1, "n": 1}


async def test_of_several_writes_to_one_key_the_last_one_stands(place):
    """In one submission and over several, puts and deletes, whatever the spelling of a number."""
    assert await submit(place, put(n=1), put(sk=N("1.0"), n=2), put(sk=Decimal(1), n=3)) == {}
    assert (await place.read("a", 1))["n"] == 3
    futures = [place.sink.submit([(0, put(n=n))], always) for n in range(50)]
    futures.append(place.sink.submit([(0, Delete({"pk": "a", "sk": 1}))], always))
    for future in futures:
        await future
    assert await place.read("a", 1) is None


async def test_an_effect_may_name_another_table(place):
    """Equal keys in two tables are two items."""
    assert await submit(place, put(n=1), put(n=2, table=place.second)) == {}
    assert (await place.read("a", 1))["n"] == 1
    assert (await place.read("a", 1, place.second))["n"] == 2


async def test_an_item_without_a_key_or_a_dynamodb_type_is_refused_and_the_others_written(place):
    """Under the caller's index, with the attribute's name."""
    refusals = await submit(
        place, put(sk=1), Put({"pk": "a"}), put(sk=2, bad=object()), put(sk=3, bad=float("nan")), put(sk=4)
    )
    assert refusals.keys() == {1, 2, 3}
    assert "sk" in refusals[1]
    assert "bad" in refusals[2]
    for sk in (1, 4):
        assert await place.read("a", sk) is not None


async def test_a_lost_permit_raises_and_writes_nothing(place):
    """Asked before anything is sent."""
    with pytest.raises(LeaseLost):
        await place.sink.submit([(0, put(n=1))], lambda: False)
    assert await place.read("a", 1) is None


async def test_a_cancelled_submission_is_not_written(place):
    """Nobody waits for it."""
    place.sink.submit([(0, put(n=1))], always).cancel()
    await submit(place, put("b"))
    assert await place.read("a", 1) is None


async def test_nothing_to_write_is_done(place):
    """An empty submission."""
    assert await submit(place) == {}


@pytest.mark.servers
async def test_what_only_dynamodb_can_judge_is_isolated_with_its_own_words(aws, ministack):
    """Too many digits, too large, the wrong key type, an empty key: each buried alone, the rest written."""
    async with aws(ministack) as clients, on_server(clients) as place:
        bad = {
            3: put("digits", x=N("1" * 39)),
            7: put("size", x="x" * 410_000),
            11: put("type", "text"),
            13: put("", 1),
            17: Delete({"pk": "extra", "sk": 1, "more": 2}),
        }
        refusals = await submit(place, *(bad.get(index, put("good", index)) for index in range(25)))
        assert refusals.keys() == bad.keys()
        assert all(refusals.values())
        for index in set(range(25)) - bad.keys():
            assert await place.read("good", index) is not None
