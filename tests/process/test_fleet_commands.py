"""`headrace status` and `top` beside a running fleet, and the page where several processes run under one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from process.conftest import until

pytestmark = [pytest.mark.process, pytest.mark.servers]


async def test_status_tells_of_a_fleet_that_runs_and_of_one_that_does_not(stage):
    """From the table alone, by exit code, for people and for programs."""
    async with stage(shards=2) as s:
        code, out, problem = await s.command("status")
        assert (code, out) == (2, "")
        assert problem.startswith(f"HEADRACE_LEASE_TABLE = '{s.stream}': there is no such table. Start a worker")

        worker = s.start(HEADRACE_LEASE_WORKER_ID="worker-a")
        await worker.ready()
        await s.put(0, 100)
        await s.all_written(100)
        for _ in range(100):
            code, out, _ = await s.command("status", "--json")
            told = json.loads(out)
            if told["figures"]["settled_per_s"] > 0:
                break
            await asyncio.sleep(0.2)
        assert (code, told["verdict"]["state"]) == (0, "OK")
        assert [shard["owner_name"] for shard in told["shards"]] == ["worker-a"] * 2
        assert told["workers"][0]["held"] == 2
        code, out, _ = await s.command("status")
        assert (code, "1 worker reads 2 shards" in out, "shardId-000000000001" in out) == (0, True, True)

        worker.send(signal.SIGTERM)
        assert await worker.exit_code(within_s=15) == 0
        code, out, _ = await s.command("status")
        assert code == 4
        assert "No worker is running, and nobody reads 2 shards." in out
        assert "-> Start a worker." in out

        mistyped = [await s.command(*words, "--stream.name", "nope") for words in (["status"], ["top", "--json"])]
        assert [(code, out) for code, out, _ in mistyped] == [(2, "")] * 2
        assert {problem.split(". ")[0] for *_, problem in mistyped} == {
            "HEADRACE_STREAM_NAME = 'nope': there is no such stream"
        }


async def test_top_gives_a_line_for_each_picture_until_it_is_stopped(stage):
    """Off a terminal only as JSON; Ctrl-C is no failure."""
    async with stage(shards=1) as s:
        worker = s.start()
        await worker.ready()
        code, out, problem = await s.command("top")
        assert (code, out) == (2, "")
        assert "standard output is no terminal" in problem
        code, _, problem = await s.command("top", "--every", "soon")
        assert (code, problem.startswith("--every = 'soon': ")) == (2, True)
        top = s.launch("top", "--json", "--every", "200ms")
        await until(lambda: len(top.lines()) >= 2, 10, top.log.read_text)
        top.send(signal.SIGINT)
        assert await top.exit_code(within_s=10) == 0
        assert [line["verdict"]["state"] for line in top.lines()[:2]] == ["OK", "OK"]


async def test_one_page_shows_all_processes_and_no_child_knows_the_token(stage):
    """The supervisor reads the same rows; what it passes on to its children is not what opens payloads."""
    token = "correct-horse-battery-staple"
    async with stage(shards=4) as s:
        process = s.start(HEADRACE_PROCESSES="2", HEADRACE_ADMIN_TOKEN=token)
        await until(lambda: process.events("supervisor_started"), 30, process.log.read_text)
        port = process.events("supervisor_started")[0]["ops_port"]
        told = {"shards": []}
        for _ in range(150):
            with contextlib.suppress(urllib.error.HTTPError):  # 503 until a child has made the table
                told = json.loads(await asyncio.to_thread(get, f"http://127.0.0.1:{port}/api/v1/shards"))
            if len({shard["owner"] for shard in told["shards"] if shard["lag_s"] is not None}) == 2:
                break
            await asyncio.sleep(0.2)
        else:
            raise AssertionError(told)
        assert "<title>headrace</title>" in await asyncio.to_thread(get, f"http://127.0.0.1:{port}/")
        about = json.loads(await asyncio.to_thread(get, f"http://127.0.0.1:{port}/api/v1/about"))
        assert about["admin"] is True
        for child in process.events("process_started"):
            environ = await asyncio.to_thread(Path(f"/proc/{child['pid']}/environ").read_bytes)
            assert b"HEADRACE_APPLICATION=" in environ
            assert token.encode() not in environ
        assert token not in process.log.read_text()
        process.send(signal.SIGTERM)
        assert await process.exit_code(within_s=15) == 0


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()
