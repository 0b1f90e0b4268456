"""Who owns which shard: sharing, crashes, silences, lost answers."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from flow.fleet import TIMING, Fleet, fleet

from headrace.core import leases, membership
from headrace.errors import StreamReplaced
from headrace.model import TRIM_HORIZON, Checkpoint, Lease, ShardId, WorkerId
from headrace.rows import DeleteRow, Key, PutRow, UpdateRow

pytestmark = pytest.mark.looptime


def held(f: Fleet) -> dict[str, int]:
    """Leases by the name of the worker."""
    return dict(Counter(lease.owner.rpartition("-")[0] for lease in f.leases().values() if lease.owner))


async def test_workers_that_start_together_share_the_shards_evenly():
    """Within two seconds of the start."""
    async with fleet(shards=8) as f:
        for name in ("a", "b", "c"):
            f.start(name)
        await f.until(lambda: sum(held(f).values()) == 8, within_s=3)

        assert sorted(held(f).values()) == [2, 3, 3]


async def test_a_graceful_stop_hands_every_lease_over_with_its_final_checkpoint():
    """The others take them within a poll, and nothing is repeated."""
    async with fleet(shards=4) as f:
        f.start("a")
        f.start("b")
        f.put(200)
        await f.until(f.all_written)
        await f.stop("a")
        assert f.states()["a"] == "left"

        f.put(200)
        await f.until(f.all_written, within_s=5)

        assert held(f) == {"b": 4}
        assert len(f.calls) == 400


async def test_a_crash_is_noticed_within_the_lease_duration_and_its_leases_go_to_the_others():
    """Fenced first; then each lease under the next epoch, from its checkpoint."""
    async with fleet(shards=4) as f:
        for name in ("a", "b", "c"):
            f.start(name)
        f.put(400)
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)
        before = f.leases()
        lost = {shard for shard, lease in before.items() if lease.owner.startswith("a-")}
        await f.kill("a")
        killed_at = f.clock.now()
        f.put(400)
        await f.until(f.all_written, within_s=30)

        first_read = min(c.at for c in f.calls if c.at > killed_at and c.record.shard_id in lost)
        assert first_read - killed_at <= TIMING.duration_s * 1.01 + TIMING.poll_period_s + 1
        assert first_read - killed_at >= TIMING.duration_s - TIMING.heartbeat_period_s - 0.1, "not before it was silent"
        assert f.states()["a"] == "fenced"
        after = f.leases()
        assert {s for s in after if after[s].epoch != before[s].epoch} == lost
        assert all(after[s].epoch == before[s].epoch + 1 for s in lost)
        assert len(f.calls) == 800, "all was checkpointed: nothing is repeated"


async def test_a_worker_cut_off_from_the_table_stops_before_another_starts_and_rejoins_as_someone_else():
    """One-way or both: what counts is that no heartbeat is acknowledged."""
    async with fleet(shards=2) as f:
        a = f.start("a")
        f.start("b")
        await f.until(lambda: sum(held(f).values()) == 2)
        producing = asyncio.create_task(produce(f, seconds=60))
        await asyncio.sleep(5)
        a.link.fault = lambda _: "lost"
        cut_at = f.clock.now()
        await f.until(lambda: held(f) == {"b": 2}, within_s=20)
        a.link.fault = lambda _: None
        await f.until(lambda: a.observer.named("worker_fenced"), within_s=10)
        await producing
        await f.until(f.all_written)

        shards = {c.record.shard_id for c in f.calls if c.worker == "a" and c.at <= cut_at}
        last_of_a = max(c.at for c in f.calls if c.worker == "a" and c.record.shard_id in shards and c.at < cut_at + 15)
        first_of_b = min(c.at for c in f.calls if c.worker == "b" and c.record.shard_id in shards)
        assert last_of_a < first_of_b
        assert last_of_a <= cut_at + TIMING.trust_window_s
        assert sum(1 for key in f.table.rows if key.pk == membership.WORKERS and key.sk.startswith("a-")) == 2


async def produce(f: Fleet, seconds: float) -> None:
    for _ in range(int(seconds * 2)):
        f.put(10)
        await asyncio.sleep(0.5)


async def test_an_outage_of_the_table_longer_than_a_lease_makes_nobody_fence_anybody():
    """Silence counts only while the observer can see."""
    async with fleet(shards=4) as f:
        members = [f.start(name) for name in ("a", "b", "c")]
        await f.until(lambda: sum(held(f).values()) == 4)
        before = {s: lease.owner for s, lease in f.leases().items()}
        for member in members:
            member.link.fault = lambda _: "lost"
        await asyncio.sleep(25)
        for member in members:
            member.link.fault = lambda _: None
        f.put(100)
        await f.until(f.all_written, within_s=10)

        assert [m.observer.named("peer_fenced") for m in members] == [[], [], []]
        assert {s: lease.owner for s, lease in f.leases().items()} == before


# --- lost answers -----------------------------------------------------------------------------------------------------


def unanswered(times: int, kind: type, attribute: str):
    """The first calls of a kind that set or remove an attribute take effect and get no answer."""

    def fault(request):
        nonlocal times
        requests = request if isinstance(request, tuple) and not isinstance(request, Key) else (request,)
        for one in requests:
            touched = {**one.assign, **dict.fromkeys(one.remove)} if isinstance(one, UpdateRow) else {}
            if isinstance(one, kind) and attribute in touched and times:
                times -= 1
                return "unanswered"
        return None

    return fault


@pytest.mark.parametrize("times", [1, 3])
async def test_a_claim_without_an_answer_is_adopted_under_one_more_epoch(times):
    """Whatever was in flight under the first is refused for ever."""
    async with fleet(shards=1) as f:
        f.put(50)
        worker = f.start()
        worker.link.fault = unanswered(times, UpdateRow, "own")
        await f.until(f.all_written)

        (lease,) = f.leases().values()
        assert lease.epoch == times + 1
        assert len(f.calls) == 50
        transitions = [t for _, t in worker.observer.named("lease_changed")]
        assert transitions == ["adopted"]


async def test_heartbeats_without_an_answer_are_sent_again_and_keep_the_trust():
    """The refusal of the repeat shows that the first one applied."""
    async with fleet(shards=1) as f:
        worker = f.start()
        await f.until(lambda: held(f) == {"w": 1})
        sent: Counter[int] = Counter()

        def every_first_answer_is_lost(request):
            if isinstance(request, UpdateRow) and "hb" in request.assign:
                sent[request.assign["hb"]] += 1
                return "unanswered" if sent[request.assign["hb"]] == 1 else None
            return None

        worker.link.fault = every_first_answer_is_lost
        await asyncio.sleep(40)
        del sent[max(sent)]  # it may be on its way
        assert set(sent.values()) == {2}
        f.put(10)
        await f.until(f.all_written, within_s=5)

        assert worker.observer.named("worker_fenced") == []


async def test_trust_counts_from_the_first_try_of_a_heartbeat():
    """Answers that come ever later must not stretch it."""
    async with fleet(shards=1) as f:
        worker = f.start()
        await f.until(lambda: held(f) == {"w": 1})
        worker.link.fault = lambda r: "lost" if isinstance(r, UpdateRow) and "hb" in r.assign else None
        await f.until(lambda: not worker.worker.incarnation.trust.permits(), within_s=15)
        lapsed_at = f.clock.now()
        f.put(10)
        await asyncio.sleep(5)

        assert f.calls == []
        assert lapsed_at <= 60


async def test_a_release_without_an_answer_leaves_a_lease_that_others_take_at_once():
    """The worker says goodbye all the same."""
    async with fleet(shards=2) as f:
        a = f.start("a")
        f.start("b")
        f.put(50)
        await f.until(f.all_written)
        a.link.fault = unanswered(1, UpdateRow, "own")
        await f.stop("a")
        f.put(50)
        await f.until(f.all_written, within_s=5)

        assert held(f) == {"b": 2}


async def test_a_checkpoint_without_an_answer_is_followed_by_a_later_one():
    """And never by an earlier one."""
    async with fleet(shards=1) as f:
        worker = f.start()
        worker.link.fault = unanswered(5, UpdateRow, "ck")
        seen = []
        for _ in range(40):
            f.put(5)
            await asyncio.sleep(0.5)
            seen += [lease.checkpoint for lease in f.leases().values()]
        await f.until(f.last_checkpoints_reached, within_s=10)

        assert seen == sorted(seen)
        assert len(set(seen)) > 10


# --- rows that should not be ------------------------------------------------------------------------------------------


async def test_an_owner_without_a_worker_row_is_tombstoned_before_its_leases_are_taken():
    """It may be live and its row merely unseen: after the tombstone it cannot register."""
    async with fleet(shards=1) as f:
        shard = ShardId("shardId-000000000000")
        row = {"ep": 7, "ck": TRIM_HORIZON.encode(), "own": "ghost-1"}
        await f.table.apply(PutRow(leases.lease_key("stream", shard), row))
        f.put(10)
        f.start()
        await f.until(f.all_written)

        (lease,) = f.leases().values()
        assert lease.epoch == 8
        ghost = await f.table.get(membership.worker_key(WorkerId("ghost-1")))
        assert ghost["st"] == "fenced"


async def test_a_worker_that_finds_its_checkpoint_refused_drops_the_lease():
    """Somebody took it in a way this worker did not notice."""
    async with fleet(shards=1) as f:
        worker = f.start()
        f.put(10)
        await f.until(f.all_written)
        (lease,) = f.leases().values()
        stolen = UpdateRow(leases.lease_key("stream", lease.shard_id), (), {"own": "thief", "ep": lease.epoch + 1})
        await f.table.apply(stolen)
        f.put(10)
        await f.until(lambda: ("shardId-000000000000", "lost") in worker.observer.named("lease_changed"), within_s=10)

        (lease,) = f.leases().values()
        assert lease.checkpoint < Checkpoint.at(f.newest[lease.shard_id])


async def test_a_stream_made_anew_under_the_same_name_ends_the_worker_before_it_reads():
    """Its checkpoints are of another stream."""
    async with fleet() as f:
        f.start("one")
        await f.until(f.leases)
        await f.stop("one")
        row = dict(f.table.rows[leases.meta_key("stream")])
        f.table.rows[leases.meta_key("stream")] = {**row, "created": "2020-01-01T00:00:00+00:00"}

        two = f.start("two")
        with pytest.raises(StreamReplaced, match="2020-01-01"):
            await two.task
        del f.members["two"]


# --- shards that end --------------------------------------------------------------------------------------------------


async def test_children_start_after_their_parents_and_every_key_stays_in_order():
    """Splits and merges of several generations while records flow, with two workers."""
    async with fleet(shards=2) as f:
        f.start("a")
        f.start("b")

        async def some(count: int = 60) -> None:
            for _ in range(count // 10):
                f.put(10)
                await asyncio.sleep(0.1)

        await some()
        left, right = f.stream.split(ShardId("shardId-000000000000"))
        await some()
        f.stream.split(left.shard_id)
        merged = f.stream.merge(right.shard_id, ShardId("shardId-000000000001"))
        await some()
        f.stream.split(merged.shard_id)
        await some()
        await f.until(f.all_written)
        await f.until(lambda: sum(lease.done for lease in f.leases().values()) == 5)

        assert len(f.calls) == f.produced
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())
        assert parents_first(f)


def parents_first(f: Fleet) -> bool:
    times = defaultdict(list)
    for call in f.calls:
        times[ShardId(call.record.shard_id)].append(call.at)
    return all(
        max(times[parent]) <= min(times[shard])
        for shard, lease in f.leases().items()
        for parent in lease.parents
        if times[parent] and times[shard]
    )


async def test_a_shard_whose_row_could_not_be_made_at_once_is_read_all_the_same_and_before_its_children():
    """A child's row without its parent's says that the parent was finished long ago (found by the simulation)."""
    async with fleet(shards=1) as f:
        root = ShardId("shardId-000000000000")
        f.put(50)
        f.stream.split(root)
        f.put(50)
        f.start().link.fault = lose_first(leases.lease_key("stream", root))
        await f.until(f.all_written)

        assert sorted(f.written) == list(range(100))
        assert parents_first(f)


def lose_first(key: Key) -> Callable[[Any], str | None]:
    """The first write of this row is lost."""
    writes = []

    def fault(what: Any) -> str | None:
        if isinstance(what, PutRow) and what.key == key:
            writes.append(what)
        return "lost" if len(writes) == 1 and what is writes[0] else None

    return fault


async def test_shards_that_were_closed_before_the_first_start_are_read():
    """A worker that treats them as finished loses data."""
    async with fleet(shards=1) as f:
        f.put(50)
        f.stream.split(ShardId("shardId-000000000000"))
        f.put(50)
        f.start()
        await f.until(f.all_written)

        assert sorted(f.written) == list(range(100))
        assert parents_first(f)


async def test_two_parents_that_end_at_once_open_their_child_once():
    """The second of the two, whichever it is."""
    async with fleet(shards=2) as f:
        f.start("a")
        f.start("b")
        f.put(100)
        await f.until(lambda: sum(held(f).values()) == 2)
        f.stream.merge(ShardId("shardId-000000000000"), ShardId("shardId-000000000001"))
        f.put(100)
        await f.until(f.all_written)

        child = f.leases()[ShardId("shardId-000000000002")]
        assert child.pending == frozenset()
        assert child.epoch == 1
        assert len(f.calls) == 200


async def test_the_end_of_a_shard_without_an_answer_is_repeated_and_counts_once():
    """The transaction may have applied."""
    async with fleet(shards=1) as f:
        worker = f.start()
        f.put(20)
        await f.until(f.all_written)
        worker.link.fault = unanswered(3, UpdateRow, "done")
        f.stream.split(ShardId("shardId-000000000000"))
        f.put(20)
        await f.until(f.all_written)

        found = f.leases()
        assert found[ShardId("shardId-000000000000")].done
        assert found[ShardId("shardId-000000000000")].children == {"shardId-000000000001", "shardId-000000000002"}
        assert len(f.calls) == 40


async def test_a_merge_with_a_parent_that_was_not_seen_yet_waits_for_it():
    """A and C merge while C's own parent is still being read: D must wait for C."""
    async with fleet(shards=3) as f:
        f.put(600, keys=60)
        left, right = f.stream.split(ShardId("shardId-000000000001"))
        f.put(600, keys=60)
        f.stream.merge(ShardId("shardId-000000000000"), left.shard_id)
        f.put(600, keys=60)
        f.start("a")
        f.start("b")
        await f.until(f.all_written)

        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())
        assert parents_first(f)
        assert len(f.calls) == 1800
        assert right.shard_id in f.leases()


async def test_finished_leases_are_forgotten_once_nothing_can_bring_them_back():
    """A day later, with the children under way; and they do not come back."""
    async with fleet(shards=1, retention_s=7 * 24 * 3600.0) as f:
        f.put(10)
        f.start()
        await f.until(f.all_written)
        f.stream.split(ShardId("shardId-000000000000"))
        f.put(10)
        await f.until(f.all_written)
        rows = f.leases()
        assert rows[ShardId("shardId-000000000000")].done

        done_at = rows[ShardId("shardId-000000000000")].done_at_s
        key = leases.lease_key("stream", ShardId("shardId-000000000000"))
        await f.table.apply(UpdateRow(key, (), {"doneAt": done_at - 25 * 3600}))
        await f.until(lambda: ShardId("shardId-000000000000") not in f.leases(), within_s=120)
        await asyncio.sleep(200)

        assert set(f.leases()) == {"shardId-000000000001", "shardId-000000000002"}
        assert len(f.calls) == 20


async def test_a_shard_that_ended_after_the_last_listing_is_not_taken_for_one_that_is_listed_no_more():
    """Its row would be deleted while the stream still lists it (found by the simulation)."""
    async with fleet(shards=1) as f:
        f.start("a")
        f.start("b")
        f.put(10)
        await f.until(f.all_written)
        left, _ = f.stream.split(ShardId("shardId-000000000000"))
        f.put(10)
        await f.until(f.all_written)
        f.stream.split(left.shard_id)
        f.put(10)
        await f.until(f.all_written)
        await f.until(lambda: sum(lease.done for lease in f.leases().values()) == 2)
        await asyncio.sleep(20)

        assert len(f.leases()) == 5


def test_a_lease_survives_the_way_through_its_row():
    """All that a row holds."""
    lease = Lease(ShardId("s"), 3, Checkpoint.at(10**55), WorkerId("w"))
    request = leases.take("stream", lease, WorkerId("me"))
    assert dict(request.assign) == {"own": "me", "ep": 4}
    assert isinstance(leases.forget("stream", lease), DeleteRow)
