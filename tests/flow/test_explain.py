"""One record's whole story, asked of a running fleet."""

from __future__ import annotations

import pytest
from flow.fleet import Fleet, fleet, put_item
from flow.test_operators import QUICK, desk

from headrace.core.pacing import PaceRules
from headrace.core.story import Item, Unasked, Verdict
from headrace.core.verdict import RetryRules
from headrace.errors import Denied
from headrace.flow.operate import shards
from headrace.flow.operate.explain import Witnesses, explain_key, explain_record
from headrace.flow.workplace import ShardRules
from headrace.model import Checkpoint
from headrace.ports import BatchContext, BatchHandler

pytestmark = pytest.mark.looptime

FOR_EVER = ShardRules(pace=PaceRules(0.4), checkpoint_interval_s=0.2, retry=RetryRules(maximum_attempts=-1))
ONCE = ShardRules(pace=PaceRules(0.4), checkpoint_interval_s=0.2, retry=RetryRules(maximum_attempts=0))


def witnesses(f: Fleet, *, deaf: bool = False) -> Witnesses:
    """Everybody there is; `deaf`: workers cannot be asked."""

    async def ask(address, question):
        if deaf:
            return "no route"
        number = question.get("sequence")
        return f.members[address].worker.explain(None if number is None else int(number), question.get("key"))

    async def item(record):
        there = any(effect.item["pk"] == str(record.sequence_number) for effect in f.sink.written)
        return Item("results", {"pk": str(record.sequence_number)}, there, there or None)

    async def letters():
        for letter in f.letters.letters:
            yield letter

    return Witnesses(ask, item, letters)


async def story(f: Fleet, number: int, **how):
    return await explain_record(desk(f), witnesses(f, **how), Checkpoint.at(number), None)


def poison(record):
    if record.data == b"3":
        raise ValueError("poison")
    return put_item(record)


async def batch_poison(records, _: BatchContext):
    for record in records:
        if record.data == b"3":
            raise ValueError("poison")


async def _async(record):
    return poison(record)


KINDS = {
    "plain": {"handle": poison},
    "async": {"handle": _async, "is_async": True},
    "batch": {"handle_batch": BatchHandler("test", batch_poison)},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_record_that_is_tried_again_is_told_with_its_attempts_and_its_error(kind):
    """By the worker that owns its shard; records behind it in its key wait."""
    async with fleet(shards=1) as f:
        f.start("a", shard=FOR_EVER, **KINDS[kind])
        f.put(12, keys=3)
        await f.until(lambda: any(w.explain(None, "k0")["open"] for w in [f.members["a"].worker]))
        (shard,) = f.leases()
        records = f.stream._logs[shard].records
        await f.until(
            lambda: f.members["a"].worker.explain(records[3].sequence_number, None)["open"][0]["attempts"] >= 2
        )
        found = await story(f, records[3].sequence_number)

        assert found.verdict == Verdict.RETRYING
        (told,) = found.open
        assert told["attempts"] >= 2
        assert told["error"] == "ValueError"
        assert (found.shard, found.partition_key, found.is_passed) == (shard, "k0", False)
        assert found.owner.startswith("a-")
        behind = await story(f, records[6].sequence_number)
        assert (behind.verdict, len(behind.open)) == (Verdict.WAITING if kind != "batch" else behind.verdict, 1)
        key = await explain_key(desk(f), witnesses(f), "k0")
        assert key.verdict == Verdict.RETRYING


async def test_a_written_a_buried_and_a_never_seen_record_are_told_apart():
    """A dead letter speaks before the checkpoint, which has passed both."""
    async with fleet(shards=2) as f:
        f.start("a", poison, shard=ONCE)
        f.put(12, keys=3)
        await f.until(f.all_written)
        await f.until(f.last_checkpoints_reached)
        letter = f.letters.letters[0]
        good = next(x for log in f.stream._logs.values() for x in log.records if x.data == b"4")
        buried, written = await story(f, letter.record.sequence_number), await story(f, good.sequence_number)
        never = await story(f, good.sequence_number + 10**40)

        assert (written.verdict, written.is_passed, written.is_read) == (Verdict.WRITTEN, True, True)
        assert written.item.is_its_own
        assert (buried.verdict, buried.letters[0].reason) == (Verdict.BURIED, "RetryAttemptsExhausted")
        assert (never.verdict, never.shard) == (Verdict.NEVER_SEEN, None)
        keys = {key: (await explain_key(desk(f), witnesses(f), key)).verdict for key in ("k0", "k1")}
        assert keys == {"k0": Verdict.BURIED, "k1": Verdict.IDLE}


async def test_a_record_of_a_paused_shard_waits_and_the_story_says_who_paused_it():
    """Nobody owns the shard, so nobody can be asked."""
    async with fleet(shards=1) as f:
        f.start("a", shard=QUICK)
        f.put(5)
        await f.until(f.last_checkpoints_reached)
        (shard,) = f.leases()
        await shards.pause(desk(f), shard)
        await f.until(lambda: f.leases()[shard].owner is None)
        f.put(1)
        found = await story(f, f.stream._logs[shard].records[-1].sequence_number)

        assert (found.verdict, found.paused_by) == (Verdict.WAITING, "ada")
        assert found.worker == Unasked("no worker owns the shard")


async def test_what_cannot_be_asked_is_said_and_never_guessed():
    """A worker out of reach; a stream that may not be read."""
    async with fleet(shards=1) as f:
        f.start("a", shard=QUICK)
        f.put(5)
        await f.until(f.last_checkpoints_reached)
        (shard,) = f.leases()
        number = f.stream._logs[shard].records[0].sequence_number
        deaf = await story(f, number, deaf=True)
        f.stream.fail_next("get_records", Denied("kinesis:GetRecords"), times=1)
        blind = await story(f, number)

        assert "no route" in deaf.worker.why
        assert deaf.verdict == Verdict.WRITTEN
        assert blind.stream is not None
        assert blind.verdict == Verdict.UNKNOWN
