"""What becomes of records: written, tried again, buried."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta

import pytest
from flow.fleet import FAST_RETRY, RULES, fleet, put_item

from headrace.core.batching import BatchRules
from headrace.core.filters import compile_filters
from headrace.core.verdict import RetryRules
from headrace.errors import Denied, NotFound, Reject, Rejected, Retry, Unavailable
from headrace.flow.workplace import ShardRules
from headrace.model import Checkpoint
from headrace.operations import Put

pytestmark = pytest.mark.looptime


async def test_everything_put_is_handled_once_and_written_and_checkpointed():
    """The plain case, over several shards."""
    async with fleet(shards=4) as f:
        f.put(1000)
        f.start()

        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached, within_s=3)

        assert Counter(f.written) == Counter(range(1000))
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())


async def test_a_failing_record_holds_back_its_own_key_and_no_other():
    """Retried alone; later records of the key wait behind it, in order; the others are written meanwhile."""
    failures = 2

    def handle(record):
        nonlocal failures
        if record.data == b"3" and failures:
            failures -= 1
            raise RuntimeError("not now")
        return put_item(record)

    async with fleet() as f:
        f.put(100)
        f.start(handle=handle)
        await f.until(lambda: len(set(f.written)) >= 90)
        assert {int(n) for n in range(3, 100, 10)}.isdisjoint(f.written), "the key of record 3 waits"

        await f.until(f.all_written)

        assert [n for n in f.written if n % 10 == 3] == list(range(3, 100, 10))
        assert [call.record.attempt for call in f.calls if call.record.data == b"3"] == [1, 2, 3]
        assert all(call.record.attempt == 1 for call in f.calls if call.record.data != b"3")
        assert f.letters.letters == []


async def test_a_record_out_of_attempts_is_buried_with_everything_needed_to_understand_it():
    """2 retries: 3 calls; then its key goes on."""

    def handle(record):
        if record.data == b"3":
            raise ValueError("never")
        return put_item(record)

    async with fleet() as f:
        f.put(100)
        f.start(handle=handle)
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)

        (letter,) = f.letters.letters
        assert (letter.reason, letter.error, letter.message) == ("RetryAttemptsExhausted", "ValueError", "never")
        assert (letter.attempts, letter.record.data, letter.record.partition_key) == (3, b"3", "k3")
        assert letter.record.shard_id == "shardId-000000000000"
        assert letter.epoch == 1
        assert Counter(f.written) == Counter(set(range(100)) - {3})
        assert [n for n in f.written if n % 10 == 3] == list(range(13, 100, 10))


async def test_a_checkpoint_waits_for_the_record_that_is_being_retried():
    """A crash must bring it again; all behind it may be repeated, nothing is skipped."""

    def handle(record):
        if record.data == b"3":
            raise Retry(timedelta(seconds=30))
        return put_item(record)

    async with fleet() as f:
        f.put(100)
        f.start(handle=handle)
        await f.until(lambda: len(f.written) >= 90)
        await asyncio.sleep(5)

        (lease,) = f.leases().values()
        (third,) = [call.record for call in f.calls if call.record.data == b"2"]
        assert lease.checkpoint == Checkpoint.at(third.sequence_number)


async def test_a_handler_that_rejects_buries_at_once_with_its_reason():
    """No attempt is wasted on what cannot get better."""

    def handle(record):
        if record.data == b"3":
            raise Reject("no such device")
        return put_item(record)

    async with fleet() as f:
        f.put(20)
        f.start(handle=handle)
        await f.until(f.all_written)

        (letter,) = f.letters.letters
        assert (letter.reason, letter.message, letter.attempts) == ("Rejected", "no such device", 1)


async def test_a_handler_that_asks_for_time_is_called_when_it_said():
    """Retry(after) replaces the backoff."""

    def handle(record):
        if record.attempt == 1:
            raise Retry(timedelta(seconds=7))
        return put_item(record)

    async with fleet() as f:
        f.put(1)
        f.start(handle=handle)
        await f.until(f.all_written)

        first, second = f.calls
        assert second.at - first.at == pytest.approx(7, abs=0.1)


async def test_what_the_table_refuses_is_buried_and_its_neighbours_are_written():
    """An item that is too large costs itself."""
    async with fleet() as f:
        f.sink._refuses = lambda effect: "Item size has exceeded the maximum" if effect.item["n"] == 3 else None
        f.put(50)
        f.start()
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)

        (letter,) = f.letters.letters
        assert (letter.reason, letter.message) == ("WriteRefused", "Item size has exceeded the maximum")
        assert Counter(f.written) == Counter(set(range(50)) - {3})


@pytest.mark.parametrize("answer", ["text", 7, object()])
async def test_an_answer_that_no_handler_may_give_is_the_records_failure(answer):
    """Not the worker's end."""
    async with fleet() as f:
        f.put(3)
        f.start(handle=lambda record: answer if record.data == b"1" else put_item(record))
        await f.until(f.all_written)

        (letter,) = f.letters.letters
        assert letter.error == "TypeError"


async def test_records_that_ask_for_nothing_or_for_several_writes_are_settled_all_the_same():
    """None, a list, a delete."""

    def handle(record):
        n = int(record.data)
        return [Put({"pk": f"{n}-{part}", "n": n}) for part in range(n % 3)] or None

    async with fleet() as f:
        f.put(30)
        f.start(handle=handle)
        await f.until(f.last_checkpoints_reached)

        assert Counter(f.written) == Counter({n: n % 3 for n in range(30) if n % 3})


async def test_a_dead_letter_destination_that_is_down_holds_the_shard_and_drops_nothing():
    """The checkpoint passes the record only once its letter is durable."""

    def handle(record):
        if record.data == b"3":
            raise Reject("bad")
        return put_item(record)

    async with fleet() as f:
        f.letters.fail_next(Unavailable("down"), times=12)
        f.put(20)
        worker = f.start(handle=handle)
        await f.until(lambda: len(worker.observer.named("destination_failed")) >= 10)
        (lease,) = f.leases().values()
        (third,) = [call.record for call in f.calls if call.record.data == b"3"]
        assert lease.checkpoint < Checkpoint.at(third.sequence_number)

        await f.until(f.last_checkpoints_reached)

        assert [letter.record.data for letter in f.letters.letters] == [b"3"]
        assert len(f.calls) == 20, "a destination that is down spends no attempts"


@pytest.mark.parametrize("error", [Denied("no permission"), NotFound("no table"), Rejected("ValidationException")])
async def test_a_destination_that_refuses_holds_the_shard_until_somebody_mends_it(error):
    """The worker stays, and so does the record."""

    def handle(record):
        if record.data == b"3":
            raise Reject("bad")
        return put_item(record)

    async with fleet() as f:
        f.letters.fail_next(error, times=5)
        f.put(20)
        f.start(handle=handle)
        await f.until(f.last_checkpoints_reached, within_s=300)

        assert [letter.record.data for letter in f.letters.letters] == [b"3"]


async def test_throttled_writes_spend_no_attempts():
    """AWS's trouble is not the record's."""
    async with fleet() as f:
        f.sink.fail_next(50)
        f.put(100)
        f.start()
        await f.until(f.all_written)

        assert len(f.calls) == 100
        assert f.letters.letters == []


async def test_an_async_handler_works_on_many_keys_at_once_and_on_each_in_order():
    """100 records of 1 s each, 10 keys: 10 s, not 100; no key overtakes itself."""
    running: dict[str, int] = defaultdict(int)

    async def handle(record):
        running[record.partition_key] += 1
        assert running[record.partition_key] == 1, "two records of one key at once"
        await asyncio.sleep(1)
        running[record.partition_key] -= 1
        return put_item(record)

    async with fleet() as f:
        f.put(100)
        f.start(handle=handle, is_async=True)
        started = f.clock.now()
        await f.until(f.all_written)

        assert f.clock.now() - started < 15
        assert all(numbers == sorted(numbers) for numbers in f.by_key().values())
        assert sorted(f.written) == list(range(100))


async def test_an_async_handler_that_fails_is_retried_like_any_other():
    """Key by key."""

    async def handle(record):
        await asyncio.sleep(0)
        if record.data in {b"3", b"13"}:
            raise RuntimeError("never")
        return put_item(record)

    async with fleet() as f:
        f.put(40)
        f.start(handle=handle, is_async=True)
        await f.until(f.all_written)

        assert [(letter.record.data, letter.attempts) for letter in f.letters.letters] == [(b"3", 3), (b"13", 3)]
        assert [n for n in f.written if n % 10 == 3] == [23, 33]


async def test_a_record_past_the_age_limit_is_buried_without_a_call():
    """And the younger ones behind it are handled."""
    async with fleet() as f:
        f.put(5)
        await asyncio.sleep(100)
        f.put(5)
        f.start(shard=ShardRules(retry=RetryRules(maximum_age_s=60)))
        await f.until(f.all_written)

        assert [letter.reason for letter in f.letters.letters] == ["RecordAgeExceeded"] * 5
        assert sorted(f.written) == [5, 6, 7, 8, 9]
        assert len(f.calls) == 5


async def test_a_record_that_grows_too_old_while_it_is_retried_is_buried_then():
    """With unlimited attempts the age limit is what ends it."""

    def handle(_):
        raise RuntimeError("never")

    async with fleet() as f:
        f.put(1)
        f.start(handle=handle, shard=ShardRules(retry=RetryRules(maximum_attempts=-1, maximum_age_s=60)))
        await f.until(f.all_written, within_s=300)

        (letter,) = f.letters.letters
        assert letter.reason == "RecordAgeExceeded"
        assert letter.attempts == len(f.calls) > 3


async def test_a_batch_waits_for_its_window_and_no_longer():
    """Window 5 s, far fewer records than the size."""
    async with fleet() as f:
        f.start(shard=ShardRules(retry=FAST_RETRY, batch=BatchRules(size=100, window_s=5.0)))
        await asyncio.sleep(5)
        f.put(10)
        put_at = f.clock.now()
        await f.until(f.all_written)

        assert 5 <= f.calls[0].at - put_at <= 6


async def test_a_record_that_waits_for_its_batch_shows_in_the_lag():
    """A window of five minutes must not look like a shard at its tip."""
    async with fleet() as f:
        worker = f.start(shard=ShardRules(batch=BatchRules(size=100, window_s=300.0)))
        await f.until(lambda: worker.observer.running)
        f.put(1)
        put_at = f.clock.wall().timestamp()
        await asyncio.sleep(60)

        (status,) = (ask() for ask in worker.observer.running.values())
        assert status.open_records == 1
        assert status.oldest_open_arrival_s == pytest.approx(put_at, abs=0.1)


async def test_progress_stands_still_while_one_record_holds_the_mark_and_goes_on_at_the_tip():
    """What tells a stuck shard from an idle one."""

    def handle(record):
        if record.data == b"0":
            raise Retry(timedelta(seconds=50))
        return put_item(record)

    async with fleet() as f:
        worker = f.start(handle=handle, shard=ShardRules(retry=FAST_RETRY))
        await asyncio.sleep(20)
        (status,) = (ask() for ask in worker.observer.running.values())
        assert f.clock.now() - status.last_progress <= 1

        f.put(100)
        await asyncio.sleep(40)

        (status,) = (ask() for ask in worker.observer.running.values())
        assert f.clock.now() - status.last_progress >= 39


async def test_records_that_no_filter_matches_are_settled_without_a_call_and_counted():
    """The checkpoint passes them; those that cannot be looked into go where the policy says."""
    filters = compile_filters(['{"data": [{"numeric": ["<", 5]}]}'], "dead_letter")
    async with fleet(shards=1) as f:
        w = f.start("w", shard=replace(RULES, filters=filters))
        f.put(10)
        broken = f.stream.put("k0", b"not json")
        await f.until(lambda: f.letters.letters, within_s=20)
        await f.until(lambda: next(iter(f.leases().values())).checkpoint.sequence_number == broken.sequence_number)

        assert sorted(int(call.record.data) for call in f.calls) == [0, 1, 2, 3, 4]
        assert [(x.reason, x.record.data) for x in f.letters.letters] == [("NotJson", b"not json")]
        assert sum(n for _, n, _ in w.observer.named("records_filtered")) == 5
        assert sum(n for _, n, _ in w.observer.named("records_settled")) == 5
