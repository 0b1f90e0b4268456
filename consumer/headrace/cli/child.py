"""One worker process of several, as the process that supervises it sees it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import aiohttp

PATIENCE_S: Final = 2.0
"""How long a child may take for an answer of its own port; it takes milliseconds."""

REPORT_OPTION: Final = "--report-to"


PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""


ORPHANED: Final = signal.SIGUSR1
"""Sent by the kernel for each thread of the parent that dies with it, so maybe several times: SIGTERM twice would mean
to exit at once."""


def stop_with_parent() -> None:
    """Called in the child: be told when the parent is gone (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ORPHANED)


class Child:
    """A running `headrace run`; `number` is its place among its siblings."""

    def __init__(
        self, number: int, process: asyncio.subprocess.Process, http: aiohttp.ClientSession, report: int
    ) -> None:
        self.number = number
        self.process = process
        self.port: int | None = None
        """Of its own endpoints, once it is started."""
        self.worker: str | None = None
        """The incarnation that it was seen with last."""
        self._http = http
        self._report = report
        """Where it tells the port."""

    @classmethod
    async def start(cls, number: int, environment: Mapping[str, str], http: aiohttp.ClientSession) -> Child:
        """Make the process; see `started`."""
        read, write = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "headrace", "run", REPORT_OPTION, str(write),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[write],
                start_new_session=True,  # a terminal's Ctrl-C is the parent's to pass on, once
            )  # fmt: skip
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        return cls(number, process, http, read)

    async def started(self) -> bool:
        """Wait until it serves, once; False where it ended before."""
        self.port = await _reported(self._report)
        return self.port is not None

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of one of its endpoints; 0 where it gives none."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._http.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, OSError):
            return 0, ""

    async def nudge(self) -> None:
        """Leases came free."""
        with suppress(aiohttp.ClientError, OSError):
            async with asyncio.timeout(PATIENCE_S), self._http.post(f"http://127.0.0.1:{self.port}/nudge"):
                return

    def send(self, number: signal.Signals) -> None:
        """Pass a signal on."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def shown(self) -> dict[str, Any]:
        """For people."""
        return {"process": self.number, "pid": self.process.pid, "port": self.port, "worker": self.worker}


async def _reported(descriptor: int) -> int | None:
    """The port that a child tells when it has started; None when it ended before."""
    reader = asyncio.StreamReader()
    with open(descriptor, "rb") as pipe:  # noqa: ASYNC230 - an open descriptor
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            line = await reader.readline()
        finally:
            transport.close()
    return int(line) if line else None
