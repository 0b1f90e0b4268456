"""A shard's run has had its time to end, and a write that moves its checkpoint has no answer: it took place, or may yet."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from flow.fleet import FAST_RETRY, Fleet, Member, fleet
from flow.test_operators import desk
from flow.test_transactional import count, counted, expected
from flow.test_windows import Counting, rules

from headrace.core.batching import BatchRules
from headrace.errors import Unavailable
from headrace.flow.operate import shards
from headrace.flow.workplace import ShardRules
from headrace.transactions import Transaction

pytestmark = pytest.mark.looptime

RULES = ShardRules(batch=BatchRules(20), retry=FAST_RETRY, drain_s=2)


def lease(f: Fleet):
    (found,) = f.leases().values()
    return found


def unanswered(member: Member) -> list[Transaction]:
    """Every transaction of the worker takes place, and no answer comes; what was tried."""
    tried: list[Transaction] = []

    def fault(what):
        if isinstance(what, Transaction):
            tried.append(what)
            return "unanswered"
        return None

    member.link.fault = fault
    return tried


async def in_doubt(f: Fleet) -> Member:
    """A worker that has just sent its first transaction."""
    f.put(100)
    member = f.start("a", count, shard=RULES, transactional=True)
    tried = unanswered(member)
    await f.until(lambda: tried)
    return member


async def went_on(f: Fleet, name: str) -> None:
    """Another worker goes on, and every record counts once."""
    f.put(10)
    await f.until(f.last_checkpoints_reached)
    assert counted(f) == expected(f)
    assert lease(f).owner == f.members[name].worker.me


async def test_a_worker_that_stops_releases_the_lease_at_the_checkpoint_that_the_write_left():
    """Not at the one that it knows for certain, which the row refuses."""
    async with fleet() as f:
        await in_doubt(f)
        await f.stop("a")
        assert (lease(f).owner, lease(f).epoch) == (None, 1)
        assert lease(f).checkpoint.rank == 0
        f.start("b", count, shard=RULES, transactional=True)
        await went_on(f, "b")


async def test_a_paused_shard_is_given_up_although_its_last_write_has_no_answer():
    """Nobody takes it up again under the epoch of before, its old owner neither."""
    async with fleet() as f:
        member = await in_doubt(f)
        (shard,) = f.leases()
        await shards.pause(desk(f), shard)
        await f.until(lambda: lease(f).owner is None, within_s=10)
        member.link.fault = lambda _: None
        await asyncio.sleep(10)
        assert lease(f).owner is None
        await shards.resume(desk(f), shard)
        await went_on(f, "a")
        assert lease(f).epoch == 2


async def test_a_lease_is_passed_on_to_whom_it_is_moved_although_the_last_write_has_no_answer():
    """With the checkpoint that the row shows."""
    async with fleet() as f:
        await in_doubt(f)
        heir = f.start("b", count, shard=RULES, transactional=True)
        await f.until(lambda: "b" in f.states())
        (shard,) = f.leases()
        row = next(row for row in (await desk(f).workers()).values() if row.name == "b")
        await shards.move(desk(f), shard, row, 10)
        assert lease(f).owner == heir.worker.me
        await went_on(f, "b")


@pytest.mark.parametrize("lands", ["before the release", "between two tries of the release", "never"])
async def test_a_write_that_lands_late_is_part_of_what_is_released_or_has_no_effect(lands):
    """It hung in the network until the worker had given up on it."""
    async with fleet() as f:
        f.put(100)
        member = f.start("a", count, shard=RULES, transactional=True)
        hanging: list[Transaction] = []

        async def hang(transaction, permit):
            hanging.append(transaction)
            raise Unavailable("no answer")

        commit, f.transactions.commit = f.transactions.commit, hang
        await f.until(lambda: hanging)
        apply_each = f.table.apply_each

        async def apply_late(requests):
            if lands == "before the release":
                f.transactions.write(hanging[0])
            outcomes = await apply_each(requests)
            if lands == "between two tries of the release":
                f.transactions.write(hanging[0])
            return outcomes

        f.table.apply_each = apply_late
        await f.stop("a")
        assert member.task.done()
        assert lease(f).owner is None
        f.transactions.write(hanging[0])
        f.transactions.commit = commit
        f.start("b", count, shard=RULES, transactional=True)
        await went_on(f, "b")


async def test_a_checkpoint_with_windows_that_has_no_answer_does_not_keep_the_lease_from_being_released():
    """The windows are those of the checkpoint in the row."""
    counting = Counting()
    async with fleet() as f:
        member = f.start("a", handle_batch=counting.handler, shard=replace(rules(), drain_s=2))
        f.put(5)
        await asyncio.sleep(0.2)
        member.link.fault = lambda what: "unanswered" if type(what) is tuple else None
        await f.until(lambda: lease(f).checkpoint.rank == 0)
        f.put(5)
        await f.until(lambda: len(counting.calls) > 1)
        await f.stop("a")
        assert lease(f).owner is None
