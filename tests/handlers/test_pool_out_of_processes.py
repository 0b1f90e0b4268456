"""A pool that has no process to call: who waits, who is told that nothing was called."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from headrace.errors import NotCalled
from headrace.handlers import pool as pools
from headrace.handlers import wire
from headrace.handlers.function import HandlerFunction
from headrace.handlers.outcomes import Returned
from headrace.handlers.pool import PoolRules, open_pool

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"

BREAKABLE = """
    import os, pathlib, time
    if pathlib.Path("broken").exists():
        raise OSError("not now")

    def handler(event, context):
        while event and not pathlib.Path("go on").exists():
            time.sleep(0.01)
        return os.getpid()
"""


@pytest.fixture
def function(module):
    """A handler that can be imported until a file is there, and waits for another one where it is given something."""
    return HandlerFunction(f"{module(BREAKABLE)}.handler", "orders", STREAM, 20.0)


async def pid_of(pool, event=b"[]"):
    answer = await pool.call(event)
    assert isinstance(answer, Returned), answer
    return json.loads(answer.value_json)


async def test_while_the_handler_cannot_be_loaded_again_nothing_is_called(function, tmp_path, monkeypatch):
    """No attempt is spent on it, the reason is told, and once it can be loaded the calls go on."""
    monkeypatch.setattr(pools, "LOOK_S", 0.05)
    async with open_pool(function, PoolRules(), lambda: 0.0) as pool:
        before = await pid_of(pool)
        (tmp_path / "broken").touch()
        os.kill(before, signal.SIGKILL)
        while not pool.replaced:  # noqa: ASYNC110 - the system says when a process has ended
            await asyncio.sleep(0.01)
        with pytest.raises(NotCalled, match=r"cannot be imported: OSError: not now"):
            await pool.call(b"[]")

        (tmp_path / "broken").unlink()
        monkeypatch.setattr(pools, "LOOK_S", 20.0)
        assert await pid_of(pool) != before


async def test_a_call_waits_for_a_process_that_is_busy(function, tmp_path, monkeypatch):
    """However long that is, and also while another process cannot be made."""
    looks = []
    async with open_pool(function, PoolRules(2), lambda: 0.0) as pool:
        (tmp_path / "broken").touch()
        first = pool._free_process

        async def free_process():
            looks.append("asked")
            return await first()

        monkeypatch.setattr(pool, "_free_process", free_process)
        monkeypatch.setattr(pools, "LOOK_S", 0.01)
        async with asyncio.TaskGroup() as tasks:
            busy = tasks.create_task(pid_of(pool, b"[1]"))
            waiting = tasks.create_task(pid_of(pool))
            while len(looks) < 2 or not pool._problem:  # noqa: ASYNC110 - another process fails in the meantime
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert not waiting.done()
            (tmp_path / "go on").touch()
        assert waiting.result() == busy.result()


async def test_a_call_that_is_too_large_to_be_sent_costs_no_process(function, monkeypatch):
    """It fails, and is split like any other that fails."""
    async with open_pool(function, PoolRules(), lambda: 0.0) as pool:
        before = await pid_of(pool)
        with monkeypatch.context() as small:
            small.setattr(wire, "LARGEST", 1000)
            with pytest.raises(ValueError, match="more than 1000"):
                await pool.call(b" " * 1000)
        assert await pid_of(pool) == before
