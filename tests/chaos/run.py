"""One run from the first server to the verdict: chaos by plan, or one rolling restart."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.faults import Mischief
from chaos.fleet import START_S, Fleet, until
from chaos.history import history_of
from chaos.load import Flow, Producer
from chaos.plan import Fault, Kind, plan
from chaos.stage import Size, Stage, set_up
from chaos.tails import Tail
from chaos.timeline import Timeline
from chaos.trace import calls_of
from chaos.verdict import Evidence, Findings, judge

STOP_S = 30.0
"""From SIGTERM to exit; headrace's own limit is 25 s (HEADRACE_SHUTDOWN_TIMEOUT)."""

CALM_LEASES = 5
"""Lease durations after which nothing moves any more: loads are evened out after three (`flow/leasing/coordinator.py`)."""


@dataclass(frozen=True)
class Order:
    """What to play."""

    size: Size
    seed: int
    minutes: float
    kinds: Collection[Kind]
    rolling: str | None = None
    """Instead of faults by plan one rolling restart, the next worker starting `before` or `after` the old one stops."""
    faults: Sequence[Fault] | None = None
    """Instead of those that the seed gives: one after another, each once every shard is read."""
    calm_leases: float = 2
    """Lease durations from the last fault to the end of production."""


@dataclass
class Run:
    """The parts of a run that is under way."""

    order: Order
    stage: Stage
    fleet: Fleet
    flow: Flow
    mischief: Mischief
    timeline: Timeline
    settle_s: float
    """How long what follows a rolling restart is counted as its own."""


async def play(order: Order, *, quiet: bool = False, folder: Path | None = None) -> tuple[Findings, Path]:
    """Play a run; the findings, and the folder of everything it left (a new one, unless it is given)."""
    folder = folder or Path(tempfile.mkdtemp(prefix=f"headrace-chaos-{order.seed}-"))
    timeline = Timeline(quiet=quiet)
    timeline.tell(f"seed {order.seed}; logs, ledger and trace in {folder}")
    async with set_up(order.size, folder) as stage:
        fleet = Fleet(folder, stage.endpoints, stage.environment)
        mischief = Mischief(stage, fleet, timeline.tell)
        run = Run(order, stage, fleet, Flow(stage, fleet), mischief, timeline, order.size.lease_s)
        watching = asyncio.create_task(fleet.watch())
        try:
            return judge(await _played(run), run.settle_s), folder
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await fleet.close()
            timeline.close()


async def _played(run: Run) -> Evidence:
    size = run.order.size
    together = [await run.fleet.start() for _ in range(size.workers)]
    for worker in together:
        await run.fleet.registered(worker)
    await _all_read(run)
    producer = Producer(run.stage, run.order.seed)
    showing = asyncio.create_task(_show(run))
    try:
        await (_roll(run) if run.order.rolling else _mischief(run))
        await asyncio.sleep(run.order.calm_leases * size.lease_s)
        produced = await producer.stop()
        run.timeline.tell("faults are over, production has ended: draining")
        undrained = await run.flow.drain()
        ending = time.time()
        await _stop_all(run)
    finally:
        producer.kill()
        showing.cancel()
    run.timeline.tell("verifying")
    verification = await _verify(run.stage)
    calls = calls_of(Tail(run.stage.trace).lines())
    return Evidence(size, run.mischief.played, run.fleet.workers, calls, ending, produced, verification, undrained)


async def _all_read(run: Run) -> None:
    """Wait until every shard is read: the next fault is to meet a fleet at work."""
    shards = run.order.size.shards
    if not await until(lambda: len(_read_now(run.fleet)) >= shards, START_S):
        run.timeline.tell(f"after {START_S:.0f} s only {len(_read_now(run.fleet))} of {shards} shards are read")


def _read_now(fleet: Fleet) -> set[str]:
    told = history_of({w.name: w.log.events() for w in fleet.running if not w.paused}, {})
    return {tenure.shard for tenure in told if tenure.is_open and tenure.reading is not None}


async def _mischief(run: Run) -> None:
    order, size = run.order, run.order.size
    if order.faults is not None:
        for fault in order.faults:
            await _all_read(run)
            await run.mischief.play(fault)
        return
    span_s = order.minutes * 60
    faults = plan(order.seed, span_s=span_s, lease_s=size.lease_s, workers=size.workers, kinds=order.kinds)
    run.timeline.tell(f"{len(faults)} faults in {span_s:.0f} s")
    await run.mischief.run(list(faults))


async def _roll(run: Run) -> None:
    await _even(run)
    await run.mischief.roll(before=run.order.rolling == "before")
    over = time.monotonic()
    await _even(run)
    run.settle_s = time.monotonic() - over


async def _even(run: Run) -> None:
    """Wait until every shard is read and no lease has moved for a while."""
    size, began = run.order.size, time.monotonic()
    last, since = -1, began
    while time.monotonic() - since < CALM_LEASES * size.lease_s:
        opened = sum(len(worker.log.events("lease_opened")) for worker in run.fleet.workers)
        if opened != last or opened < size.shards:
            last, since = opened, time.monotonic()
        await asyncio.sleep(0.2)
    run.timeline.tell(f"all leases are at rest since {time.monotonic() - since:.1f} s, after {since - began:.1f} s")


async def _show(run: Run) -> None:
    """Keep the progress line fresh."""
    while True:
        run.flow.look()
        run.timeline.show(len(run.fleet.running), run.flow.handled.lines, run.flow.behind)
        await asyncio.sleep(0.5)


async def _stop_all(run: Run) -> None:
    running = run.fleet.running
    run.timeline.tell(f"SIGTERM to {len(running)} workers")
    for worker in running:
        worker.terminate()
    await until(lambda: all(worker.ended is not None for worker in running), STOP_S)
    for worker in running:
        if worker.ended is None:
            worker.popen.kill()
            await run.fleet.gone(worker)


async def _verify(stage: Stage) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headrace", "verify", "--ledger", str(stage.ledger), "--json"),
        env=dict(stage.environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, failed = await process.communicate()
    (stage.folder / "verify.json").write_bytes(said + failed)
    found = json.loads(said) if said.startswith(b"{") else {"said": (said + failed).decode()}
    return {**found, "exit_code": process.returncode}
