"""What happens in the demo, in order; whatever happens, nothing is left running (unless the user asked to keep the stack).

stack ▸ stream and table ▸ workers ▸ producer ▸ follow until caught up ▸ stop ▸ verify
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from headrace.cli.demo.children import Child, Children
from headrace.cli.demo.stack import (
    ACCOUNT,
    REGION,
    Resources,
    Stack,
    environment_for,
    free_port,
    in_environment,
    make_resources,
    start_stack,
)
from headrace.cli.demo.watch import ANSWER_S, Figures, LedgerCount, is_ready, look, screen
from headrace.cli.report import as_text
from headrace.cli.verify import examine
from headrace.core.verification import Design, Report
from headrace.settings import load

APPLICATION: Final = "demo"
STREAM: Final = "orders"
TABLE: Final = "order-items"
KEY: Final = ("pk", "sk")

READY_S: Final = 60.0
"""For a worker to register, on a machine that is busy with other things; usually two seconds."""

ASK_S: Final = 0.1
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
    """Run the demo; see `headrace.cli.demo.demo`. Raises DemoError, AwsError."""
    try:
        return asyncio.run(_guarded(plan))
    except asyncio.CancelledError:
        return INTERRUPTED


async def _guarded(plan: Plan) -> int:
    """The story, with everything that it started ended behind it."""
    folder = _folder()
    children = Children(folder)
    story = asyncio.current_task()
    assert story is not None  # noqa: S101 - a coroutine runs in a task
    kept: list[Child] = []
    _on_signals(story.cancel)
    try:
        stack, report = await _tell(plan, folder, children)
        kept += [stack.child] if plan.keep else []
    except asyncio.CancelledError:
        _say("\nStopping...")
        raise
    finally:
        _on_signals(children.kill_all)  # a second Ctrl-C, or one from here on, is no reason to leave anything behind
        stopped = await children.stop_all(but=kept)
        _say(f"Stopped {', '.join(stopped)}." if stopped else "", "Nothing is left running." if not kept else "")
    sys.stdout.write(f"\n{as_text(report)}")
    if plan.keep:
        _tell_how_to_reach(stack, folder)
    return 0 if report.holds else 1


def _on_signals(act: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, act)


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


async def _tell(plan: Plan, folder: Path, children: Children) -> tuple[Stack, Report]:
    _say("Starting the local stack: Kinesis and DynamoDB look-alikes on this machine...")
    stack = await start_stack(children, folder)
    with in_environment(environment := environment_for(stack, folder)):
        await make_resources(Resources(STREAM, plan.shards, TABLE, KEY))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as http:
            _say(f"Starting the workers: {plan.workers}, for {plan.shards} shards...")
            fleet = await _start_fleet(children, http, plan, environment)
            _say(
                f"Producing {plan.rate:,} records/s for {plan.duration_s:g} s, {plan.poison_rate:.1%} of them poison..."
            )
            producer = await _start_producer(children, plan, folder, environment)
            await _follow(children, http, plan, fleet, producer, LedgerCount(_ledger(folder)))
        await children.stop(fleet.workers)
        for worker in fleet.workers:
            await children.finish(worker)
        _say("Verifying every record against the table and the dead letters...")
        settings = load([], {**environment, **_worker_settings(0, 0)})
        return stack, await examine(settings, _ledger(folder), Design.BOTH)


def _worker_settings(number: int, port: int) -> dict[str, str]:
    return {
        "HEADRACE_APPLICATION": APPLICATION,
        "HEADRACE_STREAM_NAME": STREAM,
        "HEADRACE_SINK_TABLE": TABLE,
        "HEADRACE_HANDLER": "headrace.cli.demo.handler:handle",
        "HEADRACE_RETRY_MAXIMUM_ATTEMPTS": "3",  # a poison record costs seconds: the demo shall not wait for minutes
        "HEADRACE_LEASE_WORKER_ID": f"worker-{number}",
        "HEADRACE_OPS_PORT": str(port),
    }


async def _start_fleet(
    children: Children, http: aiohttp.ClientSession, plan: Plan, environment: Mapping[str, str]
) -> Fleet:
    command = [sys.executable, "-m", "headrace", "run"]
    workers, ports = [], []
    for number in range(1, plan.workers + 1):
        ports.append(free_port())
        own = {**environment, **_worker_settings(number, ports[-1])}
        workers.append(await children.start(f"worker-{number}", command, own))
    for worker, port in zip(workers, ports, strict=True):
        await _until_ready(children, http, worker, port)
    return Fleet(workers, ports)


async def _until_ready(children: Children, http: aiohttp.ClientSession, worker: Child, port: int) -> None:
    try:
        async with asyncio.timeout(READY_S):
            while not await is_ready(http, port):
                children.check([worker])
                await asyncio.sleep(ASK_S)
    except TimeoutError:
        raise worker.failure(f"was not ready within {READY_S:g} s") from None


async def _start_producer(children: Children, plan: Plan, folder: Path, environment: Mapping[str, str]) -> Child:
    options = {
        "--stream": STREAM,
        "--workload": "orders",
        "--rate": plan.rate,
        "--count": plan.expected,
        "--poison-rate": plan.poison_rate,
        "--seed": plan.seed,
        "--ledger": _ledger(folder),
    }
    words = [str(word) for option in options.items() for word in option]
    return await children.start("producer", [sys.executable, "-m", "headrace_producer", *words], environment)


async def _follow(
    children: Children,
    http: aiohttp.ClientSession,
    plan: Plan,
    fleet: Fleet,
    producer: Child,
    ledger: LedgerCount,
) -> None:
    """Show the figures until the producer is done and the workers have caught up, or nothing moves any more."""
    loop = asyncio.get_running_loop()
    started = changed = loop.time()
    last, quiet = Figures(), 0
    with screen(plan.expected) as shown:
        while quiet < QUIET_LOOKS and loop.time() - changed < STALLED_S:
            await asyncio.sleep(LOOK_S)
            children.check(fleet.workers)
            figures = await _look(http, fleet, ledger) or last
            shown.show(figures, loop.time() - started)
            moved = figures != last
            changed, last = loop.time() if moved else changed, figures
            quiet = quiet + 1 if figures.all_done and not (moved or producer.is_running) else 0
    await children.finish(producer)


async def _look(http: aiohttp.ClientSession, fleet: Fleet, ledger: LedgerCount) -> Figures | None:
    try:
        return await look(http, fleet.ports, ledger)
    except (aiohttp.ClientError, TimeoutError):
        return None  # a worker is busy or has just ended: the next look tells which


def _tell_how_to_reach(stack: Stack, folder: Path) -> None:
    _say(
        f"The local stack goes on at {stack.endpoint}, with stream {STREAM} and table {TABLE}; look at it with",
        f"  AWS_ENDPOINT_URL={stack.endpoint} AWS_DEFAULT_REGION={REGION} AWS_ACCESS_KEY_ID={ACCOUNT} AWS_SECRET_ACCESS_KEY=x",
        f"The ledger and the logs are in {folder}. End it with: kill {stack.child.process.pid}",
    )


def _say(*lines: str) -> None:
    """On standard error: standard output is for the result."""
    for line in filter(None, lines):
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
