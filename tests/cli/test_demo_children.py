"""Processes that never outlive the demo."""

import asyncio
import os
import sys

import psutil
import pytest

from headrace.cli.demo import children as children_module
from headrace.cli.demo.children import Children, DemoError

pytestmark = pytest.mark.process

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("ready", child.pid, flush=True)
child.wait()
"""
OBEDIENT = "import time; print('ready', flush=True); time.sleep(600)"
FAILING = "import sys; print('first words'); sys.exit('last words')"


@pytest.fixture
def children(tmp_path):
    return Children(tmp_path)


async def start(children, name, code):
    child = await children.start(name, [sys.executable, "-c", code], dict(os.environ))
    await until(lambda: not child.is_running or b"ready" in child.output.read_bytes())
    return child


async def until(condition, within_s=20):
    """Wait for another process; time only bounds it."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def test_those_that_started_last_stop_first(children):
    """A worker needs its stack to the end."""
    for name in ("stack", "worker", "producer"):
        await start(children, name, OBEDIENT)
    assert await children.stop_all() == ["producer", "worker", "stack"]
    assert await children.stop_all() == []


async def test_one_that_ignores_sigterm_is_killed_after_a_grace(children, monkeypatch):
    """Nothing is left running."""
    monkeypatch.setattr(children_module, "GRACE_S", 0.1)
    child = await start(children, "stubborn", STUBBORN)
    await children.stop_all()
    assert child.process.returncode == -9


async def test_what_a_child_started_ends_with_it(children):
    """The whole group gets the signal."""
    child = await start(children, "parent", PARENT)
    grandchild = int(child.output.read_text().split()[1])
    await children.stop_all()
    await until(
        lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE
    )


async def test_one_that_is_kept_goes_on(children):
    """`--keep` leaves the stack."""
    kept = await start(children, "stack", OBEDIENT)
    await children.stop_all(but=[kept])
    assert kept.is_running
    children.kill_all()
    await kept.process.wait()


async def test_a_failure_shows_the_last_words_and_where_the_rest_is(children, tmp_path):
    """The user need not search."""
    child = await start(children, "worker-1", FAILING)
    with pytest.raises(DemoError) as error:
        await children.finish(child)
    assert "worker-1 failed with exit code 1" in str(error.value)
    assert str(tmp_path / "worker-1.log") in str(error.value)
    assert "last words" in str(error.value)


async def test_an_unexpected_end_is_noticed(children):
    """Also one with exit code 0: a worker has no reason to end."""
    child = await start(children, "worker-1", "pass")
    with pytest.raises(DemoError, match="ended with exit code 0"):
        children.check([child])


async def test_a_program_that_is_not_there_is_told(children):
    """Not a traceback."""
    with pytest.raises(DemoError, match="nowhere cannot be started"):
        await children.start("nowhere", ["/nowhere/at/all"], {})
