"""Keys that are parked: later records follow the buried one into the dead letters, in order, until the key is released."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace

import pytest
from flow.fleet import FAST_RETRY, RULES, fleet, put_item

from headrace.core import parked_keys
from headrace.core.batching import BatchRules
from headrace.core.filters import compile_filters
from headrace.flow.workplace import LaneRules, ShardRules
from headrace.model import Checkpoint, Record, ShardId
from headrace.operations import Condition, Put
from headrace.ports import BatchHandler

pytestmark = pytest.mark.looptime

PARKING = replace(RULES, parks_keys=True)


class Ways:
    """The same handler in each of the ways there are to call one; `poison` numbers fail."""

    def __init__(self, *poison: int):
        self.poison = set(poison)

    def plain(self, record: Record):
        if int(record.data) in self.poison:
            raise ValueError("bad")
        return put_item(record)

    async def waiting(self, record: Record):
        return self.plain(record)

    async def batch(self, records, _):
        return [self.plain(record) for record in records]

    def start(self, f, way, name="w", rules=PARKING):
        match way:
            case "plain":
                return f.start(name, self.plain, shard=rules)
            case "async":
                return f.start(name, self.waiting, is_async=True, shard=rules)
            case "batch":
                return f.start(name, handle_batch=BatchHandler("test", self.batch), shard=rules)
            case _:
                lanes = replace(rules, lanes=LaneRules(count=3), batch=BatchRules(7))
                return f.start(name, handle_batch=BatchHandler("test", self.batch), shard=lanes)


ways = pytest.mark.parametrize("way", ["plain", "async", "batch", "lanes"])


def letters(f, key=None):
    found = [letter for letter in f.letters.letters if key in {None, letter.record.partition_key}]
    return [(int(letter.record.data), letter.reason) for letter in found]


def row(f):
    (found,) = [row for key, row in f.table.rows.items() if key.pk.startswith("P#")]
    return parked_keys.parked_key(found)


def all_done(f):
    return f.all_written() and f.last_checkpoints_reached()


@ways
async def test_later_records_of_a_buried_record_s_key_follow_it_in_order(way):
    """And those before it, and other keys, are written as ever."""
    async with fleet() as f:
        f.put(100)
        Ways(33).start(f, way)
        await f.until(lambda: all_done(f))

        expected = [(33, "RetryAttemptsExhausted"), *((n, "KeyParked") for n in range(43, 100, 10))]
        assert letters(f) == expected
        assert [n for n in f.written if n % 10 == 3] == [3, 13, 23]
        assert sorted(set(f.written)) == sorted(set(range(100)) - {n for n, _ in expected})
        last = Checkpoint.of(f.letters.letters[-1].record)
        assert (row(f).last, row(f).sure) == (last, last)


@ways
async def test_a_key_stays_parked_for_the_next_owner_and_in_a_child_shard(way):
    """It is the key that is parked, whoever reads it and wherever it moves."""
    handler = Ways(33)
    async with fleet() as f:
        f.put(40)
        handler.start(f, way)
        await f.until(lambda: all_done(f))
        await f.kill("w")
        f.stream.split(ShardId("shardId-000000000000"))
        f.put(40)
        handler.start(f, way, "next")
        await f.until(lambda: all_done(f))

        assert [n for n, _ in letters(f)] == [33, 43, 53, 63, 73]


@ways
async def test_a_released_key_goes_on_with_its_next_record(way):
    """As soon as the row is gone."""
    handler = Ways(3)
    async with fleet() as f:
        f.put(20)
        handler.start(f, way)
        await f.until(lambda: all_done(f))
        assert [n for n, _ in letters(f)] == [3, 13]
        await f.table.apply(parked_keys.release("stream", row(f)))
        f.put(20)
        await f.until(lambda: all_done(f))

        assert [n for n, _ in letters(f)] == [3, 13]
        assert [n for n in f.written if n % 10 == 3] == [23, 33]


@ways
async def test_a_release_that_comes_too_late_is_refused(way):
    """Another letter followed: the key stays parked until it was delivered as well."""
    handler = Ways(3)
    async with fleet() as f:
        f.put(20)
        handler.start(f, way)
        await f.until(lambda: all_done(f))
        seen = row(f)
        f.put(10)
        await f.until(lambda: all_done(f))
        await f.table.apply(parked_keys.release("stream", seen))
        f.put(10)
        await f.until(lambda: all_done(f))

        assert [n for n, _ in letters(f)] == [3, 13, 23, 33]


@ways
async def test_a_write_that_is_refused_parks_its_key_as_well(way):
    """For what comes later: what was on its way already may be written."""
    async with fleet() as f:
        f.sink._refuses = lambda effect: "no" if isinstance(effect, Put) and effect.item["n"] == 3 else None
        f.put(10)
        Ways().start(f, way)
        await f.until(lambda: all_done(f))
        f.put(20)
        await f.until(lambda: all_done(f))

        assert letters(f) == [(3, "WriteRefused"), (13, "KeyParked"), (23, "KeyParked")]


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_what_was_handled_behind_a_refused_write_of_its_key_follows_it_and_other_keys_are_written(kind):
    """Mode `transactional`: 3 is refused while 13 waits for its transaction, and the call with 23 is under way."""
    refused = Condition("attribute_exists(nope)")

    def handle(record):
        number = int(record.data)
        return Put({"pk": str(number), "n": number}, condition=refused if number == 3 else None)

    async def handle_later(record):
        await asyncio.sleep(0.05)
        return handle(record)

    async with fleet() as f:
        f.put(40)
        rules = replace(PARKING, batch=BatchRules(30))
        how = {"handle": handle_later, "is_async": True} if kind == "async" else {"handle": handle}
        f.start(shard=rules, transactional=True, **how)
        await f.until(f.last_checkpoints_reached)

        assert letters(f) == [(3, "WriteRefused"), (13, "KeyParked"), (23, "KeyParked"), (33, "KeyParked")]
        assert {item["n"] for item in f.sink.items.values()} == {n for n in range(40) if n % 10 != 3}
        assert row(f).is_sure


@ways
async def test_what_a_filter_could_not_read_parks_no_key(way):
    """It is no state of the key."""
    filters = compile_filters(('{"data": {"n": [{"exists": true}]}}', '{"partitionKey": ["k1"]}'), "dead_letter")
    async with fleet() as f:
        f.stream.put("k0", b"\xff1")
        f.put(10)
        Ways().start(f, way, rules=replace(PARKING, filters=filters))
        await f.until(lambda: f.letters.letters and f.last_checkpoints_reached())

        assert {letter.reason for letter in f.letters.letters} == {"NotJson"}
        assert [key for key in f.table.rows if key.pk.startswith("P#")] == []


@ways
async def test_without_the_setting_a_key_goes_on(way):
    """The event source mapping's way."""
    async with fleet() as f:
        f.put(40)
        Ways(3).start(f, way, rules=ShardRules(retry=FAST_RETRY))
        await f.until(lambda: all_done(f))

        assert letters(f) == [(3, "RetryAttemptsExhausted")]
        orders = defaultdict(list)
        for n in f.written:
            orders[n % 10].append(n)
        assert orders[3] == [13, 23, 33]
