"""A whole run against a stream that refuses, breaks off and takes its time."""

import asyncio
import itertools
from collections import defaultdict
from random import Random

import pytest

from headrace.errors import NotFound, Throttled, Unavailable
from headrace_producer.pace import Pace
from headrace_producer.put import BACKLOG, Placed, Production
from headrace_producer.workload import Shape, drafts

pytestmark = pytest.mark.looptime


class FakeStream:
    """Numbers what it takes. `refuse` is the chance of a record, `fail` that of a call, to be turned down."""

    def __init__(self, seed=0, *, refuse=0.0, fail=0.0, latency_s=0.02):
        self.chance = Random(seed)
        self.refuse, self.fail, self.latency_s = refuse, fail, latency_s
        self.numbers = itertools.count(10**20)
        self.applied = []
        self.keys_in_flight = set()
        self.calls = 0

    async def put(self, batch):
        self.calls += 1
        keys = {draft.key for draft in batch}
        assert len(keys) == len(batch) <= 500
        assert not keys & self.keys_in_flight
        self.keys_in_flight |= keys
        try:
            await asyncio.sleep(self.latency_s * self.chance.random())
            if self.chance.random() < self.fail:
                raise Throttled("slow down")
            answers = [self._answer(draft) for draft in batch]
            if self.chance.random() < self.fail:
                raise Unavailable("applied, and the answer was lost")
            return answers
        finally:
            self.keys_in_flight -= keys

    def _answer(self, draft):
        if self.chance.random() < self.refuse:
            return self.chance.choice(["ProvisionedThroughputExceededException", "InternalFailure"])
        self.applied.append((draft.key, draft.n))
        return Placed("shard-0", str(next(self.numbers)))


class FakeLedger:
    def __init__(self):
        self.lines = []

    def record(self, acknowledged):
        self.lines += acknowledged


def production(stream, ledger, pace, **shape):
    source = drafts(Shape("iot", **{"keys": 20, **shape}))
    return Production(source, stream, ledger, pace=pace, chance=Random(1).random)


def counts_by_key(pairs):
    counts = defaultdict(list)
    for key, n in pairs:
        counts[key].append(n)
    return counts


@pytest.mark.parametrize("seed", range(5))
async def test_partial_failures_keep_the_order_of_each_key(seed):
    """A third of the records is refused each time; the stream's order of each key is still the order of production."""
    stream, ledger = FakeStream(seed, refuse=0.3), FakeLedger()
    await production(stream, ledger, Pace(2000, 600), seed=seed, skew=1.0).run()
    in_stream_order = sorted(ledger.lines, key=lambda line: int(line[1].sequence_text))
    counts = counts_by_key((draft.key, draft.n) for draft, _ in in_stream_order)
    assert sum(map(len, counts.values())) == 600
    assert all(ns == list(range(1, len(ns) + 1)) for ns in counts.values())


async def test_the_ledger_is_exactly_what_the_stream_acknowledged():
    """No record more, none less, none twice."""
    stream, ledger = FakeStream(3, refuse=0.3), FakeLedger()
    run = production(stream, ledger, Pace(None, 500), poison_rate=0.1)
    await run.run()
    assert [(draft.key, draft.n) for draft, _ in ledger.lines] == stream.applied
    assert run.tally.records == len(stream.applied) == 500
    assert run.tally.size == sum(len(draft.data) for draft, _ in ledger.lines)
    assert run.tally.poison == sum(draft.poison for draft, _ in ledger.lines) > 0


@pytest.mark.parametrize("seed", range(5))
async def test_a_call_that_broke_off_repeats_records_and_overtakes_none(seed):
    """The stream may hold n twice in a row; it never holds n + 1 before n."""
    stream, ledger = FakeStream(seed, refuse=0.1, fail=0.2), FakeLedger()
    run = production(stream, ledger, Pace(2000, 400), seed=seed)
    await run.run()
    assert run.tally.records == 400
    assert all(ns == sorted(ns) for ns in counts_by_key(stream.applied).values())
    assert {(draft.key, draft.n) for draft, _ in ledger.lines} == set(stream.applied)


async def test_the_rate_is_kept():
    """2,000 records/s for 10 s take 10 s and the last answers."""
    run = production(FakeStream(), FakeLedger(), Pace(2000, None, 10), keys=1000)
    await run.run()
    assert run.tally.records == 20_000
    assert run.tally.elapsed_s == pytest.approx(10, abs=0.2)


async def test_a_slow_stream_bounds_what_is_made():
    """The backlog fills, and making waits for it."""
    stream, made = FakeStream(latency_s=1e6), itertools.count()
    source = ((next(made) and None) or draft for draft in drafts(Shape("iot", keys=10)))
    run = Production(source, stream, FakeLedger(), pace=Pace(None), chance=Random(1).random)
    async with asyncio.timeout(60):
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(run.run(), name="run")
            await asyncio.sleep(5)
            assert next(made) <= BACKLOG + 10 + 1
            running.cancel()


async def test_a_stop_starts_no_call_and_counts_those_in_flight():
    """What the stream took before the end is in the ledger."""
    stream, ledger = FakeStream(latency_s=0.5), FakeLedger()
    run = production(stream, ledger, Pace(1000), keys=5000)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run.run(), name="run")
        await asyncio.sleep(3)
        run.stop()
        calls = stream.calls
    assert stream.calls == calls
    assert [(draft.key, draft.n) for draft, _ in ledger.lines] == stream.applied
    assert run.tally.elapsed_s < 3.6


async def test_a_stop_does_not_wait_for_a_backoff():
    """Refused for good: without the stop it would go on for ever."""
    run = production(FakeStream(refuse=1.0), FakeLedger(), Pace(1000))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run.run(), name="run")
        await asyncio.sleep(60)
        run.stop()
    assert run.tally.records == 0
    assert run.tally.elapsed_s < 60.1


async def test_refused_calls_are_not_hammered():
    """In a minute of throttling a sender asks tens of times, not thousands."""
    stream = FakeStream(fail=1.0)
    run = production(stream, FakeLedger(), Pace(1000))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run.run(), name="run")
        await asyncio.sleep(60)
        run.stop()
    assert 8 < stream.calls < 8 * 60


class LimitedStream(FakeStream):
    """Takes so many records a second in each shard, by their keys' last digits, and refuses the rest."""

    def __init__(self, shards, each, **options):
        super().__init__(**options)
        self.shards, self.each = shards, each
        self.taken = defaultdict(int)

    def _answer(self, draft):
        place = (int(draft.key[-6:]) % self.shards, int(asyncio.get_running_loop().time()))
        if self.taken[place] == self.each:
            return "ProvisionedThroughputExceededException"
        self.taken[place] += 1
        return super()._answer(draft)


@pytest.mark.parametrize(("shards", "each", "seconds"), [(10, 1000, 4), (1, 1000, 30)])
async def test_as_fast_as_the_stream_takes_them_is_close_to_its_limits(shards, each, seconds):
    """What is refused costs a wait that fits: neither ever longer ones, nor calls that are nearly all refused."""
    stream = LimitedStream(shards, each)
    run = production(stream, FakeLedger(), Pace(None, None, seconds), keys=20_000)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run.run(), name="run")
        await asyncio.sleep(seconds)
        run.stop()
    assert run.tally.records > 0.85 * shards * each * seconds
    assert run.tally.retries < 8 * run.tally.records


async def test_while_two_calls_are_under_way_a_third_waits_until_it_is_full():
    """A call costs as much as 50 records: small ones would add up."""
    stream = FakeStream(latency_s=2.0)
    run = production(stream, FakeLedger(), Pace(2000, 10_000), keys=5000)
    await run.run()
    assert run.tally.records == 10_000
    assert stream.calls < 35


async def test_two_calls_that_hang_do_not_hold_up_full_ones():
    """Others go on without them."""

    class HalfDeaf(FakeStream):
        async def put(self, batch):
            if self.calls < 2:
                self.calls += 1
                await asyncio.sleep(1e6)
            return await super().put(batch)

    run = production(HalfDeaf(), FakeLedger(), Pace(2000), keys=5000)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run.run(), name="run")
        await asyncio.sleep(10)
        assert run.tally.records > 15_000
        running.cancel()


async def test_what_trying_again_does_not_mend_ends_the_run():
    """The stream was deleted: the error itself comes out, not a group of them."""

    class GoneStream(FakeStream):
        async def put(self, batch):
            raise NotFound("no such stream")

    with pytest.raises(NotFound):
        await production(GoneStream(), FakeLedger(), Pace(1000)).run()


async def test_a_record_counts_only_once_it_is_in_the_ledger():
    """A full disk ends the run; what could not be noted was not counted."""

    class FullDisk(FakeLedger):
        def record(self, acknowledged):
            raise OSError(28, "No space left on device")

    run = production(FakeStream(), FullDisk(), Pace(1000))
    with pytest.raises(OSError, match="No space"):
        await run.run()
    assert run.tally.records == 0
