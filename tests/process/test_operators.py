"""`headrace seek` and the other commands for operators, against a running fleet of real processes."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from datetime import datetime
from typing import Any
from unittest import mock

import pytest
from process.conftest import Process, Stage, until

from headrace.aws.session import open_client

pytestmark = [pytest.mark.process, pytest.mark.servers]


async def headrace(stage: Stage, *arguments: str) -> tuple[int, Any, str]:
    """A command's exit code, what it wrote as JSON, and what it told beside."""
    code, out, told = await stage.command(*arguments, "--json")
    return code, json.loads(out) if out else None, told


async def fleet_of_three(stage: Stage, records: int) -> list[Process]:
    """Three workers with two shards each, all read and checkpointed."""
    workers = [stage.start(HEADRACE_LEASE_MAXIMUM="2", HEADRACE_CHECKPOINT_INTERVAL="200ms") for _ in range(3)]
    for worker in workers:
        await until(lambda w=worker: len(w.events("reading_began")) == 2, 30, worker.log.read_text)
    await stage.put(0, records, keys=120)
    await stage.all_written(records)
    await asyncio.sleep(0.5)  # the last checkpoints
    return workers


async def test_a_seek_on_a_running_fleet_of_three_rereads_one_shard_within_two_seconds(stage):
    """No other shard pauses or repeats; nothing of the old epoch comes after the first record of the new one."""
    async with stage(shards=6) as s:
        workers = await fleet_of_three(s, 1200)
        before = {row["sk"]["S"]: row for row in await s.leases()}
        target = sorted(before)[2]
        producing = asyncio.create_task(produce(s, 1200, 40))
        await asyncio.sleep(1)
        code, (done,), told = await headrace(s, "seek", "--shard", target, "--to", "trim", "--yes", "--why", "a test")
        await producing
        await s.all_written(1200 + 40 * 60)
        await asyncio.sleep(0.5)

        assert code == 0, told
        assert "READS AGAIN" in told
        assert done["effect"] == "rereads"
        assert done["epoch"] == int(before[target]["ep"]["N"]) + 2
        (event,) = (await headrace(s, "events"))[1]
        assert (event["act"], event["target"], event["why"]) == ("seek", target, "a test")
        asked = datetime.fromisoformat(event["at"]).timestamp()
        calls = defaultdict(list)
        for call in s.calls():
            calls[call.shard].append(call)
        oldest = min(call.sequence_number for call in calls[target])
        first = [call.at for call in calls[target] if call.sequence_number == oldest]
        assert len(first) == 2
        assert first[1] - asked < 2
        again = [call.sequence_number for call in calls[target] if call.at >= first[1]]
        assert again == sorted(set(again)), "from the first record on, each once and in order: no call of the old epoch"
        for shard in before.keys() - {target}:
            numbers = [call.sequence_number for call in calls[shard]]
            assert numbers == sorted(set(numbers)), "no other shard repeats or reorders anything"
            assert max(b.at - a.at for a, b in zip(calls[shard][200:], calls[shard][201:], strict=False)) < 1.5
        after = {row["sk"]["S"]: row for row in await s.leases()}
        assert {x: after[x]["ep"] for x in after.keys() - {target}} == {
            x: before[x]["ep"] for x in before.keys() - {target}
        }
        assert all(worker.popen.poll() is None for worker in workers)


async def produce(stage: Stage, first: int, rounds: int) -> None:
    """Sixty records at a time."""
    for number in range(rounds):
        await stage.put(first + number * 60, 60, keys=120)
        await asyncio.sleep(0.1)


async def test_a_paused_shard_waits_and_a_drained_worker_is_empty_and_a_lease_moves(stage):
    """One life of a fleet of two under an operator; every record comes through in the end."""
    async with stage(shards=4) as s:
        workers = [s.start(HEADRACE_LEASE_WORKER_ID=name) for name in ("one", "two")]
        for worker in workers:
            await worker.ready()
        await until(lambda: sum(len(w.events("reading_began")) for w in workers) >= 4, 30)
        leases = await s.leases()
        shard = leases[0]["sk"]["S"]

        code, told, words = await headrace(s, "pause", "--shard", shard, "--yes")
        assert (code, told["given_up"]) == (0, True), words
        await s.put(0, 200)
        await asyncio.sleep(1.5)
        assert shard not in {call.shard for call in s.calls()}
        assert (await headrace(s, "resume", "--shard", shard))[0] == 0
        await s.all_written(200)

        owner = next(row["own"]["S"] for row in await s.leases() if row["sk"]["S"] == shard)
        heir = "two" if owner.startswith("one") else "one"
        code, told, words = await headrace(s, "move", "--shard", shard, "--to", heir, "--yes")
        assert code == 0, words
        assert told["owner"].startswith(heir)

        code, told, words = await headrace(s, "drain", "one", "--yes")
        assert (code, told["is_empty"]) == (0, True), words
        await s.put(200, 200)
        await s.all_written(400)
        owners = {row["own"]["S"] for row in await s.leases()}
        assert len(owners) == 1
        assert owners.pop().startswith("two")

        assert (await headrace(s, "drain", "one", "--undo"))[0] == 0
        await s.put(400, 100)
        await s.all_written(500)
        acts = [event["act"] for event in (await headrace(s, "events"))[1]]
        assert acts == ["pause", "resume", "move", "drain", "undrain"]


async def test_without_a_terminal_a_command_that_changes_something_takes_yes(stage):
    """One line, exit code 2, and nothing is done."""
    async with stage(shards=1) as s:
        worker = s.start()
        await worker.ready()
        code, out, told = await headrace(s, "seek", "--all", "--to", "trim")

        assert (code, out) == (2, None)
        assert "--yes: is missing" in told
        assert await headrace(s, "events") == (0, [], "")


async def test_explain_finds_a_written_a_retrying_a_buried_and_a_never_seen_record(stage):
    """Each with an exit code of its own; the item is computed from the key template, the attempts come from the worker."""
    async with stage(shards=2) as s:
        (s.folder / "picky.py").write_text(
            "from headrace import Put, Record, Reject\n"
            "def handle(record: Record):\n"
            "    n = record.json()['n']\n"
            "    if n == 1: raise Reject('bad')\n"
            "    if n == 2: raise ValueError('not now')\n"
            "    return Put({'pk': str(record.sequence_number), 'n': n})\n"
        )
        worker = s.start(HEADRACE_HANDLER="picky:handle", HEADRACE_RETRY_MAXIMUM_ATTEMPTS="-1")
        await worker.ready()
        numbers = []
        for n in range(4):
            put = await s.clients.kinesis.put_record(
                StreamName=s.stream, Data=json.dumps({"n": n}).encode(), PartitionKey=f"k{n}"
            )
            numbers.append(put["SequenceNumber"])
        await s.all_written_but(4, {1, 2})
        never = str(int(numbers[3]) + 10**20).zfill(len(numbers[3]))
        async with asyncio.timeout(20):
            while (await headrace(s, "explain", numbers[0]))[0] != 0:
                pass  # written, and its checkpoint is still to come
            while (await headrace(s, "explain", numbers[2]))[1]["open"][0]["attempts"] < 2:
                pass

        told = [await headrace(s, "explain", number) for number in (*numbers[:3], never)]
        assert [code for code, _, _ in told] == [0, 4, 3, 5], told
        written, buried, retrying, _ = (story for _, story, _ in told)
        assert written["partition_key"] == "k0"
        assert buried["letters"][0]["reason"] == "Rejected"
        (held,) = retrying["open"]
        assert (held["state"], held["error"]) == ("retrying", "ValueError")
        assert held["attempts"] >= 2
        code, shortened, _ = await headrace(s, "explain", f"…{numbers[1][-16:]}")  # as `dead-letters list` prints it
        assert (code, int(shortened["sequence_number"])) == (4, int(numbers[1]))
        code, key, _ = await headrace(s, "explain", "k2")
        assert (code, key["verdict"]) == (3, "retrying")

        code, done, words = await headrace(s, "skip", numbers[2], "--yes", "--why", "poison")
        assert (code, done["passed"]) == (0, True), words
        code, skipped, _ = await headrace(s, "explain", numbers[2])
        assert (code, skipped["letters"][0]["reason"]) == (4, "SkippedByOperator")


async def test_explain_computes_the_item_from_the_key_template(stage):
    """Without a handler the settings alone say under which key a record is written."""
    async with stage(shards=1) as s:
        s.environment.pop("HEADRACE_HANDLER")
        s.environment["HEADRACE_ITEM_KEY"] = "pk=n-{n}"
        worker = s.start()
        await worker.ready()
        put = await s.clients.kinesis.put_record(StreamName=s.stream, Data=b'{"n": 7}', PartitionKey="k")
        await until(lambda: worker.events("reading_began"), 20)
        await asyncio.sleep(1.5)
        code, story, words = await headrace(s, "explain", put["SequenceNumber"])

        assert code == 0, words
        assert story["item"] == {"table": s.table, "key": {"pk": "n-7"}, "is_there": True, "is_its_own": True}


async def test_doctor_checks_the_real_resources_and_fails_on_what_would_fail(stage):
    """A fleet that runs, then one that does not; a table that is not there is found before a worker finds it."""
    async with stage(shards=2) as s:
        s.environment["AWS_ENDPOINT_URL"] = s.environment["AWS_ENDPOINT_URL_DYNAMODB"]  # STS and IAM as well
        worker = s.start()
        await worker.ready()
        await until(lambda: len(worker.events("reading_began")) == 2, 20)
        _, lines, words = await headrace(s, "doctor")
        found = {line["check"]: line["word"] for line in lines}

        assert found["stream"] == found["lease table"] == found["serving table"] == found["workers"] == "OK", words
        assert found["shards"] == found["versions"] == found["clock"] == "OK"
        assert found["stream retention"] == "WARN"
        assert all(line["mend"] for line in lines if line["word"] in ("WARN", "FAIL"))

        worker.popen.terminate()
        await worker.exit_code(10)
        s.environment["HEADRACE_SINK_TABLE"] = "nowhere"
        code, lines, _ = await headrace(s, "doctor")
        failed = {line["check"] for line in lines if line["word"] == "FAIL"}
        assert code == 1
        assert {"serving table", "workers", "shards"} <= failed


async def test_doctor_looks_at_a_queue_and_counts_what_waits_in_it(stage):
    """Four days, the default of SQS, are less than there are."""
    async with stage(shards=1) as s:
        endpoint = s.environment["AWS_ENDPOINT_URL"] = s.environment["AWS_ENDPOINT_URL_DYNAMODB"]
        with mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": endpoint}):
            async with open_client(s.clients, "sqs") as sqs:
                url = (await sqs.create_queue(QueueName=f"{s.stream}-dead"))["QueueUrl"]
                await sqs.send_message(QueueUrl=url, MessageBody="{}")
        s.environment["HEADRACE_DEAD_LETTERS_DESTINATION"] = f"sqs:{url}"
        _, lines, words = await headrace(s, "doctor")
        found = {line["check"]: line for line in lines}

        assert found["dead letters"]["word"] == found["dead letters kept"]["word"] == "WARN", words
        assert found["dead letters"]["found"].startswith("1 in sqs:")
