"""Loud about loss: records, order, shards and streams that are gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from flow.fleet import Fleet, fleet
from flow.test_leases import held
from structlog.testing import capture_logs

from headrace.core import leases
from headrace.errors import NotFound, OrderLost, StreamReplaced
from headrace.loss import Loss, LossPolicy
from headrace.testing.stream import MemoryStream

pytestmark = pytest.mark.looptime

RETENTION_S = 1800.0
"""A day in a hurry: it takes 24 hours and more on AWS."""

CONTINUE = {"on_loss": LossPolicy.CONTINUE}


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    """What happens each hour of a day."""
    monkeypatch.setattr(leases, "UP_TO_MATTERS_S", RETENTION_S / 24)


def a_fleet():
    return fleet(shards=1, retention_s=RETENTION_S)


def losses(f: Fleet, name: str) -> list[Loss]:
    return [loss for (loss,) in f.members[name].observer.named("loss_found")]


async def read_a_while_then_stay_down(f: Fleet, down_s: float) -> None:
    """Ten records are settled; ten more arrive while no worker runs."""
    f.start("before")
    f.put(10)
    await f.until(lambda: f.all_written() and f.last_checkpoints_reached())
    await f.stop("before")
    f.put(10)
    await asyncio.sleep(down_s)


async def test_a_checkpoint_older_than_the_retention_halts_its_shard_and_says_so():
    """What came behind it is gone; going on in silence is not an option."""
    async with a_fleet() as f:
        await read_a_while_then_stay_down(f, RETENTION_S + 60)
        with capture_logs() as logs:
            f.start("after")
            await f.until(lambda: f.members["after"].observer.named("loss_found"), within_s=20)
            f.put(5)
            await asyncio.sleep(300)

        (found,) = [line for line in logs if line["event"] == "loss_found"]
        assert (found["loss"], found["policy"]) == ("records_trimmed", "halt")
        assert found["read_up_to"] < found["kept_from"]
        assert sum(line["event"] == "shard_halted" for line in logs) >= 4, "it goes on saying so"
        assert len(f.calls) == 10
        (status,) = [ask() for ask in f.members["after"].observer.running.values()]
        assert status.halted is Loss.RECORDS_TRIMMED
        await f.stop("after")
        assert all(lease.owner is None for lease in f.leases().values()), "a held shard is released like any other"


async def test_with_continue_it_goes_on_at_the_oldest_record_that_is_left():
    """Said and counted once."""
    async with a_fleet() as f:
        await read_a_while_then_stay_down(f, RETENTION_S + 60)
        f.put(5)
        f.start("after", **CONTINUE)
        await f.until(lambda: len(f.calls) == 15, within_s=20)
        await asyncio.sleep(120)

        assert losses(f, "after") == [Loss.RECORDS_TRIMMED]
        assert [int(call.record.data) for call in f.calls[10:]] == [20, 21, 22, 23, 24]


async def test_a_shard_that_was_idle_for_longer_than_the_retention_has_lost_nothing():
    """Its checkpoint is old, yet it was read at its tip all the while: no alarm after a short stop, nor a crash."""
    async with a_fleet() as f:
        f.start("first")
        f.put(10)
        await f.until(lambda: f.all_written() and f.last_checkpoints_reached())
        await asyncio.sleep(RETENTION_S * 1.1)
        await f.kill("first")
        f.start("second")
        await f.until(lambda: held(f) == {"second": 1}, within_s=30)
        await asyncio.sleep(RETENTION_S * 1.1)
        await f.stop("second")
        await asyncio.sleep(RETENTION_S / 2)
        f.start("third")
        f.put(10)
        await f.until(f.all_written, within_s=30)

        assert losses(f, "third") == []
        assert len(f.calls) == 20


async def test_a_first_start_at_the_edge_of_the_retention_is_no_loss():
    """TRIM_HORIZON means the oldest record that is there; records go on being trimmed while it is read."""
    async with a_fleet() as f:
        for _ in range(400):
            f.put(20)
            await asyncio.sleep(RETENTION_S / 190)
        f.start("w")
        await f.until(lambda: f.calls and int(f.calls[-1].record.data) == f.produced - 1, within_s=60)

        assert losses(f, "w") == []


async def test_a_shard_that_was_trimmed_away_while_down_halts_and_its_children_wait():
    """Closed, and past the retention before it was read to its end."""
    async with a_fleet() as f:
        await read_a_while_then_stay_down(f, 60)
        (parent,) = f.leases()
        f.stream.split(parent)
        f.put(10)
        await asyncio.sleep(RETENTION_S + 60)
        f.put(10)
        f.start("after")
        await f.until(lambda: f.members["after"].observer.named("loss_found"), within_s=60)
        await asyncio.sleep(120)

        assert len(f.calls) == 10
        assert set(losses(f, "after")) <= {Loss.RECORDS_TRIMMED, Loss.SHARD_TRIMMED}


async def test_with_continue_a_trimmed_shard_ends_and_its_children_are_read():
    """From the oldest record that is left in them."""
    async with a_fleet() as f:
        await read_a_while_then_stay_down(f, 60)
        (parent,) = f.leases()
        f.stream.split(parent)
        f.put(10)
        await asyncio.sleep(RETENTION_S + 60)
        f.put(10)
        f.start("after", **CONTINUE)
        await f.until(lambda: len(f.calls) == 20, within_s=120)

        assert Loss.SHARD_TRIMMED in losses(f, "after")
        assert f.leases()[parent].done
        assert sorted(int(call.record.data) for call in f.calls[10:]) == list(range(30, 40))


async def test_a_trimmed_shard_whose_child_was_trimmed_as_well_does_not_hold_up_its_grandchildren():
    """Two generations went by while nobody read."""
    async with a_fleet() as f:
        await read_a_while_then_stay_down(f, 60)
        (parent,) = f.leases()
        left, right = f.stream.split(parent)
        f.start("briefly")
        await f.until(lambda: len(f.leases()) == 3)
        await f.kill("briefly")
        f.stream.merge(left.shard_id, right.shard_id)
        await asyncio.sleep(RETENTION_S + 60)
        f.put(10)
        f.start("after", **CONTINUE)
        await f.until(lambda: int(f.calls[-1].record.data) == f.produced - 1, within_s=200)

        assert all(lease.done or lease.owner is not None for lease in f.leases().values())


async def test_a_stream_that_is_deleted_while_it_is_read_is_reported_for_as_long_as_it_is_gone():
    """Its shards are kept: it may have been the wrong account for a moment."""
    async with a_fleet() as f:
        w = f.start("w")
        await f.until(lambda: held(f) == {"w": 1})
        for operation in ("describe", "list_shards", "iterator", "get_records"):
            f.stream.fail_next(operation, NotFound("no such stream"), times=1000)
        await f.until(lambda: losses(f, "w").count(Loss.STREAM_DELETED) >= 2, within_s=200)
        f.stream._failures.clear()
        f.put(5)
        await f.until(f.all_written, within_s=60)

        assert not w.task.done()


def recreate(f: Fleet) -> None:
    """Deleted and created anew under the same name."""
    anew = MemoryStream(f.clock, 2)
    f.stream._logs, f.stream._open, f.stream._created = anew._logs, anew._open, anew._created


async def test_a_stream_that_was_created_anew_while_it_is_read_ends_the_worker():
    """What was unread of the old one is gone, and its positions mean nothing in the new one."""
    async with a_fleet() as f:
        w = f.start("w")
        await f.until(lambda: held(f) == {"w": 1})
        await asyncio.sleep(10)
        recreate(f)
        await asyncio.wait([w.task], timeout=200)

        with pytest.raises(StreamReplaced, match="is gone"):
            await f.members.pop("w").task


async def test_with_continue_a_fleet_goes_on_with_the_new_stream_from_its_beginning():
    """Every record of it, and nobody goes by the rows of the old one."""
    async with a_fleet() as f:
        for name in ("a", "b"):
            f.start(name, **CONTINUE)
        f.put(10)
        await f.until(f.all_written)
        await asyncio.sleep(10)
        recreate(f)
        f.put(20)
        await f.until(lambda: {int(c.record.data) for c in f.calls} == set(range(30)), within_s=300)
        await asyncio.sleep(100)
        before = len(f.calls)
        f.put(20)
        await f.until(lambda: len(f.calls) == before + 20, within_s=30)

        assert Loss.STREAM_REPLACED in losses(f, "a") + losses(f, "b")


async def test_a_stream_that_was_created_anew_while_down_goes_on_with_continue():
    """At the start likewise."""
    async with a_fleet() as f:
        await read_a_while_then_stay_down(f, 60)
        recreate(f)
        f.put(5)
        f.start("after", **CONTINUE)
        await f.until(lambda: len(f.calls) == 15, within_s=30)

        assert losses(f, "after") == [Loss.STREAM_REPLACED]


def spread(f: Fleet) -> None:
    """RecordDistributionStrategy AUTO."""
    describe = f.stream.describe

    async def described():
        return replace(await describe(), keeps_key_order=False)

    f.stream.describe = described


async def test_a_stream_without_order_by_key_is_refused_at_the_start():
    """Order per key is promised."""
    async with a_fleet() as f:
        spread(f)
        f.start("w")
        await asyncio.sleep(1)
        with pytest.raises(OrderLost, match="partition keys"):
            await f.members.pop("w").task


async def test_a_sink_that_compares_records_by_their_order_refuses_such_a_stream_under_any_policy():
    """With `continue` too: an older record could win for good."""
    async with a_fleet() as f:
        spread(f)
        f.start("w", needs_order=True, **CONTINUE)
        await asyncio.sleep(1)
        with pytest.raises(OrderLost, match="partition keys"):
            await f.members.pop("w").task


async def test_a_stream_that_gives_its_order_up_while_it_is_read_ends_the_worker():
    """The strategy may be switched at any time."""
    async with a_fleet() as f:
        w = f.start("w")
        await f.until(lambda: held(f) == {"w": 1})
        spread(f)
        await asyncio.wait([w.task], timeout=200)

        with pytest.raises(OrderLost):
            await f.members.pop("w").task


async def test_with_continue_a_stream_without_order_is_read_and_said_once():
    """Whoever sets it knows that keys have no order there."""
    async with a_fleet() as f:
        spread(f)
        f.start("w", **CONTINUE)
        f.put(10)
        await f.until(f.all_written)
        await asyncio.sleep(300)

        assert losses(f, "w") == [Loss.ORDER]


async def test_a_retention_that_was_shortened_is_noticed():
    """An operator cut it from a day to an hour while the worker was behind."""
    async with a_fleet() as f:
        f.sink._latency_s = lambda: 0.0
        await read_a_while_then_stay_down(f, RETENTION_S / 2)
        f.stream.retention_s = RETENTION_S / 4
        f.start("after")
        await f.until(lambda: f.members["after"].observer.named("loss_found"), within_s=20)

        assert losses(f, "after") == [Loss.RECORDS_TRIMMED]
