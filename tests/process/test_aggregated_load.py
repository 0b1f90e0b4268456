"""Aggregates from the producer to the serving table: a real worker, and the proof that nothing was lost."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import pytest
from process.conftest import Stage, until

from headrace.core.ledger import read_header, read_records

pytestmark = [pytest.mark.process, pytest.mark.servers]

STATES = '''
"""An item for each record, and the latest state of each key."""
from headrace import Put, Record

def handle(record: Record):
    item = {"sequenceNumber": record.position, "key": record.partition_key, "n": record.json()["n"]}
    return [Put({"pk": record.position, **item}), Put({"pk": record.partition_key, **item})]
'''

MAPPED = {"HEADRACE_HANDLER": "", "HEADRACE_ITEM_KEY": "pk={sequence_number}"}
WRITTEN = {"HEADRACE_HANDLER": "states:handle", "HEADRACE_RETRY_MAXIMUM_ATTEMPTS": "0"}


async def produce(s: Stage, count: int) -> int:
    """Put so many, with a little poison; how many PutRecords entries they came to."""
    words = [
        "--stream",
        s.stream,
        "--workload",
        "orders",
        "--count",
        str(count),
        "--keys",
        "50",
        "--poison-rate",
        "0.01",
    ]
    words += ["--aggregate", "--ledger", "ledger", "--json"]
    program = (sys.executable, "-m", "headrace_producer")
    out = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, *words, env=s.environment, cwd=s.folder, stdout=out)
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    with (s.folder / "ledger").open("rb") as lines:
        read_header(lines.readline())
        return len({(one.shard, one.sequence_number) for one in read_records(lines)})


async def verified(s: Stage) -> dict[str, Any]:
    """The report, once every record is accounted for."""
    deadline = asyncio.get_running_loop().time() + 60
    while True:
        code, out, _ = await s.command("verify", "--ledger", "ledger", "--json")
        if code == 0 or asyncio.get_running_loop().time() > deadline:
            return json.loads(out)


@pytest.mark.parametrize("environment", [MAPPED, WRITTEN], ids=["by settings", "by a handler"])
async def test_each_record_of_an_aggregate_is_accounted_for_after_a_crash(stage, environment):
    """A worker is killed in the middle of it; every record has an item of its own or a dead letter, and no key is behind."""
    async with stage(shards=2) as s:
        (s.folder / "states.py").write_text(STATES)
        s.environment |= environment
        assert await produce(s, 3000) < 600
        first = s.start()
        await until(lambda: first.events("reading_began"), 30, first.log.read_text)
        while not await s.written():
            assert first.popen.poll() is None
        first.send(signal.SIGKILL)
        s.start()
        report = await verified(s)
        assert (report["produced"], report["missing"], report["damaged"]) == (3000, 0, 0)
        assert report["written"] + report["dead_lettered"] == 3000
        assert 10 < report["dead_lettered"] < 60
        assert not report["misordered"]
        assert report["ok"]
