"""One run from the first server to the verdict: chaos by plan, or one rolling restart."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.faults import Mischief
from chaos.fleet import Fleet, until
from chaos.load import Flow, Producer
from chaos.plan import Kind, plan
from chaos.stage import Size, Stage, set_up
from chaos.tails import Tail
from chaos.timeline import Timeline
from chaos.trace import calls_of
from chaos.verdict import Evidence, Findings, judge

STOP_S = 30.0
"""From SIGTERM to exit; headrace's own limit is 25 s (HEADRACE_SHUTDOWN_TIMEOUT)."""

CALM_LEASES = 5
"""Lease durations after which nothing moves any more: loads are evened out after three (`flow/coordinator.py`)."""


@dataclass(frozen=True)
class Order:
    """What to play."""

    size: Size
    seed: int
    minutes: float
    kinds: Collection[Kind]
    rolling: str | None = None
    """Instead of faults by plan one rolling restart, the next worker starting `before` or `after` the old one stops."""

    @property
    def settle_s(self) -> float:
        """How long what follows a rolling restart is counted as its own."""
        return self.size.lease_s * (CALM_LEASES if self.rolling else 1)


@dataclass
class Run:
    """The parts of a run that is under way."""

    order: Order
    stage: Stage
    fleet: Fleet
    flow: Flow
    mischief: Mischief
    timeline: Timeline


async def play(order: Order, *, quiet: bool = False) -> tuple[Findings, Path]:
    """Play a run; the findings, and the folder of everything it left."""
    folder = Path(tempfile.mkdtemp(prefix=f"headrace-chaos-{order.seed}-"))
    timeline = Timeline(quiet=quiet)
    timeline.tell(f"seed {order.seed}; logs, ledger and trace in {folder}")
    async with set_up(order.size, folder) as stage:
        fleet = Fleet(folder, stage.endpoints, stage.environment)
        mischief = Mischief(stage, fleet, timeline.tell)
        run = Run(order, stage, fleet, Flow(stage, fleet), mischief, timeline)
        watching = asyncio.create_task(fleet.watch())
        try:
            return judge(await _played(run), order.settle_s), folder
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
    producer = Producer(run.stage, run.order.seed)
    showing = asyncio.create_task(_show(run))
    try:
        await (_roll(run) if run.order.rolling else _mischief(run))
        await asyncio.sleep(2 * size.lease_s)
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


async def _mischief(run: Run) -> None:
    order = run.order
    span_s = order.minutes * 60
    faults = plan(order.seed, span_s=span_s, lease_s=order.size.lease_s, workers=order.size.workers, kinds=order.kinds)
    run.timeline.tell(f"{len(faults)} faults in {span_s:.0f} s")
    await run.mischief.run(list(faults))


async def _roll(run: Run) -> None:
    await _even(run)
    await run.mischief.roll(before=run.order.rolling == "before")
    await asyncio.sleep(run.order.settle_s)


async def _even(run: Run) -> None:
    """Wait until every shard is read and no lease has moved for a while."""
    size, began = run.order.size, time.monotonic()
    last, since = -1, began
    while time.monotonic() - since < CALM_LEASES * size.lease_s:
        opened = sum(len(worker.log.events("lease_opened")) for worker in run.fleet.workers)
        if opened != last or opened < size.shards:
            last, since = opened, time.monotonic()
        await asyncio.sleep(0.2)
    run.timeline.tell(f"{size.shards} leases at rest {since - began:.1f} s after the start")


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
