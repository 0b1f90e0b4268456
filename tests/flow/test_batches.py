"""Batch and Lambda handlers: batches of a shard in lanes, through the event source mapping's machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from flow.fleet import fleet, put_item

from headrace.core.answers import Reports
from headrace.core.batching import BatchRules
from headrace.core.filters import compile_filters
from headrace.core.portions import Bisect
from headrace.core.verdict import RetryRules
from headrace.errors import CallFailed, NotCalled, Reject, Unavailable
from headrace.flow.workplace import LaneRules, ShardRules
from headrace.model import Record
from headrace.operations import Put
from headrace.ports import BatchContext, BatchHandler

pytestmark = pytest.mark.looptime


class Calls:
    """A handler that remembers its calls and answers as `answer` says; what it handled is written, as by itself."""

    def __init__(self, answer=lambda _: None, seconds=0.0, size_of=None, overhead=0):
        self.batches: list[list[int]] = []
        self.began: list[tuple[float, list[int]]] = []
        self.contexts: list[BatchContext] = []
        self.sequence_numbers: dict[int, int] = {}
        self.now = 0
        self.most = 0
        self._answer = answer
        self._seconds = seconds
        self.handler = BatchHandler("test", self.call, size_of, overhead)

    async def call(self, records: Sequence[Record], context: BatchContext):
        numbers = [int(record.data) for record in records]
        self.batches.append(numbers)
        self.sequence_numbers |= {int(record.data): record.sequence_number for record in records}
        self.contexts.append(context)
        self.began.append((asyncio.get_running_loop().time(), numbers))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self._seconds(numbers) if callable(self._seconds) else self._seconds)
            answer = self._answer(records)
        finally:
            self.now -= 1
        return [put_item(record) for record in records] if answer is None else answer


def poison(*bad):
    def answer(records):
        if found := [int(record.data) for record in records if int(record.data) in bad]:
            raise ValueError(f"bad {found}")

    return answer


def rules(size=100, retries=2, **more):
    lanes = LaneRules(**{name: more.pop(name) for name in list(more) if name in LaneRules.__slots__})
    window_s = more.pop("window_s", 0.0)
    return ShardRules(batch=BatchRules(size, window_s), retry=RetryRules(retries), lanes=lanes, **more)


async def test_batches_go_out_in_order_and_what_they_return_is_written():
    """One lane: a shard's records in batches of at most the size, each handled once."""
    calls = Calls()
    async with fleet() as f:
        f.put(250)
        f.start(handle_batch=calls.handler, shard=rules(size=100))
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)

        assert calls.batches == [list(range(100)), list(range(100, 200)), list(range(200, 250))]
        assert len({context.request_id for context in calls.contexts}) == 3


async def test_one_poison_record_among_ten_thousand_is_buried_alone():
    """10,000 records, 10 retries: 39 calls where each split is at the first error (section 2.5's arithmetic)."""
    calls = Calls(poison(6789))
    async with fleet() as f:
        f.put(10_000)
        f.start(handle_batch=calls.handler, shard=rules(size=10_000, retries=10, window_s=5.0))
        await f.until(lambda: f.letters.letters, within_s=4000)
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)

        (letter,) = f.letters.letters
        assert (letter.reason, letter.error, letter.attempts) == ("RetryAttemptsExhausted", "ValueError", 11)
        assert "bad [6789]" in letter.message
        assert "ValueError" in letter.traceback
        assert letter.record.data == b"6789"
        assert [attempt.records for attempt in letter.log] == [10_000, 1]
        assert letter.request_id in {context.request_id for context in calls.contexts}
        assert sorted(set(f.written)) == [n for n in range(10_000) if n != 6789]
        assert len(calls.batches) == 39


async def test_without_bisect_a_batch_is_retried_and_buried_whole():
    """N = 2: three calls, and every record of it is a dead letter; the next batch goes on."""
    calls = Calls(poison(3))
    async with fleet() as f:
        f.put(20)
        f.start(handle_batch=calls.handler, shard=rules(size=10, bisect=Bisect.OFF))
        await f.until(f.all_written)

        assert calls.batches == [list(range(10))] * 3 + [list(range(10, 20))]
        assert [int(letter.record.data) for letter in f.letters.letters] == list(range(10))


async def test_an_answer_that_names_a_record_settles_what_was_before_it():
    """As a Lambda handler answers, in JSON: progress is free, and the rest has a budget of its own."""

    def answer(records):
        for record in records:
            if record.data == b"2":
                failures = [{"itemIdentifier": str(record.sequence_number)}]
                return json.dumps({"batchItemFailures": failures}).encode()
        return b"null"

    calls = Calls(answer)
    async with fleet() as f:
        f.put(3)
        f.start(handle_batch=calls.handler, shard=rules(size=3, retries=3, reports=Reports.ALWAYS))
        await f.until(lambda: f.letters.letters)
        await f.until(f.last_checkpoints_reached)

        assert calls.batches == [[0, 1, 2], [2], [2], [2], [2]], (
            "recorded: 5 deliveries of the bad one, 1 of the others"
        )
        (letter,) = f.letters.letters
        assert (letter.attempts, letter.is_function_error) == (4, False)
        assert letter.error == "BatchItemFailure"


async def test_a_handler_that_was_not_called_has_spent_no_attempt():
    """No process was free, say: the batch comes again until it is."""
    refusals = 7

    def answer(_):
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise NotCalled("no process")

    async with fleet() as f:
        f.put(5)
        f.start(handle_batch=Calls(answer).handler, shard=rules(retries=0))
        await f.until(f.all_written)

        assert f.letters.letters == []


async def test_what_failed_in_another_process_is_told_as_it_was_there():
    """Class, text and traceback of the user's own error."""

    def answer(_):
        raise CallFailed("KeyError", "'device'", "Traceback: app.py, line 3")

    async with fleet() as f:
        f.put(1)
        f.start(handle_batch=Calls(answer).handler, shard=rules(retries=0))
        await f.until(lambda: f.letters.letters)

        (letter,) = f.letters.letters
        assert (letter.error, letter.message, letter.traceback) == ("KeyError", "'device'", "Traceback: app.py, line 3")
        assert letter.is_function_error


async def test_a_rejected_record_is_split_off_its_batch_and_buried_at_once():
    """A Reject of a batch of many says which one only after the split."""

    def answer(records):
        if any(record.data == b"3" for record in records):
            raise Reject("no such device")

    calls = Calls(answer)
    async with fleet() as f:
        f.put(8)
        f.start(handle_batch=calls.handler, shard=rules(size=8, retries=5))
        await f.until(f.all_written)

        (letter,) = f.letters.letters
        assert (letter.reason, letter.message, letter.attempts) == ("Rejected", "no such device", 1)
        assert calls.batches == [[*range(8)], [0, 1, 2, 3], [0, 1], [2, 3], [2], [3], [4, 5, 6, 7]]


async def test_a_write_that_the_table_refuses_is_its_records_failure():
    """Bisect finds whose it was; it is not tried again."""
    async with fleet() as f:
        f.sink._refuses = lambda effect: "too large" if isinstance(effect, Put) and effect.item["n"] == 5 else None
        f.put(8)
        f.start(handle_batch=Calls().handler, shard=rules(size=8))
        await f.until(f.all_written)

        (letter,) = f.letters.letters
        assert (letter.reason, letter.message, letter.attempts) == ("WriteRefused", "too large", 1)


async def test_a_lane_that_fails_holds_back_its_own_keys_only():
    """Four lanes: three go on while one retries; the checkpoint waits for the lowest open record."""
    attempts = 0

    def answer(records):
        nonlocal attempts
        if any(record.data == b"0" for record in records) and attempts < 8:
            attempts += 1
            raise RuntimeError("not now")

    calls = Calls(answer)
    async with fleet() as f:
        f.put(400, keys=40)
        f.start(handle_batch=calls.handler, shard=rules(size=10, retries=-1, count=4))
        await f.until(lambda: len(f.written) >= 250)
        (status,) = [ask() for ask in f.members["w"].observer.running.values()]
        assert status.retrying_records > 0
        assert status.checkpoint == "000", "record 0 is open"
        assert status.held_by == calls.sequence_numbers[0]

        await f.until(f.all_written, within_s=900)
        await f.until(f.last_checkpoints_reached)

        orders: dict[str, list[int]] = {}
        for number in f.written:
            orders.setdefault(f"k{number % 40}", []).append(number)
        assert all(order == sorted(order) for order in orders.values())


async def test_lanes_work_side_by_side_and_each_on_one_batch_at_a_time():
    """The ESM's ParallelizationFactor."""
    calls = Calls(seconds=1.0)
    async with fleet() as f:
        f.put(400, keys=100)
        f.start(handle_batch=calls.handler, shard=rules(size=10, count=8))
        await f.until(f.all_written)

        assert calls.most == 8


async def test_a_batch_waits_for_its_window_or_until_it_is_full():
    """From its first record on."""
    calls = Calls()
    async with fleet() as f:
        f.start(handle_batch=calls.handler, shard=rules(size=10, window_s=20.0))
        await f.until(lambda: f.leases() and all(lease.owner for lease in f.leases().values()))
        f.put(12)
        began = f.clock.now()
        await f.until(f.all_written)

        assert calls.batches == [list(range(10)), [10, 11]]
        assert calls.began[0][0] - began < 2
        assert 19 <= calls.began[1][0] - began <= 22


async def test_a_batch_is_closed_before_its_event_grows_too_large():
    """10 bytes beside the records, 20 for each, a comma between two: 10 + 3 * 20 + 2 = 72."""
    calls = Calls(size_of=lambda _: 21, overhead=10)
    async with fleet() as f:
        f.put(7)
        f.start(handle_batch=calls.handler, shard=rules(bytes=72))
        await f.until(f.all_written)

        assert calls.batches == [[0, 1, 2], [3, 4, 5], [6]]


async def test_a_record_that_fits_no_event_goes_to_the_dead_letters():
    """It never reaches the handler, and its neighbours do."""
    calls = Calls(size_of=lambda record: 80 if record.data == b"1" else 20, overhead=10)
    async with fleet() as f:
        f.put(3)
        f.start(handle_batch=calls.handler, shard=rules(bytes=88))
        await f.until(f.all_written)

        (letter,) = f.letters.letters
        assert (letter.reason, letter.attempts) == ("RecordTooLarge", 0)
        assert "89 bytes; 88 are allowed" in letter.message
        assert calls.batches == [[0, 2]]


async def test_the_largest_record_that_fits_an_event_is_handled():
    """The limit itself is allowed."""
    calls = Calls(size_of=lambda _: 79, overhead=10)
    async with fleet() as f:
        f.put(2)
        f.start(handle_batch=calls.handler, shard=rules(bytes=88))
        await f.until(f.all_written)

        assert calls.batches == [[0], [1]]


async def test_filters_leave_records_out_of_batches():
    """They are settled without a call, and the batch is filled with others."""
    calls = Calls()
    filters = compile_filters(('{"partitionKey": ["k1"]}',), "drop")
    async with fleet() as f:
        f.put(40, keys=4)
        f.start(handle_batch=calls.handler, shard=replace(rules(size=10), filters=filters))
        await f.until(f.last_checkpoints_reached)

        assert calls.batches == [list(range(1, 40, 4))]


async def test_a_destination_that_is_down_holds_the_lane_and_drops_nothing():
    """The dead letter is stored later; only then does the checkpoint pass."""
    async with fleet() as f:
        f.letters.fail_next(Unavailable("down"), times=5)
        f.put(3)
        f.start(handle_batch=Calls(poison(0)).handler, shard=rules(size=1, retries=0))
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)

        assert [int(letter.record.data) for letter in f.letters.letters] == [0]


async def test_a_stop_finishes_the_call_under_way_and_leaves_the_rest_to_the_next_owner():
    """No retry is waited for; nothing that was settled is repeated."""

    def answer(records):
        if any(record.data == b"15" for record in records):
            raise RuntimeError("never")

    calls = Calls(answer, seconds=1.0)
    async with fleet() as f:
        f.put(30)
        f.start(handle_batch=calls.handler, shard=rules(size=10, retries=-1, bisect=Bisect.OFF))
        await f.until(lambda: [*range(10, 20)] in calls.batches)
        began = f.clock.now()
        await f.stop()
        assert f.clock.now() - began < 3
        later = Calls()
        f.start("next", handle_batch=later.handler, shard=rules(size=10))
        await f.until(f.all_written)

        assert later.batches[0][0] == 10


async def test_a_worker_that_is_cut_off_kills_its_call_before_another_may_start():
    """What a handler writes by itself nobody can fence: it has to end while the lease is still trusted."""
    first = Calls(seconds=lambda numbers: 1000.0)
    second = Calls()
    async with fleet() as f:
        f.put(5)
        member = f.start("first", handle_batch=first.handler, shard=rules())
        await f.until(lambda: first.now == 1)
        f.start("second", handle_batch=second.handler, shard=rules())
        member.link.fault = lambda _: "lost"
        await f.until(lambda: first.now == 0)
        assert second.batches == []
        await f.until(f.all_written)

        assert second.batches[0] == [*range(5)]
