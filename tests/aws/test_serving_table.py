"""What the sink sends on good days, and in which order. Time is virtual."""

import asyncio
import random
from decimal import Decimal

import pytest
from aws.fake_dynamo import TABLE
from aws.sinks import always, names, puts, running

from headrace.errors import Throttled, Unavailable
from headrace.operations import Delete, Put

pytestmark = pytest.mark.looptime


async def test_sixty_puts_are_three_requests_of_at_most_25(sink, dynamo):
    """Full requests first; every item is there when the future resolves."""
    assert await sink.submit(puts(*names(60), n=1), always) == {}
    assert [len(keys) for keys in dynamo.requests] == [25, 25, 10]
    assert dynamo.most_under_way == 3
    assert asyncio.get_running_loop().time() == pytest.approx(0.005)
    assert len(dynamo.items) == 60
    assert dynamo.items[TABLE, "k007"] == {"pk": {"S": "k007"}, "n": {"N": "1"}}
    assert (sink.counts.written, sink.counts.requests) == (60, 3)


async def test_submissions_of_one_turn_share_requests(sink, dynamo):
    """Eight shards with few records each do not pay for eight requests."""
    futures = [sink.submit(puts(f"a{number}", f"b{number}"), always) for number in range(8)]
    for future in futures:
        assert await future == {}
    assert [len(keys) for keys in dynamo.requests] == [16]


async def test_deletes_go_with_puts(sink, dynamo):
    """Both kinds in one request; what is deleted is gone."""
    await sink.submit(puts("a", "b"), always)
    await sink.submit([(0, Delete({"pk": "a"})), (1, Put({"pk": "c"}))], always)
    assert dynamo.items.keys() == {(TABLE, "b"), (TABLE, "c")}
    assert len(dynamo.requests) == 2


async def test_nothing_to_write_is_done_at_once(sink, dynamo):
    """A batch whose handler asks for nothing."""
    assert await sink.submit([], always) == {}
    assert not dynamo.requests


async def test_no_more_requests_than_the_depth_are_under_way(dynamo, client, native):
    """The depth bounds connections and memory, and is used in full."""
    async with running(dynamo, client, native, depth=3) as sink:
        await sink.submit(puts(*names(300)), always)
    assert dynamo.most_under_way == 3
    assert len(dynamo.requests) == 12


async def test_a_hundred_puts_of_one_key_are_one_request(sink, dynamo):
    """Only the last is sent; all are settled by it."""
    assert await sink.submit([(n, Put({"pk": "hot", "n": n})) for n in range(100)], always) == {}
    assert dynamo.requests == [["hot"]]
    assert dynamo.items[TABLE, "hot"]["n"] == {"N": "99"}
    assert sink.counts.written == 100


async def test_writes_of_a_key_in_flight_wait_and_then_collapse(sink, dynamo):
    """The first put is on its way; the three behind it are one request, and a delete among them counts like a put."""
    first = sink.submit(puts("hot"), always)
    await asyncio.sleep(0.001)
    later = [sink.submit([(0, effect)], always) for effect in (Put({"pk": "hot"}), Delete({"pk": "hot"}))]
    later.append(sink.submit(puts("hot", n=3), always))
    for future in (first, *later):
        assert await future == {}
    assert dynamo.requests == [["hot"], ["hot"]]
    assert dynamo.items[TABLE, "hot"]["n"] == {"N": "3"}


async def test_one_number_in_two_spellings_is_never_twice_in_a_request(sink, dynamo, client):
    """DynamoDB would refuse the whole request."""
    assert await sink.submit(puts(1, Decimal("1.0"), 1.0), always) == {}
    assert dynamo.requests == [["1.0"]]


@pytest.mark.parametrize("seed", range(30))
async def test_writes_to_one_key_take_effect_in_order_whatever_happens(dynamo, client, seed, native):
    """Few keys, many submitters, random latency, throttling, outages and unprocessed items: no write is ever overtaken."""
    chance = random.Random(seed)
    dynamo.latency_s = lambda: chance.expovariate(100)
    for _ in range(40):
        trouble = chance.choice([None, None, Throttled("t"), Unavailable("u"), "some"])
        if trouble == "some":
            dynamo.script.append(lambda keys: [key for key in keys if chance.random() < 0.5])
        elif trouble is not None:
            dynamo.script.append(trouble)
        else:
            dynamo.script.append(lambda keys: [])
    last: dict[str, int] = {}
    futures = []
    async with running(dynamo, client, native, depth=4, unit=chance.random) as sink:
        for number in range(0, 600, 10):
            keys = [f"k{chance.randrange(40)}" for _ in range(10)]
            last.update({key: number + place for place, key in enumerate(keys)})
            writes = [(place, Put({"pk": key, "n": number + place})) for place, key in enumerate(keys)]
            futures.append(sink.submit(writes, always))
            await asyncio.sleep(chance.expovariate(200))
        for future in futures:
            assert await future == {}
    assert {key: int(item["n"]["N"]) for (_, key), item in dynamo.items.items()} == last
    for wanted in last:
        effects = [int(item["n"]["N"]) for key, item in dynamo.applied if key == wanted]
        assert effects == sorted(effects)
