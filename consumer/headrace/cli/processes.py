"""`headrace run` with several processes: one that supervises, and workers that each hold leases of their own.

A child that dies is fenced at once, for its parent knows that it is gone: its leases need not wait until its silence was
long enough. Another one takes its place, after a while that grows where children die young. Health, metrics and status of
all stand on one port.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec
import structlog
from aiohttp import web

import headrace
from headrace.aws.kinesis import KinesisStream
from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.session import Clients, aws_clients
from headrace.cli.child import Child
from headrace.cli.parts import CHANCE, open_dead_letters
from headrace.cli.screen import shown_fleet
from headrace.core import lease_rows, membership
from headrace.core.backoff import Backoff, delay_s
from headrace.errors import AwsError
from headrace.flow.clock import SystemClock
from headrace.flow.persist import persist
from headrace.handlers.processors import processors
from headrace.model import WorkerId
from headrace.ops.api import Screen, add_screen
from headrace.ops.endpoints import bind
from headrace.ops.fleet import Source
from headrace.ops.merged import merged
from headrace.ops.nudge import open_nudges
from headrace.rows import Applied
from headrace.settings import Loaded
from headrace.settings.names import PREFIX
from headrace.settings.table import in_effect
from headrace.tasks import TaskGroup, is_set_within

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.5
"""Between two looks at a child."""

BAD_LOOKS: Final = 3
"""Lease durations without a sign of life from a child's own port: then it is ended."""

YOUNG_S: Final = 10.0
"""A child that dies before this age has got nowhere."""

REPLACEMENT: Final = Backoff(first_s=0.2, cap_s=20.0)
"""Before another child, after children that died young."""

BAD_SETTINGS: Final = 2


class Supervisor:
    """Keeps `count` children."""

    def __init__(self, loaded: Loaded, count: int, http: aiohttp.ClientSession, table: DynamoLeaseTable) -> None:
        self.children: dict[int, Child] = {}
        """Those that serve."""
        self._starting: set[Child] = set()
        self.exit_code = 0
        self._settings = loaded.settings
        self._environment = environment_of(loaded)
        self._count = count
        self._http = http
        self._table = table
        self._clock = SystemClock()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Until a stop is asked for, or settings are wrong; the exit code."""
        async with TaskGroup() as tasks:
            first = await self._start(0)
            if first.port is not None:
                tasks.create_task(self._keep(first), name="process-0")
                for number in range(1, self._count):
                    tasks.create_task(self._keep(None, number), name=f"process-{number}")
            else:
                code = await first.process.wait()
                self.exit_code = code if not self._stop.is_set() else self.exit_code
        return self.exit_code

    def stop(self, number: signal.Signals) -> None:
        """The first time, ask every child to stop; the second time, end them all."""
        again = self._stop.is_set()
        self._stop.set()
        for child in (*self.children.values(), *self._starting):
            child.send(signal.SIGKILL if again else number)
        if again:
            self.exit_code = 1

    # --- one child -----------------------------------------------------------------------------------------------------

    async def _keep(self, child: Child | None, number: int = 0) -> None:
        """One child after the other."""
        young = 0
        while not self._stop.is_set():
            child = child or await self._start(number)
            began = self._clock.now()
            code = await self._outlive(child)
            await self._mourn(child, code)
            if code == BAD_SETTINGS:
                self.exit_code = code
                self.stop(signal.SIGTERM)
            young = young + 1 if self._clock.now() - began < YOUNG_S else 0
            child = None
            await is_set_within(self._stop, delay_s(young, CHANCE(), REPLACEMENT) if young else 0.0)

    async def _start(self, number: int) -> Child:
        name = f"{self._settings.lease.worker_id}-{number}"
        child = await Child.start(number, {**self._environment, "HEADRACE_LEASE_WORKER_ID": name}, self._http)
        self._starting.add(child)
        if self._stop.is_set():  # asked for while the process was being made
            child.send(signal.SIGTERM)
        if await child.started():
            self.children[number] = child
            log.info("process_started", **child.shown())
        self._starting.discard(child)
        return child

    async def _outlive(self, child: Child) -> int:
        """Look at it until it ends; its exit code. One that gives no sign of life for too long is killed."""
        last_sign = self._clock.now()
        async with TaskGroup() as tasks:
            ended = tasks.create_task(child.process.wait(), name=f"process-{child.number}-ended")
            while not (await asyncio.wait([ended], timeout=LOOK_S))[0]:
                status, text = await child.get("/api/v1/status")
                if status == web.HTTPOk.status_code:
                    last_sign = self._clock.now()
                    child.worker = msgspec.json.decode(text).get("worker") or child.worker
                elif self._clock.now() - last_sign > BAD_LOOKS * self._settings.lease.duration.total_seconds():
                    log.error("process_hung", **child.shown())
                    child.send(signal.SIGKILL)
        return ended.result()

    async def _mourn(self, child: Child, code: int) -> None:
        """Fence it, so that its leases can be taken at once, and tell its siblings."""
        self.children.pop(child.number, None)
        if self._stop.is_set() and code == 0:
            return
        log.warning("process_ended", **child.shown(), exit_code=code)
        if child.worker is None:
            return
        try:
            await persist("fence_child", lambda: self._fence(WorkerId(str(child.worker))), CHANCE, mendable=())
        except AwsError as error:
            log.error("child_not_fenced", error=str(error))  # noqa: TRY400 - one line; its silence will do
        async with TaskGroup() as tasks:
            for sibling in self.children.values():
                tasks.create_task(sibling.nudge(), name=f"nudge-{sibling.number}")

    async def _fence(self, worker: WorkerId) -> None:
        row = await self._table.get(membership.worker_key(worker))
        if row is None or not membership.is_alive(seen := lease_rows.worker_of(row)):
            return
        wall_s = self._clock.wall().timestamp()
        if isinstance(await self._table.apply(membership.fence(worker, seen.heartbeat, wall_s)), Applied):
            log.info("child_fenced", worker=worker)

    # --- shown ---------------------------------------------------------------------------------------------------------

    def app(self, screen: Screen) -> web.Application:
        """The endpoints of all processes together."""
        app = web.Application()
        add_screen(app, screen)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/v1/status", self._status)
        return app

    async def _livez(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True, "processes": [child.shown() for child in self.children.values()]})

    async def _readyz(self, _: web.Request) -> web.Response:
        answers = await self._ask("/readyz")
        is_ready = len(answers) == self._count and all(
            status == web.HTTPOk.status_code for status, _ in answers.values()
        )
        return web.json_response({"ok": is_ready, "processes": len(answers)}, status=200 if is_ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        pages = {str(number): text for number, (status, text) in (await self._ask("/metrics")).items() if status}
        return web.Response(body=merged(pages), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _status(self, _: web.Request) -> web.Response:
        told = [msgspec.json.decode(text) for status, text in (await self._ask("/api/v1/status")).values() if status]
        return web.json_response({"version": headrace.__version__, "processes": told})

    async def _ask(self, path: str) -> dict[int, tuple[int, str]]:
        async with TaskGroup() as tasks:
            asked = {
                number: tasks.create_task(child.get(path), name=f"ask-{number}")
                for number, child in self.children.items()
            }
        return {number: task.result() for number, task in asked.items()}


def environment_of(loaded: Loaded) -> dict[str, str]:
    """What a child is given: every setting that was given here, but a port of its own and no children."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = ((name, value) for name, value, _ in in_effect(loaded) if name.path in loaded.given)
    told = {name.env: value for name, value in given if not name.is_secret}
    return {**kept, **told, "HEADRACE_PROCESSES": "1", "HEADRACE_OPS_PORT": "0"}


@asynccontextmanager
async def _supervised(loaded: Loaded, count: int, clients: Clients) -> AsyncIterator[Supervisor]:
    settings, table = loaded.settings, DynamoLeaseTable(clients.leases, loaded.settings.lease.table)
    stream = KinesisStream(clients.kinesis, settings.stream.name)
    async with (
        aiohttp.ClientSession(trust_env=False) as http,
        open_dead_letters(clients, settings) as dead_letters,
        open_nudges() as nudges,
    ):
        supervisor = Supervisor(loaded, count, http, table)
        source = Source(table, stream, settings.stream.label, SystemClock())
        app = supervisor.app(shown_fleet(settings, source, dead_letters, nudges.send))
        async with bind(app, settings.ops.address, settings.ops.port) as port:
            log.info("supervisor_started", version=headrace.__version__, processes=count, ops_port=port)
            yield supervisor


async def _main(loaded: Loaded, count: int) -> int:
    async with aws_clients() as clients, _supervised(loaded, count, clients) as supervisor:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop, number)
        return await supervisor.run()


def run_processes(loaded: Loaded, count: int) -> int:
    """Run so many workers until SIGTERM or SIGINT, 0 for one for each processor; the exit code."""
    return asyncio.run(_main(loaded, count or processors()))
