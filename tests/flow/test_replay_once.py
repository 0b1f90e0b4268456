"""Mode `transactional` and a shard that is read again: each record counts once in it, whatever became of its letter before."""

from __future__ import annotations

import asyncio

import pytest
from flow.fleet import Fleet, fleet
from flow.test_operators import desk, sought
from flow.test_redrive_once import BAD, RULES, count, counted, redrive
from flow.test_replay_of_parked_keys import number_of

from headrace.core.batching import BatchRules
from headrace.flow.operate import shards
from headrace.flow.workplace import ShardRules
from headrace.model import SHARD_END, AtSequence, AtTimestamp, Checkpoint, TrimHorizon

pytestmark = pytest.mark.looptime

ALL = 10


def when(broken: list[int]):
    """Of a handler that cannot take some records; mended by clearing the list."""

    def handle(record):
        if int(record.data) in broken:
            raise ValueError("bad")
        return count(record)

    return handle


async def buried(f: Fleet, *bad: int) -> list[int]:
    """All but these count, and the checkpoint is at the end; what is returned mends the handler."""
    broken = list(bad)
    f.put(BAD + 1)
    await asyncio.sleep(1)
    f.put(ALL - BAD - 1)
    f.start(handle=when(broken), shard=RULES, transactional=True)
    await f.until(lambda: f.letters.letters and counted(f) == ALL - len(bad))
    await f.until(f.last_checkpoints_reached)
    return broken


async def read_again(f: Fleet, to) -> None:
    """Into an emptied table."""
    f.sink.items.clear()
    (shard,) = f.leases()
    await sought(f, shard, to)
    await f.until(lambda: f.leases()[shard].checkpoint.rank == 0)
    await f.until(f.last_checkpoints_reached)


@pytest.mark.parametrize("bad", [BAD, ALL - 1], ids=["in the middle", "the last one"])
async def test_a_record_whose_letter_was_redriven_before_counts_again_where_it_is_read_again(bad):
    """Its row tells of the reading before."""
    async with fleet() as f:
        broken = await buried(f, bad)
        assert (await redrive(f)).redriven == 1
        broken.clear()
        await read_again(f, TrimHorizon())
        assert counted(f) == ALL


async def test_a_letter_of_a_replay_is_redriven_though_an_earlier_one_of_the_record_was():
    """And once, however often."""
    async with fleet() as f:
        await buried(f, BAD)
        assert (await redrive(f)).redriven == 1
        await read_again(f, TrimHorizon())
        letters = list(f.letters.letters)
        assert [int(letter.record.data) for letter in letters] == [BAD]
        assert counted(f) == ALL - 1
        for _ in range(2):
            await f.letters.bury(letters)
            assert (await redrive(f)).redriven == 1
            assert f.letters.letters == []
            assert counted(f) == ALL


async def test_a_letter_of_before_is_not_written_beside_the_record_that_the_replay_wrote():
    """Mended, read again with success, and then redriven: the letter is gone, and nothing counts twice."""
    async with fleet() as f:
        broken = await buried(f, BAD)
        broken.clear()
        await read_again(f, TrimHorizon())
        assert counted(f) == ALL
        assert (await redrive(f)).redriven == 1
        assert counted(f) == ALL
        assert f.letters.letters == []


@pytest.mark.parametrize("to", ["trim", "record", "instant"])
async def test_a_letter_that_the_replay_has_not_come_to_is_kept_back(to):
    """Nobody knows yet whether it will be written or buried anew. `instant` lies before it, `record` is its own."""
    async with fleet() as f:
        await buried(f, BAD)
        f.sink.items.clear()
        (shard,) = f.leases()
        await shards.pause(desk(f), shard)
        (letter,) = f.letters.letters
        places = {
            "trim": TrimHorizon(),
            "record": AtSequence(number_of(f, BAD)),
            "instant": AtTimestamp(letter.record.arrival),
        }
        await sought(f, shard, places[to])
        result = await redrive(f)
        assert (result.redriven, result.failed, result.kept_back) == (0, 0, 1)
        assert f.letters.letters == [letter]
        assert not f.sink.items


async def test_a_letter_is_kept_back_while_the_replay_is_on_its_way_to_it():
    """It has begun, and stands before the record."""
    async with fleet() as f:
        broken = await buried(f, BAD)
        await f.stop("w")
        f.sink.items.clear()
        (shard,) = f.leases()
        await sought(f, shard, TrimHorizon())
        broken.append(1)
        stuck = ShardRules(batch=BatchRules(1))
        f.start("x", handle=when(broken), shard=stuck, transactional=True)
        await f.until(lambda: f.sink.items and counted(f) == 1)
        assert (await redrive(f)).kept_back == 1
        assert counted(f) == 1


@pytest.mark.parametrize("to", ["record", "instant", "trimmed"])
async def test_a_letter_of_before_the_place_is_redriven_as_ever(to):
    """The replay begins behind it; or it began with the oldest record, and this one had been trimmed by then."""
    async with fleet() as f:
        await buried(f, BAD)
        behind = number_of(f, BAD + 1)
        (log,) = f.stream._logs.values()
        arrival = next(record.arrival for record in log.records if record.sequence_number == behind)
        if to == "trimmed":
            del log.records[: BAD + 1]
        places = {"trimmed": TrimHorizon(), "record": AtSequence(behind), "instant": AtTimestamp(arrival)}
        await read_again(f, places[to])
        await f.until(lambda: f.sink.items and counted(f) == ALL - 1 - BAD)
        letters = list(f.letters.letters)
        for _ in range(2):
            await f.letters.bury(letters)
            assert (await redrive(f)).redriven == 1
            assert counted(f) == ALL - BAD


async def test_a_letter_of_a_record_that_the_replay_buries_anew_is_that_of_the_replay():
    """It is redriven once: the store has one letter of it, or two, of which the later one counts."""
    async with fleet() as f:
        await buried(f, BAD)
        (old,) = f.letters.letters
        await read_again(f, TrimHorizon())
        (new,) = f.letters.letters
        assert (old.replay, new.replay) == (0, f.leases()[new.record.shard_id].replay)
        assert new.replay > 0

        async def both(stream=None, shard=None):
            for letter in [old, *f.letters.letters]:
                yield letter

        f.letters.read = both
        await redrive(f)
        assert counted(f) == ALL


async def test_a_letter_that_the_replay_buries_while_a_redrive_is_at_work_is_not_removed_with_the_one_of_before():
    """The redrive has read that one, and finds the replay behind the record."""
    async with fleet() as f:
        await buried(f, BAD)
        read = f.letters.read

        async def read_and_linger(stream=None, shard=None):
            f.letters.read = read
            letters = [letter async for letter in read(stream, shard)]
            await read_again(f, TrimHorizon())
            assert [letter.replay for letter in (*letters, *f.letters.letters)] == [0, 2]
            for letter in letters:
                yield letter

        f.letters.read = read_and_linger
        assert (await redrive(f)).redriven == 1
        assert f.letters.letters == []
        assert counted(f) == ALL


async def test_letters_of_one_key_that_a_replay_passed_are_all_removed_after_one_more_reading():
    """Not one with each reading of the store."""
    async with fleet() as f:
        broken = list(range(40))
        f.put(40, keys=1)
        f.start(handle=when(broken), shard=RULES, transactional=True)
        await f.until(lambda: len(f.letters.letters) == 40)
        await f.until(f.last_checkpoints_reached)
        broken.clear()
        await read_again(f, TrimHorizon())
        read, readings = f.letters.read, []

        def counted_read(stream=None, shard=None):
            readings.append(len(f.letters.letters))
            return read(stream, shard)

        f.letters.read = counted_read
        assert (await redrive(f)).redriven == 40
        assert readings[:2] == [40, 40]
        assert len(readings) <= 3
        assert f.letters.letters == []
        assert counted(f) == 40


async def test_what_was_seen_for_one_letter_settles_none_that_was_read_before_it():
    """A letter of another key, in the same reading of the store: it is read once more first, as each is."""
    async with fleet() as f:
        broken = await buried(f, 1, BAD)
        broken.clear()
        await read_again(f, TrimHorizon())
        read, left = f.letters.read, []

        def counted_read(stream=None, shard=None):
            left.append(len(f.letters.letters))
            return read(stream, shard)

        f.letters.read = counted_read
        assert (await redrive(f)).redriven == 2
        assert left[:2] == [2, 2]
        assert counted(f) == ALL


@pytest.mark.parametrize("end", ["open", "ended"])
async def test_a_letter_is_redriven_where_the_replay_met_no_record_at_all(end):
    """The stream had dropped all of them. What arrives later in the shard changes nothing, and counts once as well."""
    async with fleet() as f:
        broken = await buried(f, BAD)
        await f.stop("w")
        f.sink.items.clear()
        (shard,) = f.leases()
        (log,) = f.stream._logs.values()
        del log.records[:]
        await sought(f, shard, TrimHorizon())
        if end == "ended":
            f.stream.split(shard)
        assert (await redrive(f)).kept_back == 1
        broken.clear()
        f.start("x", handle=when(broken), shard=RULES, transactional=True)
        await f.until(lambda: f.leases()[shard].done or f.leases()[shard].first_read)
        assert f.leases()[shard].done == (end == "ended")
        letters = list(f.letters.letters)
        assert (await redrive(f)).redriven == 1
        assert counted(f) == 1
        f.put(5)
        await f.until(f.last_checkpoints_reached)
        await f.letters.bury(letters)
        assert (await redrive(f)).redriven == 1
        assert counted(f) == 6


async def test_the_first_record_that_comes_to_a_replay_at_the_tip_is_told_before_it_is_handled(monkeypatch):
    """It comes while the row is told that there are none."""
    async with fleet() as f:
        await buried(f, BAD)
        await f.stop("w")
        (shard,) = f.leases()
        (log,) = f.stream._logs.values()
        del log.records[:]
        await sought(f, shard, TrimHorizon())
        apply = f.table.apply

        async def slow(request):
            if getattr(request, "assign", {}).get("first") == SHARD_END.encode():
                f.put(1)
                await asyncio.sleep(5)
            return await apply(request)

        def handle(record):
            told.append(f.leases()[shard].first_read)
            return count(record)

        told = []
        monkeypatch.setattr(f.table, "apply", slow)
        f.start("x", handle=handle, shard=RULES, transactional=True)
        await f.until(lambda: f.leases()[shard].checkpoint.rank == 0)
        assert told == [f.leases()[shard].checkpoint] == [Checkpoint.at(f.newest[shard])]
