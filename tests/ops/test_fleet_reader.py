"""Reading the fleet out of the table, and what workers put there for it."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from headrace.core import leases, membership, reports
from headrace.core.lease_rows import lease_of
from headrace.core.lineage import NewLease
from headrace.core.state_words import Limits, State
from headrace.errors import Unavailable
from headrace.model import Shard, ShardId, TrimHorizon, WorkerId, WorkerRow
from headrace.ops.event_log import KEPT, EventLog
from headrace.ops.fleet import FRESH_S, FleetReader, Source
from headrace.ops.reporting import EventWriter, Reporter
from headrace.ops.tally import Tally
from headrace.ports import ShardStatus
from headrace.testing.clock import LoopClock
from headrace.testing.lease_table import MemoryLeaseTable
from headrace.testing.stream import MemoryStream

pytestmark = pytest.mark.looptime

A, B = WorkerId("a-1"), WorkerId("b-1")
ONE, TWO = ShardId("shardId-000000000000"), ShardId("shardId-000000000001")


class CountedTable(MemoryLeaseTable):
    """Counts queries; may be out of reach."""

    def __init__(self):
        super().__init__()
        self.queries = 0
        self.is_down = False
        self.refuses = ""

    async def apply(self, request):
        if self.is_down or request.key.pk == self.refuses:
            raise Unavailable("no answer")
        return await super().apply(request)

    async def query(self, pk, *, consistent=False):
        self.queries += 1
        if self.is_down:
            raise Unavailable("no answer")
        return await super().query(pk, consistent=consistent)


class Scene:
    """A table with two workers and a lease each."""

    def __init__(self):
        self.clock = LoopClock()
        self.table = CountedTable()
        self.stream = MemoryStream(self.clock, 2, name="orders")
        for worker, shard in ((A, ONE), (B, TWO)):
            self.table.write(
                membership.register(WorkerRow(worker, 1, "live", name=worker[0], began_s=self.clock.wall().timestamp()))
            )
            new = NewLease(Shard(shard), frozenset(), TrimHorizon())
            self.table.write(leases.create("orders", new, self.clock.wall().timestamp()))
            self.table.write(leases.claim("orders", self.lease(shard), worker))

    def lease(self, shard):

        return lease_of(self.table.rows[leases.lease_key("orders", shard)])

    def reader(self, own=None):
        return FleetReader(Source(self.table, self.stream, "orders", self.clock), Limits(0.0, 60, 30, 15), own)

    def reporter(self, worker, *shards):
        events = EventLog(worker[0], self.clock)
        tally = Tally(CollectorRegistry(), self.clock, "orders", events=events)
        for shard in shards:
            tally.shard_opened(shard, lambda shard=shard: self.status(shard))
        audit = EventWriter(self.table, self.clock, events, worker)
        return tally, Reporter(self.table, self.clock, tally, audit, worker, lambda: worker)

    def status(self, shard, **facts):
        now = self.clock.now()
        told = {"open_records": 0, "retrying_records": 0, "oldest_open_arrival_s": None, "behind_s": 0.0, **facts}
        return ShardStatus(shard, 1, "000", last_progress=now, last_settled=now, **told)


async def test_what_each_worker_wrote_is_read_by_whoever_looks():
    """By one that is no worker at all."""
    scene = Scene()
    for worker, shard in ((A, ONE), (B, TWO)):
        tally, reporter = scene.reporter(worker, shard)
        tally.lease_changed(shard, "claimed")
        await reporter.tell()
    reader = scene.reader()
    reading = await reader.read()
    assert (reading.view.verdict.state, reading.problem) == (State.OK, "")
    assert reading.view.verdict.why == "2 workers read 2 shards, nothing waits."
    assert sorted(event.worker for event in await reader.events()) == ["a", "b"]


async def test_a_worker_that_stopped_telling_is_found_out(looptime):
    """Whatever it told last."""
    scene = Scene()
    for worker, shard in ((A, ONE), (B, TWO)):
        await scene.reporter(worker, shard)[1].tell()
    reader = scene.reader()

    await asyncio.sleep(16)
    await scene.reporter(A, ONE)[1].tell()
    view = (await reader.read()).view
    assert view.verdict.state is State.UNOWNED
    assert "Nothing was heard of its owner b" in view.shards[1].judged.why


async def test_a_worker_shows_itself_as_it_is_now_and_not_as_its_row_was():
    """Its own shards move with every picture."""
    scene = Scene()
    tally, reporter = scene.reporter(A, ONE)
    reader = scene.reader(reporter)
    await reader.read()
    tally.shard_opened(ONE, lambda: scene.status(ONE, open_records=7))
    tally.lease_changed(ONE, "claimed")
    tally.sample()
    assert (await reader.read()).view.shards[0].figures.open_records == 7
    assert [event.kind for event in await reader.events()] == ["lease_claimed"]
    assert len(await reader.history()) == 120


async def test_several_who_look_at_once_share_one_reading():
    """A wall of screens costs the table no more than one."""
    scene = Scene()
    reader = scene.reader()
    await reader.read()
    once = scene.table.queries
    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(reader.read())
    assert scene.table.queries == once
    await asyncio.sleep(FRESH_S)
    await reader.read()
    assert scene.table.queries == 2 * once


async def test_a_table_out_of_reach_leaves_the_last_picture_standing_and_says_so():
    """The shards go on being read; the screen must not pretend that it knows."""
    scene = Scene()
    await scene.reporter(A, ONE)[1].tell()
    reader = scene.reader()
    await reader.read()
    scene.table.is_down = True
    await asyncio.sleep(FRESH_S)
    reading = await reader.read()
    assert reading.problem.startswith("The lease table cannot be read: ")
    assert len(reading.view.shards) == 2


async def test_without_any_earlier_picture_the_failure_is_raised():
    """A command then fails instead of showing an empty fleet."""
    scene = Scene()
    scene.table.is_down = True
    with pytest.raises(Unavailable):
        await scene.reader().read()


async def test_the_state_has_a_since_only_when_the_change_was_seen():
    """Before somebody looked nobody knows since when."""
    scene = Scene()
    reader = scene.reader()
    assert (await reader.read()).since_s == 0
    row = scene.table.rows[membership.worker_key(B)]
    scene.table.write(membership.fence(B, int(row["hb"]), 0.0))
    await asyncio.sleep(5)
    reading = await reader.read()
    assert reading.view.verdict.state is State.UNOWNED
    assert reading.since_s == scene.clock.wall().timestamp()


async def test_events_that_could_not_be_written_are_written_later():
    """An audit must survive a hiccup of the table."""
    scene = Scene()
    tally, reporter = scene.reporter(A, ONE)
    tally.lease_changed(ONE, "claimed")
    scene.table.refuses = reports.EVENTS
    await reporter.tell()
    scene.table.refuses = ""
    await reporter.tell()
    assert [event.kind for event in await scene.reader().events()] == ["lease_claimed"]


async def test_a_stop_takes_the_figures_away_and_leaves_the_events():
    """A worker that is gone has no rates, and what it did stays to be read."""
    scene = Scene()
    tally, reporter = scene.reporter(A, ONE)
    stopped = []

    async def work():

        await asyncio.sleep(1)
        tally.lease_changed(ONE, "released")
        stopped.append(True)

    await reporter.beside(work())
    assert stopped
    assert [key for key in scene.table.rows if key.pk == reports.FIGURES] == []
    assert [event.kind for event in await scene.reader().events()] == ["lease_released"]


async def test_a_table_out_of_reach_ends_no_worker():
    """Telling is never worth a shard."""
    scene = Scene()
    _, reporter = scene.reporter(A, ONE)
    scene.table.is_down = True

    async def work():

        await asyncio.sleep(30)

    await reporter.beside(work())


async def test_the_event_log_keeps_the_last_ones():
    """A row has an end."""
    log = EventLog("a", LoopClock())
    for number in range(KEPT + 5):
        log.note("x", text=str(number))
    assert [event.text for event in log.events] == [str(number) for number in range(5, KEPT + 5)]


async def test_rates_are_those_of_the_last_half_minute_and_lag_that_shrinks_tells_how_fast():
    """What the page makes a time to catch up of."""
    scene = Scene()
    lag = [100.0]
    events = EventLog("a", scene.clock)
    tally = Tally(CollectorRegistry(), scene.clock, "orders", events=events)
    tally.shard_opened(ONE, lambda: scene.status(ONE, behind_s=lag[0]))
    for _ in range(8):
        tally.sample()
        await asyncio.sleep(5)
        tally.page_fetched(ONE, 100, 1000)
        tally.records_settled(ONE, 50, 0.0)
        tally.record_retried(ONE)
        tally.records_buried(ONE, 1, "Rejected")
        lag[0] -= 10
    report = tally.report()
    assert (report.rates.read, report.rates.settled) == (20.0, 10.0)
    assert (report.rates.failed, report.rates.buried) == (0.4, 0.2)
    assert report.shards[0].gain == 2.0
    assert report.buried == 8
