"""What happens in the demo, in order; whatever happens, nothing is left running (unless the user asked to keep the stack).

    stack ▸ stream and table ▸ workers ▸ producer ▸ follow until caught up ▸ stop ▸ verify
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from headrace.cli.demo.children import Child, Children, DemoFailed
from headrace.cli.demo.stack import (
    STREAM,
    TABLE,
    Stack,
    environment_for,
    free_port,
    in_environment,
    make_stream_and_table,
    start_stack,
)
from headrace.cli.demo.watch import ANSWER_S, Figures, LedgerCount, is_ready, look, screen
from headrace.cli.report import as_text
from headrace.cli.verify import examine
from headrace.core.verification import Design, Report
from headrace.settings import load

READY_S: Final = 60.0
"""For a worker to register, on a machine that is busy with other things; usually two seconds."""

LOOK_S: Final = 0.5

QUIET_LOOKS: Final = 3
"""Looks without change until the workers count as caught up: longer than the pause between two polls of a shard."""

STALLED_S: Final = 30.0
"""Without any change, and not caught up: something is wrong, and the verification will say what is missing."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to show. `keep` leaves the local stack running at the end."""

    rate: int
    duration_s: float
    shards: int
    workers: int
    poison_rate: float
    seed: int
    keep: bool = False

    @property
    def expected(self) -> int:
        """Records that will be produced."""
        return round(self.rate * self.duration_s)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers and where each answers."""

    workers: Sequence[Child]
    ports: Sequence[int]


def show(plan: Plan) -> int:
    """Run the demo; see `headrace.cli.demo.demo`. Raises DemoFailed and what the parts raise."""
    try:
        return asyncio.run(_guarded(plan))
    except asyncio.CancelledError:
        return INTERRUPTED


async def _guarded(plan: Plan) -> int:
    """The story, with everything that it started ended behind it."""
    folder = _folder()
    children = Children(folder)
    _on_signals(children)
    kept: list[Child] = []
    try:
        return await _tell(plan, folder, children, kept)
    except asyncio.CancelledError:
        _say("\nStopping...")
        raise
    finally:
        stopped = await children.stop_all(but=kept)
        if stopped:
            _say(f"Stopped {', '.join(stopped)}; nothing is left running.")


def _folder() -> Path:
    """`.demo` here, where the user may look at what the processes said; elsewhere when here is not writable."""
    folder = Path.cwd() / ".demo"
    try:
        folder.mkdir(exist_ok=True)
        _ledger(folder).unlink(missing_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="headrace-demo-"))
    return folder


def _ledger(folder: Path) -> Path:
    return folder / "ledger.jsonl"


def _on_signals(children: Children) -> None:
    """The first signal ends the story in order; another one kills."""
    loop, story = asyncio.get_running_loop(), asyncio.current_task()
    assert story is not None  # noqa: S101 - a coroutine runs in a task

    def interrupted() -> None:
        if story.cancelling():
            children.kill_all()
        story.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupted)


async def _tell(plan: Plan, folder: Path, children: Children, kept: list[Child]) -> int:
    _say("Starting the local stack (MiniStack: Kinesis and DynamoDB on this machine)...")
    stack = await start_stack(children, folder)
    with in_environment(environment := environment_for(stack, folder)):
        await make_stream_and_table(plan.shards)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as http:
            _say(f"Starting {plan.workers} workers for {plan.shards} shards...")
            fleet = await _start_fleet(children, http, plan, environment)
            _say(f"Producing {plan.rate:,} records/s for {plan.duration_s:g} s, {plan.poison_rate:.1%} of them poison:")
            await _produce_and_follow(children, http, plan, fleet, folder, environment)
        await _stop_fleet(children, fleet)
        _say("Verifying each record against the table and the dead letters...")
        report = await _examine(folder, environment)
    sys.stdout.write(f"\n{as_text(report)}")
    sys.stdout.flush()
    if plan.keep:
        kept.append(stack.child)
        _tell_how_to_reach(stack)
    return 0 if report.holds else 1
