"""Who may still write, who still waits, and where to. Time is virtual."""

import asyncio
import random

import pytest
from aws.fake_dynamo import TABLE, FakeClient
from aws.sinks import Lease, always, names, puts, running

from headrace.aws.key_schema import serving_key
from headrace.aws.patience import Patience
from headrace.aws.serving_table import LONGEST_CALL_S, ServingTable, SinkRules
from headrace.errors import LeaseLost, SettingsError, Throttled
from headrace.operations import Put
from headrace.testing.clock import LoopClock

pytestmark = pytest.mark.looptime


async def test_a_lost_lease_ends_the_retries_and_nothing_more_is_sent(sink, dynamo):
    """The waiter gets LeaseLost; not one request starts after the permit is gone."""
    lease = Lease()
    dynamo.script.extend([Throttled("t")] * 1000)
    future = sink.submit(puts(*names(60)), lease.permits)
    await asyncio.sleep(10)
    lease.held = False
    sent = len(dynamo.requests)
    with pytest.raises(LeaseLost):
        await future
    await asyncio.sleep(100)
    assert len(dynamo.requests) == sent
    assert not dynamo.items


async def test_a_lost_lease_takes_only_its_own_writes_out_of_a_shared_request(sink, dynamo):
    """Another shard's writes in the same chunk go on, the ones they had replaced too."""
    lost, kept = Lease(), Lease()
    dynamo.script.append(Throttled("t"))
    theirs = sink.submit([(0, Put({"pk": "both", "n": 1})), (1, Put({"pk": "theirs"}))], kept.permits)
    mine = sink.submit([(0, Put({"pk": "both", "n": 2})), (1, Put({"pk": "mine"}))], lost.permits)
    await asyncio.sleep(0.001)
    lost.held = False
    with pytest.raises(LeaseLost):
        await mine
    assert await theirs == {}
    assert dynamo.requests == [["both", "theirs", "mine"], ["both", "theirs"]]
    assert dynamo.items[TABLE, "both"]["n"] == {"N": "1"}


async def test_the_keys_of_a_lost_lease_can_be_written_under_the_next_one(sink, dynamo):
    """The shard comes back to this worker: nothing of the old epoch stands in its way."""
    lease = Lease()
    dynamo.script.append(Throttled("t"))
    old = [sink.submit(puts("a", n=n), lease.permits) for n in range(3)]
    await asyncio.sleep(0.001)
    lease.held = False
    await asyncio.wait(old)
    assert await sink.submit(puts("a", n=9), always) == {}
    assert dynamo.items[TABLE, "a"]["n"] == {"N": "9"}


async def test_the_permit_of_a_shard_is_asked_once_for_a_request_of_many_submissions(sink, dynamo):
    """It looks at two clocks, and a request holds the writes of many batches."""
    asked = []

    class Shard:
        def __init__(self, name: str) -> None:
            self.name = name

        def permits(self) -> bool:
            asked.append(self.name)
            return True

    shards = [Shard("a"), Shard("b")]
    await asyncio.wait([sink.submit(puts(f"k{number}"), shards[number % 2].permits) for number in range(20)])
    assert len(dynamo.requests) == 1
    assert sorted(asked) == ["a", "b"]


async def test_a_waiter_that_left_takes_its_writes_out_of_a_shared_request(sink, dynamo):
    """Nobody would learn of them; the others of the same shard go on."""
    dynamo.script.append(Throttled("t"))
    lease = Lease()
    gone, stays = sink.submit(puts("gone"), lease.permits), sink.submit(puts("stays"), lease.permits)
    await asyncio.sleep(0.001)
    gone.cancel()
    assert await stays == {}
    assert dynamo.requests == [["gone", "stays"], ["stays"]]


async def test_no_write_is_ever_sent_without_its_permit(dynamo, client, native):
    """Shards lose their leases at random moments, under throttling and unprocessed items."""
    chance = random.Random(7)
    leases = [Lease() for _ in range(8)]
    dynamo.script.extend([Throttled("t") if chance.random() < 0.5 else (lambda keys: keys[::2]) for _ in range(100)])
    trespasses = []
    dynamo.on_send = lambda keys: trespasses.extend(key for key in keys if not leases[int(key[0])].held)
    futures = []
    async with running(dynamo, client, native, unit=chance.random) as sink:
        for number in range(100):
            shard = chance.randrange(len(leases))
            keys = [f"{shard}-{number}-{place}" for place in range(20)]
            futures.append(sink.submit(puts(*keys), leases[shard].permits))
            if number % 20 == 19:
                leases[number // 20].held = False
            await asyncio.sleep(chance.expovariate(50))
        await asyncio.wait(futures)
    assert not trespasses
    outcomes = [type(future.exception()) for future in futures]
    assert set(outcomes) == {LeaseLost, type(None)}


async def test_a_waiter_that_left_takes_its_queued_writes_with_it(dynamo, client, native):
    """Cancelled before the only writer came to it: never sent; the others are."""
    async with running(dynamo, client, native, depth=1) as sink:
        first = sink.submit(puts(*names(25)), always)
        await asyncio.sleep(0.001)
        left, stayed = sink.submit(puts("left"), always), sink.submit(puts("stayed"), always)
        left.cancel()
        await first
        assert await stayed == {}
    assert [key for keys in dynamo.requests[1:] for key in keys] == ["stayed"]


async def test_when_the_sink_stops_every_waiter_is_told(dynamo, client, native):
    """In flight, queued, and submitted afterwards: LeaseLost, and none hangs."""
    dynamo.latency_s = lambda: 1000.0
    async with running(dynamo, client, native, depth=1) as sink:
        futures = [sink.submit(puts(*names(25)), always), sink.submit(puts("queued"), always)]
        await asyncio.sleep(1)
    futures.append(sink.submit(puts("late"), always))
    for future in futures:
        with pytest.raises(LeaseLost, match="stopped"):
            await future


async def test_effects_may_name_other_tables_and_share_the_request(sink, dynamo, client):
    """The other table's key is learned once; equal keys in two tables are two items."""
    writes = [(0, Put({"pk": "a"}, table="other")), (1, Put({"pk": "a"}))]
    assert await sink.submit(writes, always) == {}
    assert await sink.submit(writes, always) == {}
    assert dynamo.items.keys() == {("other", "a"), (TABLE, "a")}
    assert dynamo.requests[-1] == ["a", "a"]
    assert client.asked == [TABLE, "other"]


async def test_naming_the_sinks_own_table_is_naming_none(sink, dynamo):
    """Two writes to one item: never in one request."""
    assert await sink.submit([(0, Put({"pk": "a"}, table=TABLE)), (1, Put({"pk": "a", "n": 2}))], always) == {}
    assert dynamo.requests == [["a"]]
    assert dynamo.items[TABLE, "a"]["n"] == {"N": "2"}


async def test_a_table_that_cannot_be_described_holds_up_only_its_own_writes(sink, dynamo, client):
    """Until it can; order within the table is kept, and a missing key is refused then."""
    client.failures.extend(["ResourceNotFoundException", "AccessDeniedException", "ThrottlingException"])
    held = sink.submit([(0, Put({"pk": "a", "n": 1}, table="new")), (1, Put({"x": 1}, table="new"))], always)
    assert await sink.submit(puts("b"), always) == {}
    assert not held.done()
    newer = sink.submit([(0, Put({"pk": "a", "n": 2}, table="new"))], always)
    assert (await held).keys() == {1}
    assert await newer == {}
    assert dynamo.items["new", "a"]["n"] == {"N": "2"}


async def test_a_lost_lease_ends_the_wait_for_a_table(sink, dynamo, client):
    """The table never comes; the waiter is not kept for ever."""
    client.failures.extend(["ResourceNotFoundException"] * 10_000)
    lease = Lease()
    future = sink.submit([(0, Put({"pk": "a"}, table="new"))], lease.permits)
    await asyncio.sleep(1)
    lease.held = False
    with pytest.raises(LeaseLost):
        await future


async def test_a_table_s_key_is_learnt_partition_key_first():
    """Whatever the order of the description, and while the table is being changed."""
    keys = ("device", "HASH", "S"), ("at", "RANGE", "N")
    for told in (keys, keys[::-1]):
        assert await serving_key(FakeClient(keys=told, status="UPDATING"), TABLE) == ("device", "at")


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (FakeClient(status="CREATING"), "CREATING"),
        (FakeClient(status="INACCESSIBLE_ENCRYPTION_CREDENTIALS"), "INACCESSIBLE"),
        (FakeClient(failures=["ResourceNotFoundException"]), "no such table"),
        (FakeClient(failures=["AccessDeniedException"]), "DescribeTable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_table_that_cannot_be_used_is_the_users_setting_to_mend(dynamo, client, words):
    """Before anything starts, naming the setting and its value."""
    client.failures = type(FakeClient().failures)(client.failures)
    sink = ServingTable(dynamo, client, SinkRules(TABLE), Patience(LoopClock(), lambda: 0.5))
    with pytest.raises(SettingsError, match=words) as caught:
        await sink.check()
    assert (caught.value.setting, caught.value.value) == ("HEADRACE_SINK_TABLE", TABLE)


@pytest.mark.parametrize("tries", [1, 2])
async def test_writes_that_may_have_been_sent_twice_are_under_way_for_as_long_as_a_call_may_take(sink, dynamo, tries):
    """The wire sends once more what met a connection that was closing, and asks for the permit each time."""
    lease, post = Lease(), dynamo.post

    async def post_again(target, body, permit):
        for _ in range(tries - 1):
            assert permit()
        return await post(target, body, permit)

    dynamo.post = post_again
    loop = asyncio.get_running_loop()
    await sink.submit(puts("a"), lease.permits)
    began = loop.time()
    await sink.calls_ended(lease.permits)
    assert loop.time() - began == (LONGEST_CALL_S if tries > 1 else 0)
