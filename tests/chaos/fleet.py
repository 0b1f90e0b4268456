"""Workers as processes of their own, each behind links of its own to Kinesis and to DynamoDB."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import servers

from chaos.history import history_of
from chaos.proxy import Link
from chaos.tails import Log

LOOK_S = 0.02
START_S = 30.0
"""How long a worker may take until it is registered; links may be cut meanwhile."""

SERVICES = ("dynamodb", "kinesis")


@dataclass(eq=False)
class Worker:
    """One process. It gets a new number, and headrace gives it a new identity, at each start."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Log
    links: Mapping[str, Link]
    started: float
    terminated: float | None = None
    killed: float | None = None
    paused: bool = False
    ended: float | None = None

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there and was not told to end."""
        return self.ended is None and self.terminated is None and self.killed is None

    @property
    def is_registered(self) -> bool:
        return bool(self.log.events("worker_registered"))

    @property
    def holds(self) -> int:
        """Leases in its hands, as its log tells it."""
        told = history_of({self.name: self.log.events()}, {})
        return sum(tenure.is_open for tenure in told)

    def terminate(self) -> None:
        self.terminated = time.time()
        self.popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.killed = time.time()

    def pause(self) -> None:
        self.popen.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        self.popen.send_signal(signal.SIGCONT)
        self.paused = False

    @property
    def fault(self) -> str | None:
        """What is wrong with the way it ended."""
        code = self.popen.returncode
        if self.ended is None or self.killed is not None:
            return None
        if self.terminated is None:
            return f"{self.name} (pid {self.pid}) ended by itself with exit code {code}"
        return f"{self.name} (pid {self.pid}) exited with {code} after SIGTERM" if code else None


@dataclass
class Fleet:
    """All workers there ever were. `endpoints` are the real servers; `environment` is what every worker gets."""

    folder: Path
    endpoints: Mapping[str, str]
    environment: Mapping[str, str]
    workers: list[Worker] = field(default_factory=list)
    rollout: int = 1
    _starting: int = 0

    @property
    def running(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.is_running]

    async def start(self) -> Worker:
        """Start one more worker of the current rollout."""
        self._starting += 1
        name = f"w{self._starting}"
        links = {service: _link(self.endpoints[service]) for service in SERVICES}
        for link in links.values():
            await link.open()
        path = self.folder / f"{name}.log"
        popen = spawn(["headrace", "run"], {**self.environment, **self._own(name, links)}, path)
        worker = Worker(name, popen, Log(path), links, time.time())
        self.workers.append(worker)
        return worker

    async def registered(self, worker: Worker) -> None:
        """Wait until a worker takes part, or has ended, or START_S have passed."""
        await until(lambda: worker.is_registered or not worker.is_running, START_S)

    async def gone(self, worker: Worker, within_s: float = math.inf) -> None:
        """Wait for the end of a process."""
        await until(lambda: worker.ended is not None, within_s)

    async def watch(self) -> None:
        """For ever: note when a process has ended."""
        while True:
            for worker in self.workers:
                if worker.ended is None and worker.popen.poll() is not None:
                    worker.ended = time.time()
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """End whatever is left, at once."""
        for worker in self.workers:
            if worker.popen.poll() is None:
                worker.popen.kill()
            worker.popen.wait()
            for link in worker.links.values():
                await link.close()

    def _own(self, name: str, links: Mapping[str, Link]) -> dict[str, str]:
        return {
            "HEADRACE_LEASE_WORKER_ID": name,
            "HEADRACE_LEASE_DEPLOYMENT": f"rollout-{self.rollout}",
            **{f"AWS_ENDPOINT_URL_{service.upper()}": link.url for service, link in links.items()},
        }


async def until(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait for something that other processes do; whether it came within this time."""
    deadline = time.monotonic() + within_s
    while not (met := condition()) and time.monotonic() < deadline:  # noqa: ASYNC110 - it is outside of this process
        await asyncio.sleep(LOOK_S)
    return met


def spawn(module: Sequence[str], environment: Mapping[str, str], said: Path) -> subprocess.Popen[bytes]:
    """Start `python -m module`; what it says goes into the file, and it does not outlive us."""
    with said.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", *module],
            env=environment,
            cwd=said.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - prctl only
        )


def _link(endpoint: str) -> Link:
    parts = urlsplit(endpoint)
    return Link(parts.hostname or "", parts.port or 0)


def _end_with_parent() -> None:
    """Runs in the child: also one that is stopped does not outlive us (prctl PR_SET_PDEATHSIG, Linux)."""
    servers.LIBC.prctl(1, signal.SIGKILL)


def plain_environment() -> dict[str, str]:
    """This process's own, without anything of AWS or headrace in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HEADRACE_"))}
