"""A dead letter's effects in mode `transactional`: once, whoever writes them and however often it is tried."""

from __future__ import annotations

import asyncio

import pytest
from flow.fleet import FAST_RETRY, Fleet, fleet

from headrace.core.batching import BatchRules
from headrace.core.letter_selection import Selection
from headrace.errors import Unavailable
from headrace.flow.redrive.parts import RedrivePorts, RedriveRules
from headrace.flow.redrive.passes import Redrive
from headrace.flow.redrive.redelivery import Redelivery
from headrace.flow.redrive.writing import Once
from headrace.flow.workplace import ShardRules
from headrace.operations import Condition, Increment, Put
from headrace.ports import Handler
from headrace.transactions import RowRefused

pytestmark = pytest.mark.looptime

RULES = ShardRules(batch=BatchRules(20), retry=FAST_RETRY, checkpoint_interval_s=30)
BAD = 5


def count(record):
    return Increment({"pk": "all"}, {"count": 1})


def count_all_but_one(record):
    if int(record.data) == BAD:
        raise ValueError("bad")
    return count(record)


async def redrive(f: Fleet, handle=count, is_permitted=lambda: True):
    ports = RedrivePorts("stream", "stream", f.letters, f.table, f.clock, f.chance.random)
    writing = Once(f.transactions, f.table, "stream", f.clock, f.chance.random)
    redelivery = Redelivery(Handler("mended", handle), writing, f.clock, is_permitted)
    return await Redrive(ports, redelivery.deliver, Selection(), RedriveRules(), asyncio.Event()).run()


def counted(f: Fleet) -> int:
    return f.sink.items["all",]["count"]


async def test_a_letter_that_is_redriven_again_changes_nothing_more(monkeypatch):
    """The redrive was ended between writing its effects and removing it."""
    async with fleet() as f:
        f.put(10)
        f.start(handle=count_all_but_one, shard=RULES, transactional=True)
        await f.until(lambda: f.letters.letters and counted(f) == 9)
        letters = f.letters.letters
        for _ in range(3):
            await f.letters.bury(letters)
            result = await redrive(f)
            assert (result.redriven, result.failed) == (1, 0)
            assert counted(f) == 10
        assert f.letters.letters == []


@pytest.mark.parametrize("conditional", [True, False])
async def test_an_answer_that_is_lost_while_a_letter_is_redriven_does_not_write_it_twice(conditional):
    """The second try finds the row of the first, or a condition that the first one's effects have made false."""

    def handle(record):
        new = Put({"pk": "new"}, condition=Condition("attribute_not_exists(pk)"))
        return [count(record), new] if conditional else count(record)

    async with fleet() as f:
        f.put(10)
        f.start(handle=count_all_but_one, shard=RULES, transactional=True)
        await f.until(lambda: f.letters.letters and counted(f) == 9)
        commit, answers = f.transactions.commit, [True]

        async def lossy(transaction, permit):
            outcome = await commit(transaction, permit)
            f.transactions._done.clear()
            if answers:
                answers.pop()
                raise Unavailable("no answer")
            return outcome

        f.transactions.commit = lossy
        result = await redrive(f, handle)
        assert (result.redriven, result.failed) == (1, 0)
        assert counted(f) == 10


async def buried_and_gone(f: Fleet) -> None:
    """The first owner stores the letter and is killed before its checkpoint passes the record."""
    f.put(10)
    f.start("a", handle=count_all_but_one, shard=RULES, transactional=True)
    bury = f.letters.bury

    async def bury_and_hang(letters):
        await bury(letters)
        await asyncio.sleep(1000)

    f.letters.bury = bury_and_hang
    await f.until(lambda: f.letters.letters)
    await f.kill("a")
    f.letters.bury = bury
    assert counted(f) == 5


@pytest.mark.parametrize("redriven_first", [True, False])
async def test_a_record_whose_letter_was_stored_by_an_owner_that_was_gone_then_counts_once(redriven_first):
    """The next owner handles it again and succeeds: before the letter is redriven, or after."""
    async with fleet() as f:
        await buried_and_gone(f)
        if redriven_first:
            assert (await redrive(f)).redriven == 1
            assert counted(f) == 6
        f.start("b", handle=count, shard=RULES, transactional=True)
        await f.until(lambda: counted(f) == 10)
        await redrive(f)
        await f.until(f.last_checkpoints_reached)
        assert counted(f) == 10
        assert f.letters.letters == []


async def test_a_record_that_fails_again_with_the_next_owner_has_one_letter_and_counts_once():
    """The letter is stored again, and says the same."""
    async with fleet() as f:
        await buried_and_gone(f)
        f.start("b", handle=count_all_but_one, shard=RULES, transactional=True)
        await f.until(f.last_checkpoints_reached)
        assert [int(letter.record.data) for letter in f.letters.letters] == [BAD]
        await redrive(f)
        assert counted(f) == 10


async def test_what_may_have_a_letter_is_forgotten_once_the_checkpoint_has_passed_it():
    """The lease's row stays small."""
    async with fleet() as f:
        f.put(10)
        f.start(handle=count_all_but_one, shard=RULES, transactional=True)
        await f.until(f.last_checkpoints_reached)
        assert [lease.may_have_letters for lease in f.leases().values()] == [frozenset()]


async def test_a_letter_that_is_refused_stays_with_the_reason():
    """A condition of the user's that does not hold."""
    async with fleet() as f:
        f.put(10)
        f.start(handle=count_all_but_one, shard=RULES, transactional=True)
        await f.until(lambda: f.letters.letters and counted(f) == 9)
        result = await redrive(f, lambda _: Put({"pk": "all"}, condition=Condition("attribute_not_exists(pk)")))
        assert (result.redriven, result.failed) == (0, 1)
        assert "its condition does not hold" in f.letters.letters[0].message


async def test_a_try_that_comes_after_the_records_letter_was_stored_is_refused():
    """It hung in the network while the next try was refused for good, and would have been taken by now."""
    async with fleet() as f:
        f.put(1)
        hanging, commit = [], f.transactions.commit

        async def hang_first(transaction, permit):
            if not hanging:
                hanging.append(transaction)
                raise Unavailable("no answer")
            return await commit(transaction, permit)

        f.transactions.commit = hang_first
        f.transactions._refuses = lambda _: "not now"
        f.start(handle=count, shard=RULES, transactional=True)
        await f.until(lambda: f.letters.letters)
        f.transactions._refuses = lambda _: None
        outcome = f.transactions.write(hanging[0])
        assert isinstance(outcome, RowRefused)
        assert (await redrive(f)).redriven == 1
        assert counted(f) == 1
