"""`headrace run` with several processes under one that supervises them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest
from process.conftest import Process, Stage, until

pytestmark = [pytest.mark.process, pytest.mark.servers]


def get(process: Process, path: str) -> str:
    (started,) = process.events("supervisor_started")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{started['ops_port']}{path}", timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def at(event: dict) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


async def started(s: Stage, count: str, **environment: str) -> Process:
    process = s.start(HEADRACE_PROCESSES=count, **environment)
    await until(lambda: process.events("supervisor_started"), 30, process.log.read_text)
    for _ in range(300):
        if json.loads(await asyncio.to_thread(get, process, "/readyz"))["ok"]:
            return process
        await asyncio.sleep(0.1)
    raise AssertionError(process.log.read_text()[-3000:])


async def shared(process: Process, expected: list[int]) -> None:
    """Wait until the leases are spread over the processes like this."""
    found: list[int] = []
    for _ in range(600):
        status = json.loads(await asyncio.to_thread(get, process, "/api/v1/status"))
        found = sorted(len(one["shards"]) for one in status["processes"])
        if found == expected:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{found} instead of {expected}")


async def test_several_processes_share_the_shards_and_are_seen_as_one(stage):
    """Everything is handled once; metrics tell which process, status tells of all; a stop ends all of them with 0."""
    async with stage(shards=4) as s:
        process = await started(s, "2")
        await shared(process, [2, 2])
        await s.put(0, 1000)
        await s.all_written(1000)

        assert len(s.calls()) == 1000
        assert len({call.pid for call in s.calls()}) == 2
        page = await asyncio.to_thread(get, process, "/metrics")
        settled = [
            line for line in page.splitlines() if line.startswith("headrace_records_total{") and "settled" in line
        ]
        assert sorted('process="0"' in line for line in settled) == [False, True]
        assert sum(float(line.rsplit(" ", 1)[1]) for line in settled) == 1000
        assert page.count("# TYPE headrace_records_total counter") == 1
        calls = [line for line in page.splitlines() if line.startswith("headrace_aws_request_seconds_count{")]
        for operation in ("GetRecords", "BatchWriteItem", "UpdateItem"):
            assert sum(f'operation="{operation}"' in line for line in calls) == 2, "of both processes"

        process.send(signal.SIGTERM)
        assert await process.exit_code(within_s=15) == 0
        assert len(process.events("worker_stopped")) == 2


async def test_a_child_that_is_killed_is_fenced_at_once_and_replaced(stage):
    """Its siblings read its shards within a second: nobody waits for its silence to last."""
    async with stage(shards=4) as s:
        process = await started(s, "2")
        await shared(process, [2, 2])
        victim = process.events("process_started")[0]
        before = len(process.events("reading_began"))
        os.kill(victim["pid"], signal.SIGKILL)
        killed = s.now()
        await until(lambda: len(process.events("reading_began")) >= before + 2, 10, process.log.read_text)

        taken = process.events("reading_began")[before + 1]
        assert at(taken) - killed < 1.5, "silence alone would take the lease duration of 3 s"
        assert process.events("child_fenced")
        await until(lambda: len(process.events("process_started")) == 3, 20, process.log.read_text)
        await s.put(0, 500)
        await s.all_written(500)
        process.send(signal.SIGTERM)
        assert await process.exit_code(within_s=15) == 0


async def test_wrong_settings_end_all_with_one_line_and_2(stage):
    """The first child says it; no other is started."""
    async with stage(shards=1) as s:
        process = s.start(HEADRACE_PROCESSES="3", HEADRACE_STREAM_NAME="no-such-stream")

        assert await process.exit_code(within_s=30) == 2
        said = [line for line in process.log.read_text().splitlines() if not line.startswith("{")]
        assert len(said) == 1, said
        assert said[0].startswith("HEADRACE_STREAM_NAME = 'no-such-stream': there is no such stream")


async def test_children_stop_when_the_supervisor_is_killed(stage):
    """None is left behind."""
    async with stage(shards=2) as s:
        process = await started(s, "2")
        pids = [event["pid"] for event in process.events("process_started")]
        process.send(signal.SIGKILL)

        await until(lambda: len(process.events("worker_stopped")) == 2, 15, process.log.read_text)
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 15)


async def test_a_stop_reaches_a_child_that_is_still_starting(stage):
    """It would serve after everybody else has gone, and the supervising process wait for it for ever."""
    async with stage(shards=1) as s:
        process = s.start("--processes", "2")
        await until(lambda: process.events("process_started"), 30, process.log.read_text)
        process.send(signal.SIGTERM)
        assert await process.exit_code(within_s=15) == 0, process.log.read_text()


async def test_a_stop_while_no_child_can_start_ends_at_once(stage):
    """Kinesis cannot be reached, and the first one waits for it."""
    async with stage(shards=1) as s:
        process = s.start("--processes", "2", AWS_ENDPOINT_URL_KINESIS="http://127.0.0.1:9")
        await until(lambda: process.events("call_failed"), 30, process.log.read_text)
        process.send(signal.SIGTERM)
        assert await process.exit_code(within_s=10) == 0, process.log.read_text()
        assert "Traceback" not in process.log.read_text()
