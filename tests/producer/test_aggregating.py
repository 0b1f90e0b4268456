"""Aggregates in a stream that is split and merged under way."""

import itertools
from collections import defaultdict
from random import Random

import pytest

from headrace.core.aggregates import Expansion, is_aggregate
from headrace.errors import Denied, SettingsError, Throttled
from headrace.model import TRIM_HORIZON, Lease, Record, Shard, ShardId
from headrace_producer.aggregates import hash_of
from headrace_producer.aggregating import NOT_SENT, STRAYED, AggregatingWriter
from headrace_producer.outbox import MAX_AGGREGATED, MAX_RECORDS, CallRules
from headrace_producer.pace import Pace
from headrace_producer.put import Placed, Production
from headrace_producer.workload import Draft, Shape, drafts

HALF = 2**127
HIGHEST = 2**128 - 1
MOST = 4096


class FakeShards:
    """Takes entries where the hash of their key belongs, and keeps them by shard. Some are refused."""

    def __init__(self, seed=0, *, refuse=0.0):
        self.chance = Random(seed)
        self.refuse = refuse
        self.listed = [Shard(ShardId("s0"), (), 0, HALF - 1), Shard(ShardId("s1"), (), HALF, HIGHEST)]
        self.open = list(self.listed)
        self.logs = defaultdict(list)
        self.numbers = itertools.count(10**20)
        self.listings = self.calls = 0
        self.reshards = {}
        """What to do before the call with this number."""

    async def list_shards(self):
        self.listings += 1
        return tuple(self.listed)

    async def put_entries(self, entries):
        self.calls += 1
        self.reshards.pop(self.calls, lambda: None)()
        assert 1 <= len(entries) <= MAX_RECORDS
        return [self._answer(data, key) for data, key in entries]

    def _answer(self, data, key):
        if self.chance.random() < self.refuse:
            return "ProvisionedThroughputExceededException"
        shard = self.shard_of(key)
        number = next(self.numbers)
        self.logs[shard.shard_id].append(Record(data, key, number, 1.0, shard.shard_id))
        return Placed(shard.shard_id, str(number))

    def shard_of(self, key):
        return next(shard for shard in self.open if shard.first_hash_key <= hash_of(key) <= shard.last_hash_key)

    def split(self):
        """Of every open shard, at an uneven place."""
        for parent in list(self.open):
            edge = parent.first_hash_key + (parent.last_hash_key - parent.first_hash_key) // 3
            self._replace((parent,), (parent.first_hash_key, edge), (edge + 1, parent.last_hash_key))

    def merge(self):
        """Of the first two."""
        first, second = sorted(self.open, key=lambda shard: shard.first_hash_key)[:2]
        self._replace((first, second), (first.first_hash_key, second.last_hash_key))

    def _replace(self, parents, *ranges):
        names = tuple(parent.shard_id for parent in parents)
        children = [
            Shard(ShardId(f"s{len(self.listed) + place}"), names, *limits) for place, limits in enumerate(ranges)
        ]
        self.listed += children
        self.open = [shard for shard in self.open if shard not in parents] + children

    def read(self):
        """What consumers get of it, parents before their children: each shard's records, taken apart."""
        for shard in self.listed:
            lease = Lease(
                shard.shard_id, 1, TRIM_HORIZON, first_hash_key=shard.first_hash_key, last_hash_key=shard.last_hash_key
            )
            yield from Expansion(lease).of(self.logs[shard.shard_id])


class FakeLedger:
    def __init__(self):
        self.lines = []

    def record(self, acknowledged):
        self.lines += acknowledged


async def writer_on(stream, most=MOST):
    writer = AggregatingWriter(stream, stream.list_shards, most)
    await writer.check()
    return writer


def one_each(*names):
    return [Draft(name, 1, b"payload of " + name.encode(), poison=False) for name in names]


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(5))
async def test_consumers_get_what_the_ledger_says_in_order_through_splits_and_merges(seed):
    """Each record once, at the place that was noted; also what was dropped in the wrong shard and had to be sent again."""
    stream, ledger = FakeShards(seed, refuse=0.2), FakeLedger()
    stream.reshards = {4: stream.split, 9: stream.split, 15: stream.merge, 22: stream.split}
    rules = CallRules(MAX_AGGREGATED, run_bytes=MOST)
    source = drafts(Shape("iot", seed=seed, keys=60, skew=0.8))
    pace = Pace(2000, 3000)
    writer = await writer_on(stream)
    run = Production(source, writer, ledger, pace=pace, chance=Random(seed).random, rules=rules)
    await run.run()
    assert not stream.reshards
    read = [
        (one.shard_id, one.sequence_number, one.sub_sequence_number, one.partition_key, one.data)
        for one in stream.read()
    ]
    noted = [(p.shard, int(p.sequence_text), p.sub, draft.key, draft.data) for draft, p in ledger.lines]
    assert sorted(read) == sorted(noted)
    assert run.tally.records == len(noted) == 3000
    order = defaultdict(list)
    for *_, key, data in read:
        order[key].append(int(data.split(b'"n":')[1].split(b",")[0]))
    assert all(ns == list(range(1, len(ns) + 1)) for ns in order.values())
    assert sum(is_aggregate(one) for log in stream.logs.values() for one in log) > 100


async def test_records_of_an_aggregate_in_the_wrong_shard_are_refused_and_the_shards_are_listed_anew():
    """Those that a consumer of that shard keeps are placed; the next call puts the others where they belong."""
    stream = FakeShards()
    writer = await writer_on(stream)
    stream.split()
    names = [name for name in map(str, range(100)) if hash_of(name) < HALF]
    batch = one_each(*names)
    answers = await writer.put(batch)
    (aggregate,) = itertools.chain(*stream.logs.values())
    kept = {one.partition_key for one in stream.read()}
    assert [isinstance(answer, Placed) for answer in answers] == [name in kept for name in names]
    assert 0 < len(kept) < len(names)
    assert {answer for answer in answers if not isinstance(answer, Placed)} == {STRAYED}
    assert stream.listings == 2

    again = [draft for draft, answer in zip(batch, answers, strict=True) if answer == STRAYED]
    assert all(isinstance(answer, Placed) for answer in await writer.put(again))
    assert sorted(one.partition_key for one in stream.read()) == sorted(names)
    assert stream.listings == 2
    assert is_aggregate(aggregate)


async def test_shards_that_cannot_be_listed_now_cost_a_repeat_and_nothing_else():
    """The answers of the call are not lost over it: what is placed for certain stays placed."""
    stream = FakeShards()
    writer = await writer_on(stream)
    low = [name for name in map(str, range(40)) if hash_of(name) < HALF]
    high = [name for name in map(str, range(40)) if hash_of(name) >= HALF]
    stream.open = [Shard(ShardId("new"), (ShardId("s0"),), 0, HALF - 1), stream.listed[1]]

    async def busy():
        raise Throttled("slow down")

    writer._list_shards = busy
    answers = await writer.put(one_each(*low, *high))
    assert answers[: len(low)] == [STRAYED] * len(low)
    assert {answer.shard for answer in answers[len(low) :]} == {"s1"}


async def test_a_refused_aggregate_refuses_each_of_its_records():
    """With the code that the stream gave."""
    writer = await writer_on(FakeShards(refuse=1.0))
    assert await writer.put(one_each("a", "b")) == ["ProvisionedThroughputExceededException"] * 2


async def test_a_record_alone_is_a_plain_record_wherever_it_went():
    """The stream itself looked at its key."""
    stream = FakeShards()
    writer = await writer_on(stream)
    stream.split()
    (answer,) = await writer.put(one_each("a"))
    assert answer.sub == -1
    assert answer.shard == stream.shard_of("a").shard_id
    assert stream.listings == 1


async def test_what_has_no_room_in_a_call_is_for_the_next():
    """More aggregates than a call takes: the first 500 go."""
    stream = FakeShards()
    writer = await writer_on(stream, 1024)
    batch = [Draft(str(number), 1, bytes(900), poison=False) for number in range(600)]
    answers = await writer.put(batch)
    assert stream.calls == 1
    assert answers.count(NOT_SENT) == 100


async def test_a_stream_whose_shards_may_not_be_listed_is_refused_by_the_name_of_the_option():
    """Before anything is put."""

    async def denied():
        raise Denied("kinesis ListShards: AccessDeniedException")

    with pytest.raises(SettingsError, match=r"--aggregate.*AccessDenied.*kinesis:ListShards"):
        await AggregatingWriter(FakeShards(), denied, MOST).check()
