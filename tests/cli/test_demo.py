"""`headrace demo` as the user runs it, only shorter."""

import asyncio
import os
import signal
import sys

import psutil
import pytest

pytestmark = [pytest.mark.servers, pytest.mark.process]


async def start(folder, *options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HEADRACE_"))}
    # What a user may have set: none of it may reach the demo's processes.
    hostile = {"AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1", "HEADRACE_BATCH_SIZE": "x"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headrace", "demo", "--rate", "300", *options),
        env={**environment, **hostile},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def started_in(folder):
    """Processes of the demo in this folder, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HEADRACE_CONFIG", "").startswith(str(folder)) or (
                process.environ().get("STATE_DIR", "").startswith(str(folder))
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


async def test_the_demo_ends_with_a_proof(tmp_path):
    """Every record is written or dead-lettered, every key in order, exit code 0, and no process is left."""
    demo = await start(tmp_path, "--duration", "2s", "--poison-rate", "0.01", "--shards", "2")
    out, err = await asyncio.wait_for(demo.communicate(), 90)
    assert demo.returncode == 0, err.decode()
    figures = [line.split() for line in out.decode().splitlines()]
    told = {words[0]: words[1].replace(",", "") for words in figures if len(words) > 1}
    assert told["produced"] == "600"
    assert int(told["written"]) + int(told["dead-lettered"]) == 600
    assert int(told["dead-lettered"]) > 0
    assert out.decode().endswith("OK: nothing is missing, every key in order.\n")
    assert started_in(tmp_path) == []


async def test_a_ctrl_c_leaves_nothing_running(tmp_path):
    """In the middle of producing, with everything up."""
    demo = await start(tmp_path, "--duration", "60s")
    async with asyncio.timeout(60):
        while b"Producing" not in await demo.stderr.readline():
            pass
    assert len(started_in(tmp_path)) >= 3
    demo.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(demo.communicate(), 30)
    assert demo.returncode == 130
    assert b"worker-1" in err
    assert b"Nothing is left running." in err
    assert started_in(tmp_path) == []
