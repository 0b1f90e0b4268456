"""What a test can script of the sink in memory. Time is virtual."""

import asyncio
import random

import pytest

from headrace.errors import LeaseLost
from headrace.operations import Put
from headrace.ports import Refusal
from headrace.testing.sink import RETRY_S, MemorySink

pytestmark = pytest.mark.looptime


def always() -> bool:
    return True


def put(pk: str, **others) -> list[tuple[int, Put]]:
    return [(0, Put({"pk": pk, **others}))]


async def test_nothing_is_there_before_the_latency_is_over():
    """Durable is when the future resolves, not when `submit` returns."""
    sink = MemorySink(latency_s=lambda: 2.0)
    future = sink.submit(put("a"), always)
    await asyncio.sleep(1.9)
    assert not sink.items
    assert await future == {}
    assert sink.items == {("a",): {"pk": "a"}}
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)


async def test_random_latency_never_lets_one_submission_overtake_another():
    """The order of the effects is the order of submission."""
    sink = MemorySink(latency_s=random.Random(3).random)
    futures = [sink.submit(put("a", n=number), always) for number in range(50)]
    await asyncio.wait(futures)
    assert [effect.item["n"] for effect in sink.written] == list(range(50))


async def test_scripted_throttling_delays_and_loses_nothing():
    """Three attempts fail, the fourth one writes."""
    sink = MemorySink()
    sink.fail_next(3)
    assert await sink.submit(put("a"), always) == {}
    assert asyncio.get_running_loop().time() == pytest.approx(3 * RETRY_S)


async def test_a_lease_lost_during_throttling_ends_the_retries():
    """As the real sink does."""
    held = True
    sink = MemorySink()
    sink.fail_next(10_000)
    future = sink.submit(put("a"), lambda: held)
    await asyncio.sleep(1)
    held = False
    with pytest.raises(LeaseLost):
        await future
    assert not sink.written


async def test_the_tests_own_rule_refuses_a_record():
    """Under its index, with the rule's words; the others are written."""
    sink = MemorySink(refuses=lambda effect: "too odd" if effect.item["n"] % 2 else None)
    writes = [(index, Put({"pk": str(index), "n": index})) for index in range(4)]
    assert await sink.submit(writes, always) == {1: Refusal("too odd"), 3: Refusal("too odd")}
    assert sorted(item["n"] for item in sink.items.values()) == [0, 2]
