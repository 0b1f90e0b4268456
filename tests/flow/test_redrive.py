"""Redrives over ports in memory, in virtual time: order, failures, stops, rates, and parked keys beside a live worker."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from flow.fleet import RULES, fleet, put_item

from headrace.core.letter_selection import Selection
from headrace.core.redrive_turn import SILENCE_S
from headrace.errors import LeaseLost, NotCalled, Reject, Throttled
from headrace.flow.redrive.parts import RedrivePorts, RedriveRules, Watch
from headrace.flow.redrive.passes import Redrive
from headrace.flow.redrive.redelivery import Redelivery
from headrace.flow.redrive.turn import RedriveBusy, own_turn
from headrace.flow.redrive.writing import ThroughSink
from headrace.model import DeadLetter, Record, ShardId, WorkerId
from headrace.operations import Put
from headrace.ports import BatchHandler, Handler
from headrace.tasks import TaskGroup
from headrace.testing.clock import LoopClock
from headrace.testing.dead_letters import MemoryDeadLetters
from headrace.testing.lease_table import MemoryLeaseTable
from headrace.testing.sink import MemorySink

pytestmark = pytest.mark.looptime

SHARD = ShardId("shardId-000000000000")


class Scene:
    """Letters, a sink, a handler that notes its calls, and redrives of them."""

    def __init__(self):
        self.clock = LoopClock()
        self.letters, self.table, self.sink = MemoryDeadLetters(), MemoryLeaseTable(), MemorySink()
        self.calls: list[Record] = []
        self.times: list[float] = []
        self.stop = asyncio.Event()
        self.broken: set[int] = set()
        self.chance = random.Random(1).random

    @property
    def ports(self):
        return RedrivePorts("stream", "stream", self.letters, self.table, self.clock, self.chance)

    def handle(self, record):
        self.calls.append(record)
        self.times.append(self.clock.now())
        if record.sequence_number in self.broken:
            raise ValueError("still bad")
        return Put({"pk": record.partition_key, "n": record.sequence_number})

    async def bury(self, count, keys=1, first=1):
        """Numbers from `first` on; the key is the number modulo `keys`."""
        await self.letters.bury([self.letter(n, f"k{n % keys}") for n in range(first, first + count)])

    def letter(self, n, key="k0"):
        record = Record(b"data", key, n, 1.5, SHARD, attempt=6)
        wall = self.clock.wall()
        return DeadLetter("stream", record, "RetryAttemptsExhausted", "E", "m", 6, wall, WorkerId("w"), 3)

    def redrive(self, handler=None, selection=None, watch=None, **rules):
        handler = handler or Handler("mended", self.handle)
        redelivery = Redelivery(handler, ThroughSink(self.sink), self.clock, lambda: True)
        rules = RedriveRules(**rules)
        return Redrive(self.ports, redelivery.deliver, selection or Selection(), rules, self.stop, watch)

    @property
    def left(self):
        return [letter.record.sequence_number for letter in self.letters.letters]

    @property
    def called(self):
        return [record.sequence_number for record in self.calls]


@pytest.fixture
async def scene():
    return Scene()


def counts(result):
    return result.redriven, result.failed, result.kept_back


async def test_letters_are_delivered_as_they_were_and_removed(scene):
    """Same shard, number and arrival; the first attempt."""
    await scene.bury(3)
    result = await scene.redrive().run()

    assert counts(result) == (3, 0, 0)
    assert scene.left == []
    first = scene.calls[0]
    assert (first.shard_id, first.sequence_number, first.arrival_s, first.attempt) == (SHARD, 1, 1.5, 1)
    assert scene.sink.items[("k0",)]["n"] == 3


async def test_each_key_goes_in_order_and_keys_side_by_side(scene):
    """A slow one holds up nobody else."""

    async def handle(record):
        await asyncio.sleep(10 if record.partition_key == "k0" else 0.1)
        return scene.handle(record)

    await scene.bury(30, keys=3)
    await scene.redrive(Handler("waiting", handle, is_async=True)).run()

    by_key = defaultdict(list)
    for record in scene.calls:
        by_key[record.partition_key].append(record.sequence_number)
    assert all(numbers == sorted(numbers) and len(numbers) == 10 for numbers in by_key.values())
    assert scene.called.index(29) < scene.called.index(6)


async def test_a_letter_that_fails_again_stays_with_what_became_of_it_and_holds_back_its_key(scene):
    """Attempts, reason and error are new; when and by whom it was buried is not."""
    scene.broken = {4}
    await scene.bury(9, keys=3)
    (before,) = [letter for letter in scene.letters.letters if letter.record.sequence_number == 4]
    result = await scene.redrive().run()

    assert counts(result) == (7, 1, 1)
    assert scene.left == [4, 7]
    after = scene.letters.letters[0]
    assert (after.error, after.message, after.attempts) == ("ValueError", "still bad", 7)
    assert (after.reason, after.handler, after.log[-1].error) == ("RetryAttemptsExhausted", "mended", "ValueError")
    assert (after.buried_at, after.worker, after.epoch) == (before.buried_at, before.worker, before.epoch)

    scene.broken = set()
    assert counts(await scene.redrive().run()) == (2, 0, 0)
    assert [n for n in scene.called if n % 3 == 1] == [1, 4, 4, 7]


async def test_what_is_behind_a_failed_letter_waits_also_where_one_pass_does_not_hold_all(scene):
    """Each reading takes few letters; the failed one is not tried twice."""
    scene.broken = {4}
    await scene.bury(30, keys=3)
    result = await scene.redrive(letter_bytes=8).run()

    assert counts(result) == (21, 1, 8)
    assert scene.called.count(4) == 1
    assert scene.called == sorted(scene.called)


async def test_passes_in_which_everything_fails_do_not_end_it(scene):
    """There may be better ones behind them."""
    scene.broken = set(range(1, 21))
    await scene.bury(25, keys=25)
    assert counts(await scene.redrive(letter_bytes=4).run()) == (5, 20, 0)


async def test_a_rejection_and_a_refused_write_say_so_in_the_letter(scene):
    """The reasons are the worker's own."""

    def handle(record):
        if record.sequence_number == 1:
            raise Reject("no such device")
        return Put({"no key": 1})

    await scene.bury(2, keys=2)
    await scene.redrive(Handler("bad", handle)).run()
    told = {letter.record.sequence_number: (letter.reason, letter.message) for letter in scene.letters.letters}
    assert told[1] == ("Rejected", "no such device")
    assert told[2][0] == "WriteRefused"


@pytest.mark.parametrize(
    ("answer", "redriven"),
    [
        (b"null", 1),
        (b'{"batchItemFailures": [{"itemIdentifier": "1"}]}', 0),
        (b'{"batchItemFailures": [{"itemIdentifier": "7"}]}', 0),
        (Put({"pk": "x"}), 1),
        ([], 1),
    ],
)
async def test_a_batch_handler_gets_a_batch_of_one_and_its_answer_counts(scene, answer, redriven):
    """Bytes are a Lambda handler's answer, effects are written."""
    batches = []

    async def call(records, context):
        batches.append((records, context.request_id))
        return answer

    await scene.bury(1)
    result = await scene.redrive(BatchHandler("lambda", call)).run()
    assert (result.redriven, result.failed) == (redriven, 1 - redriven)
    ((records, request_id),) = batches
    assert [record.sequence_number for record in records] == [1]
    if not redriven:
        assert scene.letters.letters[0].request_id == request_id
        assert not scene.letters.letters[0].is_function_error


async def test_a_handler_that_was_not_called_is_called_again(scene):
    """It is no failure of the record."""
    calls = iter([NotCalled("no process"), NotCalled("no process"), None])

    async def call(records, context):
        if (error := next(calls)) is not None:
            raise error

    await scene.bury(1)
    assert counts(await scene.redrive(BatchHandler("lambda", call)).run()) == (1, 0, 0)


async def test_a_rate_is_kept_by_all_keys_together(scene):
    """Records a second."""
    await scene.bury(50, keys=10)
    await scene.redrive(rate=20).run()
    assert scene.times[-1] - scene.times[0] == pytest.approx(49 / 20, abs=0.05)


async def test_a_limit_takes_the_oldest_records(scene):
    """The rest waits for another redrive, and is not counted as kept back."""
    await scene.bury(10, keys=3)
    assert counts(await scene.redrive(most=4).run()) == (4, 0, 0)
    assert sorted(scene.called) == [1, 2, 3, 4]


async def test_a_stop_ends_after_the_calls_under_way(scene):
    """What they did is kept."""

    async def handle(record):
        await asyncio.sleep(1)
        return scene.handle(record)

    await scene.bury(100, keys=4)
    asyncio.get_running_loop().call_later(2.5, scene.stop.set)
    result = await scene.redrive(Handler("waiting", handle, is_async=True)).run()
    assert (result.redriven, result.stopped) == (12, True)
    assert scene.left == list(range(13, 101))


async def test_a_bar_is_told_how_many_there_are_and_each_one(scene):
    """Callbacks for whoever shows it."""
    scene.broken = {2}
    await scene.bury(6, keys=6)
    found, done = [], []
    watch = Watch(found.append, lambda letter, ok: done.append((letter.record.sequence_number, ok)))
    await scene.redrive(watch=watch).run()
    assert found == [6]
    assert sorted(done) == [(n, n != 2) for n in range(1, 7)]


async def test_aws_that_throttles_is_waited_for(scene):
    """A letter that failed again is stored again."""
    scene.broken = {1}
    await scene.bury(1)
    scene.letters.fail_next(Throttled("no"), times=3)
    scene.sink.fail_next(3)
    assert counts(await scene.redrive().run()) == (0, 1, 0)
    assert scene.letters.letters[0].attempts == 7


@pytest.mark.parametrize("seed", range(15))
async def test_killed_anywhere_and_begun_again_it_ends_as_if_it_never_was(scene, seed):
    """Repeats are all it costs, and the last state of every key is right."""
    chance = random.Random(seed)

    async def handle(record):
        await asyncio.sleep(chance.random())
        return scene.handle(record)

    scene.sink._latency_s = chance.random
    await scene.bury(60, keys=5)
    for _ in range(4):
        async with TaskGroup() as tasks:
            running = tasks.create_task(scene.redrive(Handler("w", handle, is_async=True)).run(), name="redrive")
            await asyncio.sleep(chance.uniform(0, 8))
            running.cancel()
    result = await scene.redrive().run()

    assert result.failed == 0
    assert scene.left == []
    written = defaultdict(list)
    for effect in scene.sink.written:
        written[effect.item["pk"]].append(effect.item["n"])
    for key, numbers in written.items():
        assert sorted(set(numbers)) == [n for n in range(1, 61) if f"k{n % 5}" == key]
        assert numbers == sorted(numbers), "a repeat is of the letter that was under way"


# --- one at a time ----------------------------------------------------------------------------------------------------


async def test_two_redrives_of_one_name_are_still_two(scene):
    """Two shells in one container, before either has beaten."""
    async with own_turn(scene.ports, "worker", scene.stop):
        with pytest.raises(RedriveBusy):
            async with own_turn(scene.ports, "worker", scene.stop):
                pass


@pytest.mark.parametrize("kind", ["async", "batch"])
async def test_a_call_of_the_handler_ends_with_the_turn(scene, kind):
    """Another redrive may begin with the same letter then."""
    began, ended = [], []

    async def work(record):
        began.append(record.sequence_number)
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(scene.clock.now())

    async def batch(records, _):
        await work(records[0])

    handler = Handler("slow", work, is_async=True) if kind == "async" else BatchHandler("slow", batch)
    permitted_until = scene.clock.now() + 20
    redelivery = Redelivery(handler, ThroughSink(scene.sink), scene.clock, lambda: scene.clock.now() < permitted_until)
    with pytest.raises(LeaseLost):
        await redelivery.deliver(scene.letter(1), 1)

    assert began == [1]
    assert permitted_until <= ended[0] <= permitted_until + 1.5


async def test_a_second_redrive_is_refused_while_the_first_one_lives(scene):
    """Two at once would deliver the letters of one key in no order."""
    async with own_turn(scene.ports, "first", scene.stop):
        with pytest.raises(RedriveBusy, match="another redrive of stream is at work since"):
            async with own_turn(scene.ports, "second", scene.stop):
                pass
    async with own_turn(scene.ports, "third", scene.stop) as permit:
        assert permit()
    assert scene.table.rows == {}


async def test_the_turn_of_one_that_was_killed_is_taken_over_when_it_was_silent_for_long(scene):
    """And if it was only asleep, it calls no handler any more."""
    own, other = asyncio.Event(), []
    waits = []

    async def sleep_through():
        async with own_turn(scene.ports, "asleep", scene.stop) as permit:
            beats = [task for task in asyncio.all_tasks() if task.get_name() == "redrive-turn"]
            beats[0].cancel()
            await own.wait()
            other.append(permit())

    async with TaskGroup() as tasks:
        tasks.create_task(sleep_through(), name="asleep")
        await asyncio.sleep(0.1)
        started = scene.clock.now()
        async with own_turn(scene.ports, "next", scene.stop, waits.append) as permit:
            assert scene.clock.now() - started == pytest.approx(SILENCE_S, abs=0.5)
            assert permit()
            own.set()
            await asyncio.sleep(0.1)
    assert (waits, other) == ([SILENCE_S], [False])


async def test_without_the_turn_nothing_is_called(scene):
    """The permit is asked before each call."""
    await scene.bury(1)
    redelivery = Redelivery(Handler("mended", scene.handle), ThroughSink(scene.sink), scene.clock, lambda: False)
    with pytest.raises(LeaseLost):
        await Redrive(scene.ports, redelivery.deliver, Selection(), RedriveRules(), scene.stop).run()
    assert (scene.calls, scene.left) == ([], [1])


# --- parked keys ------------------------------------------------------------------------------------------------------

PARKING = replace(RULES, parks_keys=True)


def redrive_of(f, handle=put_item, stop=None, letters=None):
    ports = RedrivePorts("stream", "stream", letters or f.letters, f.table, f.clock, lambda: 0.5)
    redelivery = Redelivery(Handler("mended", handle), ThroughSink(f.sink), f.clock, lambda: True)
    return Redrive(ports, redelivery.deliver, Selection(), RedriveRules(), stop or asyncio.Event())


def parked_rows(f):
    return [row for key, row in f.table.rows.items() if key.pk.startswith("P#")]


async def test_a_redrive_beside_a_live_worker_releases_the_key_and_order_is_never_lost():
    """The worker goes on with the next record of the key by itself."""

    def handle(record):
        if record.data == b"3":
            raise ValueError("bad")
        return put_item(record)

    async with fleet() as f:
        f.put(40)
        f.start(handle=handle, shard=PARKING)
        await f.until(lambda: len(f.letters.letters) == 4 and f.last_checkpoints_reached())
        result = await redrive_of(f).run()
        assert (result.redriven, result.released, result.still_parked) == (4, 1, 0)

        f.put(20)
        await f.until(lambda: f.all_written() and f.last_checkpoints_reached())
        assert [n for n in f.written if n % 10 == 3] == list(range(3, 60, 10))
        assert f.letters.letters == []


async def test_a_key_that_fails_again_stays_parked():
    """And its letters stay in order."""

    def handle(record):
        if record.data == b"3":
            raise ValueError("bad")
        return put_item(record)

    async with fleet() as f:
        f.put(40)
        f.start(handle=handle, shard=PARKING)
        await f.until(lambda: len(f.letters.letters) == 4 and f.last_checkpoints_reached())
        result = await redrive_of(f, handle).run()
        assert (result.redriven, result.failed, result.kept_back, result.still_parked) == (0, 1, 3, 1)
        assert len(parked_rows(f)) == 1


async def test_a_redrive_that_died_before_it_released_is_finished_by_the_next_one():
    """The row stands, no letter does."""
    async with fleet() as f:
        f.put(10)
        f.start(handle=lambda record: (_ for _ in ()).throw(ValueError) if record.data == b"3" else put_item(record), shard=PARKING)  # fmt: skip
        await f.until(lambda: len(f.letters.letters) == 1 and f.last_checkpoints_reached())
        await f.letters.remove(f.letters.letters)
        result = await redrive_of(f).run()
        assert (result.redriven, result.released, parked_rows(f)) == (0, 1, [])


class SlowLetters(MemoryDeadLetters):
    """A destination where a burial is no single moment, and a reading takes its time."""

    def __init__(self, chance):
        super().__init__()
        self.chance = chance

    async def bury(self, letters):
        for letter in self.chance.sample(list(letters), len(letters)):
            await asyncio.sleep(self.chance.uniform(0, 0.03))
            await super().bury([letter])

    async def remove(self, letters):
        await asyncio.sleep(self.chance.uniform(0, 0.05))
        await super().remove(letters)

    async def read(self, stream=None, shard=None):
        for key in sorted(self._letters):
            await asyncio.sleep(self.chance.uniform(0, 0.01))
            if key in self._letters:
                yield self._letters[key]


class SlowTable(MemoryLeaseTable):
    """Rows of parked keys are written and read after a while."""

    def __init__(self, chance):
        super().__init__()
        self.chance = chance

    async def apply(self, request):
        await self.wait(request.key.pk)
        return await super().apply(request)

    async def query(self, pk, *, consistent=False):
        await self.wait(pk)
        return await super().query(pk, consistent=consistent)

    async def wait(self, pk):
        if pk.startswith("P#"):
            await asyncio.sleep(self.chance.uniform(0, 0.03))


class Storm:
    """A worker after the other, records all the time, and redrives that are killed and begun again beside them."""

    KEYS = 4

    def __init__(self, f, way, chance):
        self.f, self.way, self.chance = f, way, chance
        self.mended = False
        f.letters, f.table = SlowLetters(chance), SlowTable(chance)
        f.sink._latency_s = lambda: chance.uniform(0, 0.05)

    def handle(self, record):
        if not self.mended and int(record.data) % 23 == 0:
            raise Reject("bad")
        return put_item(record)

    async def redrive(self, record):
        await asyncio.sleep(self.chance.uniform(0, 0.1))
        return put_item(record)

    async def redrives(self):
        while True:
            async with TaskGroup() as tasks:
                running = tasks.create_task(self.one().run(), name="redrive")
                await asyncio.wait([running], timeout=self.chance.uniform(0, 4))
                running.cancel()
            await asyncio.sleep(self.chance.uniform(0, 0.5))

    def one(self):
        f = self.f
        ports = RedrivePorts("stream", "stream", f.letters, f.table, f.clock, self.chance.random)
        redelivery = Redelivery(
            Handler("mended", self.redrive, is_async=True), ThroughSink(f.sink), f.clock, lambda: True
        )
        return Redrive(ports, redelivery.deliver, Selection(), RedriveRules(), asyncio.Event())

    async def blow(self):
        async with TaskGroup() as tasks:
            redrives = tasks.create_task(self.redrives(), name="redrives")
            for turn in range(6):
                start_worker(self.f, self.way, f"w{turn}", self.handle)
                await self.f.until(self.reads, within_s=30)
                for _ in range(self.chance.randrange(1, 8)):
                    self.f.put(self.chance.randrange(1, 12), keys=self.KEYS)
                    await asyncio.sleep(self.chance.uniform(0, 0.6))
                await self.f.kill(f"w{turn}")
            redrives.cancel()
        self.mended = True
        start_worker(self.f, self.way, "last", self.handle)
        await self.f.until(self.f.last_checkpoints_reached, within_s=120)

    def reads(self):
        return any(lease.owner for lease in self.f.leases().values()) and len(self.f.states()) > 0


@pytest.mark.parametrize("seed", range(int(os.environ.get("SEEDS", "3"))))
@pytest.mark.parametrize("way", ["plain", "async", "lanes"])
async def test_workers_and_redrives_killed_at_random_keep_the_order_of_every_key(seed, way):
    """Repeats go back and then on, record by record; in the end each key has its last record, and nothing is left."""
    async with fleet(shards=1) as f:
        storm = Storm(f, way, random.Random(seed))
        await storm.blow()
        result = await storm.one().run()

        assert (result.failed, result.kept_back, f.letters.letters, parked_rows(f)) == (0, 0, [], [])
        for digit in range(storm.KEYS):
            numbers = [n for n in f.written if n % storm.KEYS == digit]
            assert numbers[-1] + storm.KEYS >= f.produced, numbers
            for before, after in pairwise([digit - storm.KEYS, *numbers]):
                assert after <= before + storm.KEYS, f"{after} after {before} in {numbers}"


def start_worker(f, way, name, handle):
    async def waiting(record):
        return handle(record)

    async def batch(records, _):
        return [handle(record) for record in records]

    match way:
        case "plain":
            f.start(name, handle, shard=PARKING)
        case "async":
            f.start(name, waiting, is_async=True, shard=PARKING)
        case _:
            f.start(name, handle_batch=BatchHandler("test", batch), shard=PARKING)
