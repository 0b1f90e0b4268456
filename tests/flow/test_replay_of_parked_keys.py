"""Parked keys and a shard that is read again: what a replay reads is written, or among the letters; nothing is passed over."""

from __future__ import annotations

import asyncio

import pytest
from flow.fleet import Fleet, fleet, put_item
from flow.test_operators import sought
from flow.test_parked_keys import PARKING, Ways, letters, row, ways

from headrace.core.letter_selection import Selection
from headrace.flow.redrive.parts import RedrivePorts, RedriveRules, Result
from headrace.flow.redrive.passes import Redrive
from headrace.flow.redrive.redelivery import Redelivery
from headrace.flow.redrive.writing import ThroughSink
from headrace.model import AtSequence, TrimHorizon
from headrace.ports import Handler

pytestmark = pytest.mark.looptime


async def redrive(f: Fleet) -> Result:
    ports = RedrivePorts("stream", "stream", f.letters, f.table, f.clock, f.chance.random)
    redelivery = Redelivery(Handler("mended", put_item), ThroughSink(f.sink), f.clock, lambda: True)
    return await Redrive(ports, redelivery.deliver, Selection(), RedriveRules(), asyncio.Event()).run()


def in_table(f: Fleet) -> list[int]:
    return sorted(item["n"] for item in f.sink.items.values())


def number_of(f: Fleet, n: int) -> int:
    (log,) = f.stream._logs.values()
    return next(record.sequence_number for record in log.records if int(record.data) == n)


async def replayed(f: Fleet, to) -> None:
    """Into an emptied table."""
    f.sink.items.clear()
    f.sink.written.clear()
    (shard,) = f.leases()
    await sought(f, shard, to)
    await f.until(f.last_checkpoints_reached)


@pytest.mark.parametrize("way", ["plain", "async", "batch", "lanes", "transactional"])
async def test_records_of_before_the_parked_one_follow_it_and_a_redrive_writes_them_in_order(way):
    """Key k3 is parked at 23: 3 and 13 had been written, and have no letter."""
    handler = Ways(23)
    async with fleet() as f:
        f.put(40)
        if way == "transactional":
            f.start("w", handler.plain, shard=PARKING, transactional=True)
        else:
            handler.start(f, way)
        await f.until(f.last_checkpoints_reached)
        assert [n for n, _ in letters(f)] == [23, 33]
        await replayed(f, TrimHorizon())

        assert sorted(n for n, _ in letters(f)) == [3, 13, 23, 33]
        assert in_table(f) == [n for n in range(40) if n % 10 != 3]
        f.sink.written.clear()
        result = await redrive(f)
        assert (result.redriven, result.released, result.still_parked) == (4, 1, 0)
        assert f.written == [3, 13, 23, 33]


@ways
async def test_what_was_redriven_before_is_read_again_although_its_key_still_is_parked(way):
    """The letter of 13 is gone, that of 23 failed again; both are read again, and 33 was never read before."""
    handler = Ways(13, 23)
    async with fleet() as f:
        f.put(30)
        handler.start(f, way)
        await f.until(f.last_checkpoints_reached)
        await f.letters.remove([letter for letter in f.letters.letters if int(letter.record.data) == 13])
        f.put(10)
        await replayed(f, AtSequence(number_of(f, 10)))

        assert sorted(n for n, _ in letters(f, "k3")) == [13, 23, 33]
        assert (await redrive(f)).released == 1
        assert in_table(f) == list(range(10, 40))


@ways
async def test_a_redrive_leaves_a_parked_key_alone_until_the_replay_is_past_it(way):
    """What it wrote and removed would be overtaken by what the replay writes of before."""
    async with fleet() as f:
        f.put(40)
        Ways(23).start(f, way)
        await f.until(f.last_checkpoints_reached)
        await f.stop("w")
        f.sink.items.clear()
        (shard,) = f.leases()
        await sought(f, shard, TrimHorizon())
        result = await redrive(f)
        assert (result.redriven, result.kept_back, result.still_parked) == (0, 2, 1)

        Ways().start(f, way)
        await f.until(f.last_checkpoints_reached)
        assert row(f).is_sure
        assert (await redrive(f)).released == 1
        assert in_table(f) == list(range(40))


@ways
async def test_a_key_whose_records_are_not_read_again_is_released_as_ever(way):
    """The replay begins behind the last of them: the checkpoint says that it will not meet them."""
    async with fleet() as f:
        f.put(30)
        Ways(23).start(f, way)
        await f.until(f.last_checkpoints_reached)
        await replayed(f, AtSequence(number_of(f, 25)))

        result = await redrive(f)
        assert (result.redriven, result.released, result.still_parked) == (1, 1, 0)
        assert in_table(f) == [23, *range(25, 30)]
