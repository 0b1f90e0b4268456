"""What operators do to a running fleet: seek, pause, drain, move, skip. Everything in virtual time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from flow.fleet import Fleet, fleet, put_item

from headrace.core import audit, leases, membership, operator_rows
from headrace.core.pacing import PaceRules
from headrace.core.seeking import Rereads, Skips, Stays, Unknown
from headrace.core.verdict import SKIPPED_BY_OPERATOR, RetryRules
from headrace.errors import Denied
from headrace.flow.operate import seek as seeking
from headrace.flow.operate import shards
from headrace.flow.operate.desk import ActRefused, Desk
from headrace.flow.workplace import ShardRules
from headrace.model import AtSequence, AtTimestamp, Checkpoint, Latest, TrimHorizon
from headrace.ports import BatchContext, BatchHandler, nobody

pytestmark = pytest.mark.looptime

QUICK = ShardRules(pace=PaceRules(0.4), checkpoint_interval_s=0.2)


def desk(f: Fleet, *, by: str = "ada", why: str = "a test", deaf: bool = False) -> Desk:
    """The operator's; `deaf`: workers cannot be nudged."""
    nudge = nobody if deaf else f._nudge
    return Desk(f.table, f.stream, "stream", "stream", by, why, f.clock, f.chance.random, nudge)


async def running(f: Fleet, *names: str, records: int = 300, rules: ShardRules = QUICK, handle=put_item) -> None:
    """A fleet that has settled and checkpointed everything."""
    for name in names:
        f.start(name, handle, shard=rules)
    f.put(records, keys=60)
    await f.until(f.all_written)
    await f.until(f.last_checkpoints_reached)
    assert all(lease.owner for lease in f.leases().values())


async def sought(f: Fleet, shard, to, **how):
    """Previewed and done, as the command does it."""
    at = desk(f, **how)
    plan = await seeking.preview(at, [f.leases()[shard]], to)
    (done,) = await seeking.seek(at, plan, wait_s=10)
    return plan.seeks[0], done


async def events(f: Fleet) -> list[audit.Event]:
    return await desk(f).events()


# --- seek -------------------------------------------------------------------------------------------------------------


async def test_a_seek_on_a_running_fleet_of_three_rereads_one_shard_and_no_other_pauses():
    """Within 2 s, from there on, under a new epoch; nothing of the old epoch comes after it."""
    async with fleet(shards=6) as f:
        await running(f, "a", "b", "c")
        before, (target, *_) = f.leases(), f.leases()
        others = [shard for shard in before if shard != target]
        f.calls.clear()
        began = f.clock.now()
        planned, done = await sought(f, target, TrimHorizon())
        f.put(60, keys=60)
        first = f.stream._logs[target].records[0]
        await f.until(lambda: any(call.record.sequence_number == first.sequence_number for call in f.calls))

        assert f.clock.now() - began < 2
        assert isinstance(planned.effect, Rereads)
        assert done.lease.epoch == before[target].epoch + 2
        assert done.lease.owner == before[target].owner
        await f.until(
            lambda: len([c for c in f.calls if c.record.shard_id == target]) >= len(f.stream._logs[target].records)
        )
        numbers = [c.record.sequence_number for c in f.calls if c.record.shard_id == target]
        assert numbers[: len(set(numbers))] == sorted(set(numbers)), "it is read from there, in order, once"
        await f.until(f.last_checkpoints_reached)
        after = f.leases()
        assert {s: after[s].epoch for s in others} == {s: before[s].epoch for s in others}
        for shard in others:
            calls = [c.record.sequence_number for c in f.calls if c.record.shard_id == shard]
            assert len(calls) == len(set(calls)), "no other shard repeats anything"


async def test_a_seek_of_all_shards_moves_each_of_them_and_tells_the_workers_now_and_then():
    """Each is fenced by itself; what one worker is told all of them see."""
    async with fleet(shards=25) as f:
        await running(f, "a", "b", records=250)
        before = f.leases()
        f.calls.clear()
        at = desk(f, deaf=True)
        plan = await seeking.preview(at, before.values(), TrimHorizon())
        done = await seeking.seek(at, plan, wait_s=10)
        await f.until(lambda: len(f.calls) >= 250, within_s=20)

        assert [one.shard for one in done] == list(before)
        assert all(one.lease.epoch == before[one.shard].epoch + 2 for one in done)
        assert sorted(int(call.record.data) for call in f.calls) == list(range(250))
        assert len(await events(f)) == 25


async def test_nothing_is_written_under_the_old_epoch_once_a_shard_was_moved():
    """What was in flight is given up; the checkpoint of before is refused."""
    async with fleet(shards=1) as f:
        await running(f, "a")
        (lease,) = f.leases().values()
        await sought(f, lease.shard_id, TrimHorizon())

        late = leases.checkpoint(
            "stream", lease.shard_id, lease.owner, lease.epoch, leases.Progress(lease.checkpoint, 0)
        )
        refused = await f.table.apply(late)

        assert type(refused).__name__ == "Refused"
        assert f.leases()[lease.shard_id].epoch == lease.epoch + 2


async def test_workers_that_cannot_be_nudged_find_the_word_with_their_next_poll():
    """The command may run where workers cannot be reached; two seconds are enough all the same."""
    async with fleet(shards=3) as f:
        await running(f, "a", "b")
        target = next(iter(f.leases()))
        await asyncio.sleep(20)  # nobody has another reason to read the rows
        began = f.clock.now()
        f.calls.clear()
        await sought(f, target, TrimHorizon(), deaf=True)
        await f.until(lambda: f.calls)

        assert f.clock.now() - began < 2


async def test_a_hung_handler_does_not_hold_a_seek_up():
    """The run is dropped with its call."""
    async with fleet(shards=1) as f:
        started = []

        async def hang_once(record):
            started.append(record.sequence_number)
            if len(started) == 1:
                await asyncio.sleep(10_000)
            return put_item(record)

        f.start("a", hang_once, is_async=True, shard=QUICK)
        f.put(5, keys=1)
        await f.until(lambda: started)
        (shard,) = f.leases()
        await sought(f, shard, TrimHorizon())
        await f.until(f.all_written, within_s=5)

        assert f.written == list(range(5))


@pytest.mark.parametrize("place", ["trim", "time", "sequence"])
async def test_a_shard_is_read_again_from_the_oldest_record_a_time_or_a_record_itself(place):
    """The record that is named is read too."""
    async with fleet(shards=1) as f:
        f.start("a", shard=QUICK)
        for _ in range(10):
            f.put(1)
            await asyncio.sleep(10)
        await f.until(f.last_checkpoints_reached)
        (shard,) = f.leases()
        records = f.stream._logs[shard].records
        sixth = records[5]
        to = {
            "trim": TrimHorizon(),
            "time": AtTimestamp(sixth.arrival - timedelta(seconds=1)),
            "sequence": AtSequence(sixth.sequence_number),
        }[place]
        f.calls.clear()
        planned, _ = await sought(f, shard, to)
        await f.until(f.last_checkpoints_reached)

        first = 0 if place == "trim" else 5
        assert [int(call.record.data) for call in f.calls] == list(range(first, 10))
        assert planned.effect.since.sequence_number == records[first].sequence_number


async def test_a_seek_forward_says_that_it_skips_records_and_skips_them():
    """The operator's explicit act: the preview names the first that will never be read."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=10)
        (shard,) = f.leases()
        await shards.pause(desk(f), shard)
        await f.until(lambda: f.leases()[shard].owner is None)
        f.put(5)
        unread = f.stream._logs[shard].records[10]
        await asyncio.sleep(5)
        plan = await seeking.preview(desk(f), [f.leases()[shard]], Latest())
        (planned,) = plan.seeks
        await seeking.seek(desk(f), plan, wait_s=10)
        await asyncio.sleep(2)
        await shards.resume(desk(f), shard)
        f.put(3)
        await f.until(lambda: set(f.written) >= {15, 16, 17})

        assert isinstance(planned.effect, Skips)
        assert planned.effect.since.sequence_number == unread.sequence_number
        assert not set(f.written) & set(range(10, 15))


async def test_a_seek_to_where_a_shard_stands_changes_nothing_that_is_read():
    """The preview says so."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=10)
        (lease,) = f.leases().values()
        (planned,) = (await seeking.preview(desk(f), [lease], Latest())).seeks

        assert planned.effect == Stays()


async def test_a_preview_without_the_right_to_read_the_stream_says_that_it_does_not_know():
    """Moving a shard takes rights on the lease table alone."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=10)
        (lease,) = f.leases().values()
        f.stream.fail_next("get_records", Denied("kinesis:GetRecords"), times=1)
        (planned,) = (await seeking.preview(desk(f), [lease], TrimHorizon())).seeks

        assert isinstance(planned.effect, Unknown)


async def test_a_seek_is_noted_in_the_event_log_with_who_why_before_and_after():
    """In one transaction with the act."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=10)
        (lease,) = f.leases().values()
        await sought(f, lease.shard_id, TrimHorizon(), by="ada", why="bad deploy")
        (event,) = await events(f)

        assert (event.act, event.target, event.by, event.why) == ("seek", lease.shard_id, "ada", "bad deploy")
        assert str(lease.checkpoint.sequence_number) in event.before
        assert event.after == "the oldest record (TRIM_HORIZON)"


async def test_a_seek_that_lost_a_race_did_nothing_and_noted_nothing():
    """Somebody else moved the lease between look and write: the condition names what was seen."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=10)
        (lease,) = f.leases().values()
        await f.stop("a")
        stale = operator_rows.seek("stream", lease, TrimHorizon(), 0.0)
        with pytest.raises(ActRefused):
            await desk(f).carry_out("seek", lease.shard_id, stale)

        assert f.leases()[lease.shard_id].checkpoint == lease.checkpoint
        assert await events(f) == []


async def test_a_shard_whose_owner_is_dead_is_read_from_there_by_whoever_takes_it():
    """The owner is fenced first, as ever."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=10)
        (shard,) = f.leases()
        await f.kill("a")
        plan = await seeking.preview(desk(f), [f.leases()[shard]], TrimHorizon())
        await seeking.seek(desk(f), plan, wait_s=0)
        f.calls.clear()
        f.start("b", shard=QUICK)
        await f.until(f.last_checkpoints_reached)

        assert [int(call.record.data) for call in f.calls] == list(range(10))


async def test_a_finished_shard_is_opened_again_and_its_children_follow_it():
    """Order survives: no record of a child is handled before its parent was read to the end once more."""
    async with fleet(shards=1) as f:

        async def slow(record):
            await asyncio.sleep(0.2)
            return put_item(record)

        f.start("a", slow, is_async=True, shard=QUICK)
        f.start("b", slow, is_async=True, shard=QUICK)
        f.put(30, keys=6)
        await f.until(f.all_written)
        (parent,) = f.leases()
        f.stream.split(parent)
        f.put(30, keys=6)
        await f.until(lambda: f.leases()[parent].done and f.all_written())
        await f.until(f.last_checkpoints_reached)
        before = f.leases()
        f.calls.clear()
        at = desk(f)
        plan = await seeking.preview(at, before.values(), TrimHorizon())
        assert {one.shard for one in plan.family} == set(before)
        assert plan.seeks == plan.finished == []
        await seeking.seek(at, plan, wait_s=10)
        await f.until(lambda: len(f.calls) >= 60, within_s=30)
        await f.until(f.last_checkpoints_reached)
        await f.until(lambda: f.leases()[parent].done)

        assert [sorted(numbers) for numbers in f.by_key().values()] == list(f.by_key().values())
        assert sorted(int(call.record.data) for call in f.calls) == list(range(60))
        again = max(call.at for call in f.calls if call.record.shard_id == parent)
        assert min(call.at for call in f.calls if call.record.shard_id != parent) > again
        assert [event.act for event in await events(f)] == ["reopen"]


async def test_a_finished_shard_that_holds_nothing_from_there_on_stays_finished():
    """A time after its end: the children alone are moved."""
    async with fleet(shards=1) as f:
        f.start("a", shard=QUICK)
        f.put(10)
        await f.until(f.all_written)
        (parent,) = f.leases()
        f.stream.split(parent)
        await f.until(lambda: f.leases()[parent].done)
        await asyncio.sleep(60)
        f.put(10)
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)
        plan = await seeking.preview(desk(f), f.leases().values(), AtTimestamp(f.clock.wall() - timedelta(seconds=30)))

        assert [one.shard for one in plan.finished] == [parent]
        assert len(plan.seeks) == 2
        assert plan.family == []


# --- pause ------------------------------------------------------------------------------------------------------------


async def test_a_paused_shard_is_given_up_in_peace_and_read_by_nobody_until_it_is_resumed():
    """Its last checkpoint is written; the other shards go on; a worker that starts meanwhile leaves it alone."""
    async with fleet(shards=2) as f:
        await running(f, "a")
        paused, other = sorted(f.leases())
        await shards.pause(desk(f), paused)
        await f.until(lambda: f.leases()[paused].owner is None, within_s=2)
        calls = len(f.calls)
        f.start("b", shard=QUICK)
        f.put(60, keys=60)
        await asyncio.sleep(30)

        assert f.leases()[paused].paused_by == "ada"
        assert {call.record.shard_id for call in f.calls[calls:]} == {other}
        await shards.resume(desk(f), paused)
        await f.until(f.all_written, within_s=3)
        assert len(f.written) == len(set(f.written))


async def test_a_paused_application_reads_nothing_not_even_with_workers_that_start_later():
    """The whole of it; resuming takes it up again."""
    async with fleet(shards=3) as f:
        await running(f, "a")
        await shards.pause_all(desk(f))
        await f.until(lambda: all(lease.owner is None for lease in f.leases().values()), within_s=2)
        calls = len(f.calls)
        f.start("b", shard=QUICK)
        f.put(60, keys=60)
        await asyncio.sleep(60)

        assert len(f.calls) == calls
        await shards.resume_all(desk(f))
        await f.until(f.all_written, within_s=5)
        assert [event.act for event in await events(f)] == ["pause", "resume"]


async def test_a_shard_that_was_paused_by_itself_is_resumed_with_all():
    """`resume` of everything leaves nothing behind."""
    async with fleet(shards=2) as f:
        await running(f, "a")
        paused = next(iter(f.leases()))
        await shards.pause(desk(f), paused)
        await f.until(lambda: f.leases()[paused].owner is None)

        assert await shards.resume_all(desk(f)) == [paused]
        await f.until(lambda: f.leases()[paused].owner is not None, within_s=3)


async def test_the_shard_of_a_worker_that_died_stays_unread_while_it_is_paused():
    """Nobody takes it; whoever lives does once it is resumed."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=10)
        (shard,) = f.leases()
        f.members["a"].link.fault = lambda _: "lost"
        await shards.pause(desk(f), shard)
        await f.kill("a")
        f.start("b", shard=QUICK)
        f.put(5)
        await asyncio.sleep(40)

        assert len(f.written) == 10
        await shards.resume(desk(f), shard)
        await f.until(f.all_written, within_s=20)


# --- drain and move ---------------------------------------------------------------------------------------------------


async def test_a_drained_worker_hands_its_leases_off_and_takes_none():
    """Nothing is repeated; undrained, it is given its share again in time."""
    async with fleet(shards=4) as f:
        await running(f, "a", "b")
        worker = await shards.find_worker(desk(f), "a")
        await shards.drain(desk(f), worker)
        await f.until(lambda: {x.owner.rpartition("-")[0] for x in f.leases().values() if x.owner} == {"b"}, within_s=3)
        f.put(60, keys=60)
        await f.until(f.all_written)
        await asyncio.sleep(60)

        assert {x.owner.rpartition("-")[0] for x in f.leases().values()} == {"b"}
        assert len(f.calls) == f.produced
        assert f.states()["a"] == membership.LIVE
        await shards.undrain(desk(f), await shards.find_worker(desk(f), "a"))
        await f.until(lambda: "a" in {x.owner.rpartition("-")[0] for x in f.leases().values() if x.owner}, within_s=60)


async def test_a_lease_moves_to_the_worker_that_an_operator_names():
    """By the same handoff as ever: the owner finishes, nothing is repeated."""
    async with fleet(shards=4) as f:
        await running(f, "a", "b")
        shard, lease = next((s, x) for s, x in f.leases().items() if x.owner.startswith("a"))
        heir = await shards.find_worker(desk(f), "b")
        moved = await shards.move(desk(f), shard, heir, 10)
        f.put(60, keys=60)
        await f.until(f.all_written)

        assert moved.owner == heir.worker_id
        assert f.leases()[shard].owner == heir.worker_id
        assert moved.epoch == lease.epoch + 2
        assert len(f.calls) == f.produced


async def test_an_unowned_lease_is_given_to_the_worker_that_an_operator_names():
    """Resumed and moved; it adopts the lease under one more epoch."""
    async with fleet(shards=2) as f:
        await running(f, "a", "b")
        shard, lease = next((s, x) for s, x in f.leases().items() if x.owner.startswith("a"))
        await shards.pause(desk(f), shard)
        await f.until(lambda: f.leases()[shard].owner is None)
        with pytest.raises(ActRefused, match="is paused"):
            await shards.move(desk(f), shard, await shards.find_worker(desk(f), "b"), 10)
        heir = await shards.find_worker(desk(f), "b")
        await f.table.apply(operator_rows.resume("stream", f.leases()[shard]))
        moved = await shards.move(desk(f), shard, heir, 10)

        assert (moved.owner, moved.epoch) == (heir.worker_id, lease.epoch + 2)


async def test_a_worker_that_nobody_knows_is_named_with_those_there_are():
    """A typing error costs nothing."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=10)
        with pytest.raises(ActRefused, match="there are: a-"):
            await shards.find_worker(desk(f), "nobody")


# --- skip -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "async", "batch"])
async def test_a_record_that_is_tried_for_ever_is_buried_once_an_operator_skips_it(kind):
    """Its key goes on; the dead letter says why; nobody calls the handler with it again."""
    async with fleet(shards=1) as f:
        tries: list[bytes] = []

        def poison(record):
            tries.append(record.data)
            if record.data == b"3":
                raise ValueError("poison")
            return put_item(record)

        async def slow_poison(record):
            return poison(record)

        async def batch_poison(records, _: BatchContext):
            return [poison(record) for record in records]

        rules = ShardRules(pace=PaceRules(0.4), checkpoint_interval_s=0.2, retry=RetryRules(maximum_attempts=-1))
        how = {
            "plain": {"handle": poison},
            "async": {"handle": slow_poison, "is_async": True},
            "batch": {"handle_batch": BatchHandler("test", batch_poison)},
        }
        f.start("a", shard=rules, **how[kind])
        f.put(12, keys=3)
        await f.until(lambda: tries.count(b"3") >= 3)
        (shard,) = f.leases()
        number = f.stream._logs[shard].records[3].sequence_number
        await shards.skip(desk(f, why="poison"), shard, Checkpoint.at(number))
        await f.until(f.all_written, within_s=5)
        await f.until(f.last_checkpoints_reached)

        (letter,) = f.letters.letters
        assert (letter.reason, letter.record.sequence_number) == (SKIPPED_BY_OPERATOR, number)
        assert (await events(f))[-1].why == "poison"
        calls = tries.count(b"3")
        await asyncio.sleep(120)
        assert tries.count(b"3") == calls


async def test_a_record_that_is_settled_cannot_be_skipped():
    """The answer says where to look."""
    async with fleet(shards=1) as f:
        await running(f, "a", records=10)
        (lease,) = f.leases().values()
        with pytest.raises(ActRefused, match="behind the checkpoint"):
            await shards.skip(desk(f), lease.shard_id, lease.checkpoint)
