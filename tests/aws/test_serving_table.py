"""What the sink does with good and bad days of its table. Time is virtual."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from aws.fake_dynamo import TABLE, FakeClient, FakeDynamo
from structlog.testing import capture_logs

from headrace.aws.patience import Patience
from headrace.aws.serving_table import ServingTable
from headrace.errors import AwsError, Denied, LeaseLost, NotFound, SettingsError, Throttled, Unavailable
from headrace.model import Delete, Put
from headrace.ports import Refusal
from headrace.testing.clock import LoopClock

pytestmark = pytest.mark.looptime


@pytest.fixture
def dynamo() -> FakeDynamo:
    return FakeDynamo()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
async def sink(dynamo, client) -> AsyncIterator[ServingTable]:
    """A checked sink that is running."""
    async with running(dynamo, client) as sink:
        yield sink


@asynccontextmanager
async def running(dynamo, client, *, depth: int = 16, unit: Callable[[], float] = lambda: 0.5):
    sink = ServingTable(dynamo, client, TABLE, Patience(LoopClock(), unit), depth=depth)
    await sink.check()
    task = asyncio.create_task(sink.run())
    await asyncio.sleep(0)
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.wait([task])


def puts(*keys, **attributes) -> list[tuple[int, Put]]:
    return [(index, Put({"pk": key, **attributes})) for index, key in enumerate(keys)]


def always() -> bool:
    return True


def names(count: int) -> list[str]:
    return [f"k{number:03}" for number in range(count)]


# --- good days -------------------------------------------------------------------------------------------------------


async def test_sixty_puts_are_three_requests_of_at_most_25(sink, dynamo):
    """Full requests first; every item is there when the future resolves."""
    assert await sink.submit(puts(*names(60), n=1), always) == {}
    assert [len(keys) for keys in dynamo.requests] == [25, 25, 10]
    assert len(dynamo.items) == 60
    assert dynamo.items[TABLE, "k007"] == {"pk": {"S": "k007"}, "n": {"N": "1"}}
    assert (sink.counts.written, sink.counts.requests) == (60, 3)


async def test_submissions_of_one_turn_share_requests(sink, dynamo):
    """Eight shards with few records each do not pay for eight requests."""
    futures = [sink.submit(puts(f"a{number}", f"b{number}"), always) for number in range(8)]
    for future in futures:
        assert await future == {}
    assert [len(keys) for keys in dynamo.requests] == [16]


async def test_deletes_go_with_puts(sink, dynamo):
    """Both kinds in one request; what is deleted is gone."""
    await sink.submit(puts("a", "b"), always)
    await sink.submit([(0, Delete({"pk": "a"})), (1, Put({"pk": "c"}))], always)
    assert dynamo.items.keys() == {(TABLE, "b"), (TABLE, "c")}
    assert len(dynamo.requests) == 2


async def test_nothing_to_write_is_done_at_once(sink, dynamo):
    """A batch whose handler asks for nothing."""
    assert await sink.submit([], always) == {}
    assert not dynamo.requests


async def test_no_more_requests_than_the_depth_are_under_way(dynamo, client):
    """The depth bounds connections and memory, and is used in full."""
    async with running(dynamo, client, depth=3) as sink:
        await sink.submit(puts(*names(300)), always)
    assert dynamo.most_under_way == 3
    assert len(dynamo.requests) == 12


async def test_a_hundred_puts_of_one_key_are_one_request(sink, dynamo):
    """Only the last is sent; all are settled by it."""
    assert await sink.submit([(n, Put({"pk": "hot", "n": n})) for n in range(100)], always) == {}
    assert dynamo.requests == [["hot"]]
    assert dynamo.items[TABLE, "hot"]["n"] == {"N": "99"}
    assert sink.counts.written == 100


async def test_writes_of_a_key_in_flight_wait_and_then_collapse(sink, dynamo):
    """The first put is on its way; the three behind it are one request, and a delete among them counts like a put."""
    first = sink.submit(puts("hot"), always)
    await asyncio.sleep(0.001)
    later = [sink.submit([(0, effect)], always) for effect in (Put({"pk": "hot"}), Delete({"pk": "hot"}))]
    later.append(sink.submit(puts("hot", n=3), always))
    for future in (first, *later):
        assert await future == {}
    assert dynamo.requests == [["hot"], ["hot"]]
    assert dynamo.items[TABLE, "hot"]["n"] == {"N": "3"}


async def test_one_number_in_two_spellings_is_never_twice_in_a_request(sink, dynamo, client):
    """DynamoDB would refuse the whole request."""
    assert await sink.submit(puts(1, Decimal("1.0"), 1.0), always) == {}
    assert dynamo.requests == [["1.0"]]


# --- throttling and outages ------------------------------------------------------------------------------------------


async def test_unprocessed_items_alone_are_sent_again_after_a_pause(sink, dynamo):
    """The others are settled; the rest waits half of 50 ms, the drawn part of the first step."""
    dynamo.script.append(lambda keys: keys[3:5])
    start = asyncio.get_running_loop().time()
    assert await sink.submit(puts(*names(10)), always) == {}
    assert dynamo.requests == [names(10), ["k003", "k004"]]
    assert len(dynamo.items) == 10
    assert sink.counts.unprocessed == 2
    assert asyncio.get_running_loop().time() - start == pytest.approx(0.005 + 0.025 + 0.005)


async def test_an_unprocessed_delete_or_number_key_is_recognised(sink, dynamo):
    """Whatever its kind of write and key."""
    dynamo.script.append(lambda keys: keys)
    assert await sink.submit([(0, Delete({"pk": "gone"})), (1, Put({"pk": 7}))], always) == {}
    assert dynamo.requests == [["gone", "7"]] * 2


async def test_an_answer_about_a_key_that_was_never_sent_settles_nothing(sink, dynamo):
    """An answer that makes no sense is no proof that anything was written."""
    dynamo.foreign = True
    assert await sink.submit(puts("a", "b"), always) == {}
    assert dynamo.requests == [["a", "b"]] * 2


@pytest.mark.parametrize(
    "error",
    [Throttled("slow"), Unavailable("cut"), Denied("no right"), NotFound("no table"), AwsError("unheard of")],
    ids=repr,
)
async def test_trouble_with_the_whole_request_is_tried_through_and_drops_nothing(sink, dynamo, error):
    """Forty failures in a row spend nobody's attempts; the log says so about once a minute."""
    dynamo.script.extend([error] * 40)
    with capture_logs() as logs:
        assert await sink.submit(puts("a", "b"), always) == {}
    assert dynamo.requests == [["a", "b"]] * 41
    assert dynamo.items.keys() == {(TABLE, "a"), (TABLE, "b")}
    seconds = asyncio.get_running_loop().time()
    assert 60 < seconds < 120
    assert [(entry["event"], entry["kind"], entry["error"]) for entry in logs] == (
        [("sink_write_failed", type(error).__name__, str(error))] * 2
    )
    lasting = not isinstance(error, (Throttled, Unavailable))
    assert {entry["log_level"] for entry in logs} == {"error" if lasting else "warning"}
    assert sink.counts.throttled + sink.counts.failed == 40


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("culprit", [0, 12, 24])
async def test_one_bad_item_of_25_is_found_and_the_24_others_are_written(sink, dynamo, culprit):
    """Halving: at most two requests a level, and AWS's own words as the reason."""
    dynamo.refuses = lambda item: item.get("pk") == {"S": f"k{culprit:03}"}
    refusals = await sink.submit(puts(*names(25)), always)
    assert refusals == {culprit: Refusal("One or more parameter values were invalid")}
    assert len(dynamo.items) == 24
    assert len(dynamo.requests) <= 11
    assert sink.counts.refused == 1


async def test_many_bad_items_are_all_found(sink, dynamo):
    """Every third one of a hundred."""
    dynamo.refuses = lambda item: int(item["pk"]["S"][1:]) % 3 == 0
    refusals = await sink.submit(puts(*names(100)), always)
    assert sorted(refusals) == list(range(0, 100, 3))
    assert len(dynamo.items) == 66


async def test_a_refused_put_does_not_take_the_earlier_one_of_its_key_with_it(sink, dynamo):
    """The two collapsed, the later is refused: the earlier one is written after all."""
    dynamo.refuses = lambda item: "bad" in item
    writes = [(0, Put({"pk": "a", "n": 1})), (1, Put({"pk": "a", "bad": 1})), (2, Put({"pk": "b"}))]
    assert (await sink.submit(writes, always)).keys() == {1}
    assert dynamo.items == {(TABLE, "a"): {"pk": {"S": "a"}, "n": {"N": "1"}}, (TABLE, "b"): {"pk": {"S": "b"}}}


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"pk": "x", "at": {"when": float("nan")}}, "attribute 'at.when': DynamoDB has neither NaN nor infinity"),
        ({"pk": "x", "what": object()}, "attribute 'what': DynamoDB has no type for object"),
        ({"pk": "x", "text": "\ud800"}, "surrogate"),
        ({"pk": "x", "map": {None: 1}}, "must be str, not NoneType"),
        ({"other": 1}, "attribute 'pk': the key attribute is missing"),
        ({"pk": True}, "attribute 'pk': a key must be a string"),
        ({"pk": "\ud800"}, "surrogate"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
async def test_an_item_that_cannot_be_encoded_is_refused_alone_and_costs_no_request(sink, dynamo, item, words):
    """Its neighbours go out together in one request."""
    refusals = await sink.submit([(0, Put({"pk": "a"})), (1, Put(item)), (2, Put({"pk": "b"}))], always)
    assert refusals.keys() == {1}
    assert words in refusals[1].reason
    assert dynamo.requests == [["a", "b"]]


async def test_a_record_with_several_writes_is_refused_when_one_of_them_is(sink, dynamo):
    """Under the record's one index; its other write is made."""
    refusals = await sink.submit([(7, Put({"pk": "a"})), (7, Put({"nothing": 1}))], always)
    assert refusals.keys() == {7}
    assert dynamo.items.keys() == {(TABLE, "a")}


async def test_only_bad_writes_are_answered_without_a_request(sink, dynamo):
    """Nothing is left to send."""
    assert (await sink.submit(puts(None, ["x"]), always)).keys() == {0, 1}
    assert (await sink.submit(puts("a", x=object()), always)).keys() == {0}
    assert not dynamo.requests


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
async def test_writes_to_one_key_take_effect_in_order_whatever_happens(dynamo, client, seed):
    """Few keys, many submitters, random latency, throttling, outages and unprocessed items: no write is ever overtaken."""
    chance = random.Random(seed)
    dynamo.latency_s = lambda: chance.expovariate(100)
    for _ in range(40):
        trouble = chance.choice([None, None, Throttled("t"), Unavailable("u"), "some"])
        if trouble == "some":
            dynamo.script.append(lambda keys: [key for key in keys if chance.random() < 0.5])
        elif trouble is not None:
            dynamo.script.append(trouble)
        else:
            dynamo.script.append(lambda keys: [])
    last: dict[str, int] = {}
    futures = []
    async with running(dynamo, client, depth=4, unit=chance.random) as sink:
        for number in range(0, 600, 10):
            keys = [f"k{chance.randrange(40)}" for _ in range(10)]
            last.update({key: number + place for place, key in enumerate(keys)})
            writes = [(place, Put({"pk": key, "n": number + place})) for place, key in enumerate(keys)]
            futures.append(sink.submit(writes, always))
            await asyncio.sleep(chance.expovariate(200))
        for future in futures:
            assert await future == {}
    assert {key: int(item["n"]["N"]) for (_, key), item in dynamo.items.items()} == last
    for wanted in last:
        effects = [int(item["n"]["N"]) for key, item in dynamo.applied if key == wanted]
        assert effects == sorted(effects)


# --- permits and waiters ---------------------------------------------------------------------------------------------


class Lease:
    """A permit that a test takes away."""

    def __init__(self) -> None:
        self.held = True

    def permits(self) -> bool:
        return self.held


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


async def test_no_write_is_ever_sent_without_its_permit(dynamo, client):
    """Shards lose their leases at random moments, under throttling and unprocessed items."""
    chance = random.Random(7)
    leases = [Lease() for _ in range(8)]
    dynamo.script.extend([Throttled("t") if chance.random() < 0.5 else (lambda keys: keys[::2]) for _ in range(100)])
    trespasses = []
    dynamo.on_send = lambda keys: trespasses.extend(key for key in keys if not leases[int(key[0])].held)
    futures = []
    async with running(dynamo, client, unit=chance.random) as sink:
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


async def test_a_waiter_that_left_takes_its_queued_writes_with_it(dynamo, client):
    """Cancelled before the only writer came to it: never sent; the others are."""
    async with running(dynamo, client, depth=1) as sink:
        first = sink.submit(puts(*names(25)), always)
        await asyncio.sleep(0.001)
        left, stayed = sink.submit(puts("left"), always), sink.submit(puts("stayed"), always)
        left.cancel()
        await first
        assert await stayed == {}
    assert [key for keys in dynamo.requests[1:] for key in keys] == ["stayed"]


async def test_when_the_sink_stops_every_waiter_is_told(dynamo, client):
    """In flight, queued, and submitted afterwards: LeaseLost, and none hangs."""
    dynamo.latency_s = lambda: 1000.0
    async with running(dynamo, client, depth=1) as sink:
        futures = [sink.submit(puts(*names(25)), always), sink.submit(puts("queued"), always)]
        await asyncio.sleep(1)
    futures.append(sink.submit(puts("late"), always))
    for future in futures:
        with pytest.raises(LeaseLost, match="stopped"):
            await future


# --- tables ----------------------------------------------------------------------------------------------------------


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


async def test_the_check_learns_the_key_partition_key_first(dynamo):
    """Whatever the order of the description."""
    client = FakeClient(keys=(("device", "HASH", "S"), ("at", "RANGE", "N")), status="UPDATING")
    sink = ServingTable(dynamo, client, TABLE, Patience(LoopClock(), lambda: 0.5))
    assert sink.key_attributes == ()
    await sink.check()
    assert sink.key_attributes == ("device", "at")


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
    sink = ServingTable(dynamo, client, TABLE, Patience(LoopClock(), lambda: 0.5))
    with pytest.raises(SettingsError, match=words) as caught:
        await sink.check()
    assert (caught.value.setting, caught.value.value) == ("HEADRACE_SINK_TABLE", TABLE)
