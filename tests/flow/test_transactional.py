"""Mode `transactional`: whatever is repeated, lost on its way or late, each record counts exactly once."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from flow.fleet import FAST_RETRY, Fleet, fleet, put_item

from headrace.core.batching import BatchRules
from headrace.core.filters import compile_filters
from headrace.core.verdict import RetryRules
from headrace.errors import Reject, Rejected, Throttled, Unavailable
from headrace.flow.workplace import ShardRules
from headrace.operations import Condition, Increment, Put, Update
from headrace.rows import UpdateRow
from headrace.transactions import Transaction

pytestmark = pytest.mark.looptime

RULES = ShardRules(batch=BatchRules(20), retry=FAST_RETRY)


def count(record):
    """A counter for each key, and one for each tenth record of any."""
    number = int(record.data)
    return [
        Increment({"pk": record.partition_key}, {"count": 1, "sum": number}),
        Increment({"pk": f"t{number % 10}"}, {"count": 1}),
    ]


async def count_later(record):
    await asyncio.sleep(0.01)
    return count(record)


def counted(f: Fleet) -> dict[str, int]:
    return {key[0]: item["count"] for key, item in f.sink.items.items() if "count" in item}


def expected(f: Fleet, keys: int = 10) -> dict[str, int]:
    counts: dict[str, int] = {}
    for number in range(f.produced):
        for key in (f"k{number % keys}", f"t{number % 10}"):
            counts[key] = counts.get(key, 0) + 1
    return counts


def total(f: Fleet) -> int:
    return sum(counted(f).values())


def commits(member) -> list[Transaction]:
    """What a worker sends from now on."""
    sent: list[Transaction] = []
    fault = member.link.fault

    def watch(what):
        if isinstance(what, Transaction):
            sent.append(what)
        return fault(what)

    member.link.fault = watch
    return sent


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_every_record_counts_once_and_its_checkpoint_needs_no_write_of_its_own(kind):
    """Up to 98 items in one request, and the lease's row with it."""
    async with fleet(shards=2) as f:
        f.put(1000)
        how = {"handle": count_later, "is_async": True} if kind == "async" else {"handle": count}
        member = f.start(shard=RULES, transactional=True, **how)
        sent, checkpoints = commits(member), []
        watch = member.link.fault
        member.link.fault = lambda what: (
            (
                checkpoints.append(what)
                if isinstance(what, UpdateRow) and set(what.assign) == {"ck", "upTo", "tput"}
                else None
            )
            or watch(what)
        )
        await f.until(f.last_checkpoints_reached)
        await asyncio.sleep(5)

        assert counted(f) == expected(f)
        assert checkpoints == []
        assert kind == "async" or len(sent) < 40  # an async handler is slower than the table here
        await f.stop()
        assert f.last_checkpoints_reached()


@pytest.mark.parametrize("remembers_tokens", [True, False])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_an_answer_that_is_lost_after_the_transaction_took_place_does_not_count_twice(kind, remembers_tokens):
    """Within ten minutes the token tells; after that the checkpoint in the lease's row."""
    async with fleet() as f:
        f.put(500)
        how = {"handle": count_later, "is_async": True} if kind == "async" else {"handle": count}
        member = f.start(shard=RULES, transactional=True, **how)
        chance = random.Random(1)

        def fault(what):
            if not isinstance(what, Transaction):
                return None
            if not remembers_tokens:
                f.transactions._done.clear()
            return chance.choice(["unanswered", "unanswered", "lost", None])

        member.link.fault = fault
        await f.until(f.last_checkpoints_reached)

        assert counted(f) == expected(f)
        assert len(f.calls) == f.produced


async def test_a_conflict_or_a_throttle_is_tried_again_and_spends_no_attempt():
    """Nobody's record is to blame."""
    async with fleet() as f:
        f.put(300)
        chance, commit = random.Random(1), f.transactions.commit

        async def busy(transaction, permit):
            if chance.random() < 0.7:
                raise Throttled("TransactionConflict")
            return await commit(transaction, permit)

        f.transactions.commit = busy
        f.start(handle=count, shard=ShardRules(retry=RetryRules(maximum_attempts=0)), transactional=True)
        await f.until(f.last_checkpoints_reached)

        assert counted(f) == expected(f)
        assert f.letters.letters == []


async def test_a_transaction_of_a_worker_that_lost_its_lease_is_refused_however_late_it_comes():
    """It hung in the network while the worker was silent; the new owner had done all of it again."""
    late = []
    async with fleet() as f:
        member = f.start("a", handle=count, shard=RULES, transactional=True)
        await asyncio.sleep(2)
        f.put(200)
        commit = f.transactions.commit

        async def delayed(transaction, permit):
            if not late:
                late.append(transaction)
                member.link.fault = lambda _: "lost"
                raise Unavailable("it hangs")
            return await commit(transaction, permit)

        f.transactions.commit = delayed
        await f.until(lambda: late)
        f.start("b", handle=count, shard=RULES, transactional=True)
        await f.until(f.last_checkpoints_reached)
        assert counted(f) == expected(f)

        f.transactions.write(late[0])
        assert counted(f) == expected(f)


async def test_a_transaction_that_takes_place_after_the_worker_gave_up_on_it_is_found_in_the_row():
    """The worker's own second try is refused by the checkpoint that the first one moved."""
    async with fleet() as f:
        member = f.start("a", handle=count, shard=RULES, transactional=True)
        f.put(100)
        loop, commit, tried = asyncio.get_running_loop(), f.transactions.commit, []

        async def late(transaction, permit):
            tried.append(transaction)
            if len(tried) % 2:
                loop.call_later(0.001, f.transactions.write, transaction)
                loop.call_later(0.002, f.transactions._done.clear)
                raise Unavailable("no answer")
            await asyncio.sleep(0.01)
            return await commit(transaction, permit)

        f.transactions.commit = late
        await f.until(f.last_checkpoints_reached)
        assert counted(f) == expected(f)
        assert not member.task.done()


# --- what is refused --------------------------------------------------------------------------------------------------


def picky(record):
    number = int(record.data)
    if number % 7 == 3:
        return Put({"pk": "taken", "n": number}, condition=Condition("attribute_not_exists(pk)"))
    if number % 11 == 5:
        return Put({"pk": f"nan-{number}", "n": float("nan")})
    if number % 13 == 6:
        return Increment({"pk": "text"}, {"count": 1})
    return [Increment({"pk": record.partition_key}, {"count": 1}), put_item(record)]


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_record_whose_write_is_refused_is_buried_alone_and_its_neighbours_are_written(kind, fold):
    """A condition of the user's, a value that DynamoDB does not have, a sum with what is no number."""

    async def later(record):
        return picky(record)

    async with fleet() as f:
        f.sink.tables["serving-table"] = {("taken",): {"pk": "taken"}, ("text",): {"pk": "text", "count": "many"}}
        f.put(300)
        how = {"handle": later, "is_async": True} if kind == "async" else {"handle": picky}
        rules = ShardRules(batch=BatchRules(100), retry=FAST_RETRY, folds=fold)
        f.start(shard=rules, transactional=True, **how)
        await f.until(f.last_checkpoints_reached)

        bad = [n for n in range(300) if n % 7 == 3 or n % 11 == 5 or n % 13 == 6]
        assert [int(letter.record.data) for letter in f.letters.letters] == bad
        assert {letter.reason for letter in f.letters.letters} == {"WriteRefused"}
        told = {letter.message for letter in f.letters.letters}
        assert "its condition does not hold: attribute_not_exists(pk)" in told
        assert sorted({item["n"] for item in f.sink.items.values() if "n" in item}) == [
            n for n in range(300) if n not in bad
        ]
        assert sum(f.sink.items[f"k{key}",]["count"] for key in range(10)) == 300 - len(bad)


async def test_where_nobody_says_which_write_was_refused_it_is_found_by_halving():
    """A request that is wrong as a whole."""
    async with fleet() as f:
        f.put(200)
        commit = f.transactions.commit

        async def strict(transaction, permit):
            if any(isinstance(effect, Put) and effect.item["n"] in {17, 90} for effect in transaction.operations):
                raise Rejected("ValidationException: too large")
            return await commit(transaction, permit)

        f.transactions.commit = strict
        f.start(shard=ShardRules(batch=BatchRules(100)), transactional=True)
        await f.until(f.last_checkpoints_reached)
        assert [int(letter.record.data) for letter in f.letters.letters] == [17, 90]
        assert {letter.message for letter in f.letters.letters} == {"ValidationException: too large"}
        assert sorted(f.written) == [n for n in range(200) if n not in {17, 90}]


async def test_a_record_that_asks_for_more_than_a_transaction_takes_is_buried_with_the_reason():
    """Its writes are never torn apart."""

    def wide(record):
        number = int(record.data)
        return [Put({"pk": f"{number}-{part}", "n": number}) for part in range(99 if number == 2 else 98)]

    async with fleet() as f:
        f.put(4)
        f.start(handle=wide, shard=RULES, transactional=True)
        await f.until(f.last_checkpoints_reached)
        assert [int(letter.record.data) for letter in f.letters.letters] == [2]
        assert "at most 98 items" in f.letters.letters[0].message
        assert len(f.sink.items) == 3 * 98


# --- the handler fails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_no_checkpoint_passes_a_record_that_waits_for_another_attempt(kind):
    """What lies behind it is written once it has succeeded; what is out of attempts is buried and the shard goes on."""
    failures = {5: 2, 30: 100}

    def flaky(record):
        number = int(record.data)
        if failures.get(number, 0) >= record.attempt:
            raise ValueError("not yet")
        if number == 40:
            raise Reject("never")
        return count(record)

    async def later(record):
        return flaky(record)

    async with fleet() as f:
        f.put(100)
        how = {"handle": later, "is_async": True} if kind == "async" else {"handle": flaky}
        f.start(shard=RULES, transactional=True, **how)
        await f.until(f.last_checkpoints_reached)

        assert [int(letter.record.data) for letter in f.letters.letters] == [30, 40]
        assert total(f) == 2 * 98
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())


async def test_what_no_filter_matches_is_passed_by_the_checkpoint():
    """Also where a whole page of it comes."""
    filters = compile_filters(('{"partitionKey": ["k1"]}',), "drop")
    async with fleet() as f:
        f.put(100)
        f.start(handle=count, shard=ShardRules(filters=filters), transactional=True)
        await f.until(f.last_checkpoints_reached)
        assert counted(f)["k1"] == 10
        assert total(f) == 20


async def test_a_handler_that_asks_for_nothing_moves_the_checkpoint_all_the_same():
    """Now and then with a write of its own."""
    async with fleet() as f:
        f.put(100)
        f.start(handle=lambda _: None, shard=RULES, transactional=True)
        await f.until(f.last_checkpoints_reached)
        assert f.sink.items == {}


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_what_was_reserved_in_flight_is_given_back_after_a_lapse(kind):
    """Else the shards of the worker would get narrower with each."""
    async with fleet(shards=2) as f:
        f.put(100)
        how = {"handle": count_later, "is_async": True} if kind == "async" else {"handle": count}
        member = f.start(shard=RULES, transactional=True, **how)
        await f.until(f.last_checkpoints_reached)
        whole = member.worker.incarnation._place.in_flight._free
        for _ in range(3):
            member.link.fault = lambda _: "lost"
            f.put(200)
            await asyncio.sleep(20)
            member.link.fault = lambda _: None
            await f.until(f.last_checkpoints_reached)
            await asyncio.sleep(1)
        assert member.worker.incarnation._place.in_flight._free == whole
        assert counted(f) == expected(f)


# --- fleets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
async def test_counters_are_exact_whatever_happens_to_the_workers_that_count(seed):
    """Kills, lapses, lost requests and answers, conflicts, transactions that come late, a split, a stop, a poison record."""
    chance = random.Random(seed)
    is_async = seed % 2 == 1

    def work(record):
        if int(record.data) % 101 == 50:
            raise ValueError("poison")
        return count(record)

    async def later(record):
        await asyncio.sleep(chance.random() / 20)
        return work(record)

    async with fleet(shards=2) as f:
        loop, commit = asyncio.get_running_loop(), f.transactions.commit

        async def stormy(transaction, permit):
            await asyncio.sleep(chance.random() / 10)
            what = chance.random()
            if what < 0.1:
                raise Throttled("TransactionConflict")
            if what < 0.2:
                loop.call_later(chance.uniform(0, 30), _late, f, transaction)
                raise Unavailable("it hangs")
            outcome = await commit(transaction, permit)
            if chance.random() < 0.1:
                f.transactions._done.clear()
                raise Unavailable("the answer was lost")
            return outcome

        f.transactions.commit = stormy

        def start(name):
            how = {"handle": later, "is_async": True} if is_async else {"handle": work}
            return f.start(name, shard=RULES, transactional=True, **how)

        start("w0")
        for turn in range(1, 6):
            f.put(chance.randint(50, 300))
            await asyncio.sleep(chance.uniform(0, 8))
            match chance.randrange(4):
                case 0:
                    await f.kill(chance.choice(list(f.members)))
                case 1:
                    member = f.members[chance.choice(list(f.members))]
                    member.link.fault = lambda _: "lost"
                    loop.call_later(chance.uniform(1, 25), setattr, member.link, "fault", lambda _: None)
                case 2:
                    with suppress(Rejected):  # it is closed
                        f.stream.split(chance.choice([shard for shard, lease in f.leases().items() if not lease.done]))
                case 3:
                    await f.stop(chance.choice(list(f.members)))
            start(f"w{turn}")
        await f.until(f.last_checkpoints_reached, within_s=600)
        await asyncio.sleep(40)

        poison = [number for number in range(f.produced) if number % 101 == 50]
        assert sorted({int(letter.record.data) for letter in f.letters.letters}) == poison
        assert total(f) == 2 * (f.produced - len(poison)), f"seed {seed}"


def _late(f: Fleet, transaction: Transaction) -> None:
    f.transactions._done.clear()
    f.transactions.write(transaction)


async def test_an_update_and_a_condition_see_what_earlier_records_of_the_key_left():
    """They go into another transaction where they cannot be told as one."""

    def work(record):
        number = int(record.data)
        key = {"pk": record.partition_key}
        if number < 10:
            return Put({**key, "version": 0})
        return Update(
            key, assign={"version": number}, condition=Condition("#v < :n", {":n": number}, {"#v": "version"})
        )

    async with fleet() as f:
        f.put(60)
        f.start(handle=work, shard=ShardRules(batch=BatchRules(100)), transactional=True)
        await f.until(f.last_checkpoints_reached)
        assert [f.sink.items[f"k{key}",]["version"] for key in range(10)] == list(range(50, 60))
        assert f.letters.letters == []
