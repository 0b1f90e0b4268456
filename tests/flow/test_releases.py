"""Leases given up together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from flow.fleet import fleet, put_item
from flow.test_leases import held

from headrace.errors import Throttled, Unavailable
from headrace.flow.releases import Releases
from headrace.ports import Handler, Ports
from headrace.rows import Applied, Key, PutRow, UpdateRow
from headrace.testing.aside import SameLoop
from headrace.testing.clock import LoopClock
from headrace.testing.dead_letters import MemoryDeadLetters
from headrace.testing.lease_table import MemoryLeaseTable
from headrace.testing.observer import RecordingObserver
from headrace.testing.sink import MemorySink
from headrace.testing.stream import MemoryStream

pytestmark = pytest.mark.looptime


class CountedTable(MemoryLeaseTable):
    """Notes how many updates came together, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.failures: list[Exception] = []

    async def apply_each(self, requests: Sequence[UpdateRow]):
        self.calls.append(len(requests))
        if self.failures:
            raise self.failures.pop()
        return await super().apply_each(requests)


def key(n: int) -> Key:
    return Key("L#s#0", f"shard-{n}")


def release(n: int) -> UpdateRow:
    return UpdateRow(key(n), (), {"ck": "000"}, remove=("own",))


async def stage(rows: int) -> tuple[Releases, CountedTable, list[list[str]]]:
    table, clock, nudged = CountedTable(), LoopClock(), []

    async def nudge(addresses: Sequence[str]) -> None:
        nudged.append(list(addresses))

    ports = Ports(
        MemoryStream(clock),
        table,
        MemorySink(),
        MemoryDeadLetters(),
        Handler("h", put_item),
        RecordingObserver(),
        clock,
        lambda: 0.5,
        SameLoop(table),
        nudge,
    )
    for n in range(rows):
        await table.apply(PutRow(key(n), {"own": "me"}))
    return Releases(ports, lambda: ["a:1", "b:2"]), table, nudged


async def test_releases_that_come_within_a_moment_share_calls_and_the_others_are_nudged_after_each():
    """60 leases: three calls instead of sixty."""
    releases, table, nudged = await stage(60)
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(releases.apply(release(n))) for n in range(60)]

    assert sorted(table.calls) == [10, 25, 25]
    assert all(isinstance(answer.result(), Applied) for answer in answers)
    assert not any("own" in row for row in table.rows.values())
    assert nudged == [["a:1", "b:2"]] * 3


@pytest.mark.parametrize("error", [Unavailable("no answer"), Throttled("slow down")])
async def test_a_call_without_an_answer_is_followed_by_each_release_alone(error):
    """Whether it applied or not: a release is applied in the end."""
    releases, table, _ = await stage(3)
    table.failures.append(error)
    async with asyncio.TaskGroup() as tasks:
        for n in range(3):
            tasks.create_task(releases.apply(release(n)))

    assert table.calls == [3]
    assert not any("own" in row for row in table.rows.values())


async def test_a_release_whose_leader_was_cancelled_goes_on_alone():
    """And the next one does not join a call that is over."""
    releases, table, _ = await stage(3)
    leader = asyncio.ensure_future(releases.apply(release(0)))
    follower = asyncio.ensure_future(releases.apply(release(1)))
    await asyncio.sleep(0.001)
    leader.cancel()
    await follower
    await releases.apply(release(2))

    assert [n for n in range(3) if "own" in table.rows[key(n)]] == [0]


async def test_releases_wait_for_the_leave_to_be_known_though_not_for_ever():
    """Until then the plan of the others gives the lease to the one that leaves."""
    releases, table, _ = await stage(1)
    asked = asyncio.Event()
    apply = table.apply

    async def slow(request):
        if "st" in getattr(request, "assign", {}):
            await asked.wait()
        return await apply(request)

    table.apply = slow
    announcing = asyncio.ensure_future(releases.announce(UpdateRow(Key("W", "me"), (), {"st": "leaving"})))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await releases.apply(release(0))
    waited = loop.time() - began
    asked.set()
    await announcing

    assert waited == pytest.approx(0.51, abs=0.02)


async def test_two_workers_that_stop_at_once_leave_nothing_unowned_behind():
    """Each is in the other's plan until it says that it leaves."""
    async with fleet(shards=12) as f:
        for name in ("a", "b", "c"):
            f.start(name)
        await f.until(lambda: sum(held(f).values()) == 12)
        await asyncio.gather(f.stop("a"), f.stop("b"))
        began = f.clock.now()
        await f.until(lambda: held(f) == {"c": 12}, within_s=20)

        assert f.clock.now() - began < 3
