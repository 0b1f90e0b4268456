"""Whole workers in the modes `insert` and `latest`, killed and paused while records flow."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict

import pytest
from process.conftest import Stage, until

from headrace.tasks import TaskGroup

pytestmark = [pytest.mark.process, pytest.mark.servers]

STATE_HANDLER = """
from headrace import Put, Record

def handle(record: Record) -> Put:
    n = record.json()["n"]
    return Put({"pk": record.partition_key, "n": n, "only": n} if n % 3 == 0 else {"pk": record.partition_key, "n": n})
"""

RECORDS, KEYS = 3000, 30


async def trouble(s: Stage, **settings: str) -> None:
    """Records flow; one worker is paused beyond its lease and goes on with what it had, one is killed, one is started."""
    paused = s.start(HEADRACE_LEASE_MAXIMUM="2", **settings)
    await until(lambda: len(paused.events("reading_began")) == 2, 20, paused.log.read_text)
    killed = s.start(**settings)
    await until(lambda: len(killed.events("reading_began")) == 2, 20, killed.log.read_text)
    await s.put(0, RECORDS // 3, keys=KEYS)
    paused.send(signal.SIGSTOP)
    await s.put(RECORDS // 3, RECORDS // 3, keys=KEYS)
    await until(
        lambda: any(event["transition"] == "taken" for event in killed.events("lease_opened")), 15, killed.log.read_text
    )
    paused.send(signal.SIGCONT)
    await s.put(2 * RECORDS // 3, RECORDS // 3, keys=KEYS)
    killed.send(signal.SIGKILL)
    s.start(**settings)


async def test_insert_under_kill_9_and_a_pause_misses_nothing(stage):
    """What is repeated is refused item by item."""
    async with stage(shards=4) as s:
        await trouble(s, HEADRACE_SINK_MODE="insert")
        await s.all_written(RECORDS)


async def test_latest_under_kill_9_and_a_pause_never_goes_back_and_ends_at_the_last_record_of_each_key(stage):
    """Looked at all the while; checkpoints are rare, so that each owner repeats all of its shard, write by write. Nothing of older items is left."""
    async with stage(shards=4) as s:
        (s.folder / "state_handler.py").write_text(STATE_HANDLER)
        seen: dict[str, list[int]] = defaultdict(list)
        last = {f"k{key}": RECORDS - KEYS + key for key in range(KEYS)}

        async def items() -> dict[str, dict]:
            answer = await s.clients.dynamodb.scan(TableName=s.table, ConsistentRead=True)
            return {item["pk"]["S"]: item for item in answer["Items"]}

        async def watch() -> None:
            while any(seen[key][-1:] != [n] for key, n in last.items()):
                for key, item in (await items()).items():
                    seen[key].append(int(item["n"]["N"]))
                await asyncio.sleep(0.01)

        async with asyncio.timeout(60), TaskGroup() as tasks:
            tasks.create_task(watch(), name="watch")
            await trouble(
                s,
                HEADRACE_SINK_MODE="latest",
                HEADRACE_HANDLER="state_handler:handle",
                HEADRACE_CHECKPOINT_INTERVAL="30s",
                HEADRACE_SINK_FOLD="false",
                HEADRACE_SINK_DEPTH="1",
            )

        assert all(numbers == sorted(numbers) for numbers in seen.values())
        for key, item in (await items()).items():
            assert set(item) == {"pk", "n", "recordOrder"} | ({"only"} if last[key] % 3 == 0 else set())
