"""Processes that never outlive the demo: each in a session of its own, its output in a file, ended with its whole group."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import HeadraceError

GRACE_S: Final = 10.0
"""From SIGTERM to SIGKILL: a worker hands over within a second; this is for a machine that is busy with other things."""

TAIL_LINES: Final = 12
TAIL_BYTES: Final = 8192
"""What is shown of the output of a process that failed."""


class DemoError(HeadraceError):
    """The demo can't go on. The message says why, with the last words of the process that failed."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process."""

    name: str
    process: asyncio.subprocess.Process
    output: Path

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, as far as the loop knows."""
        return self.process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send to the process and all it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def failure(self, what: str) -> DemoError:
        """An error with the last lines of the output and where the rest is."""
        tail = self.output.read_bytes()[-TAIL_BYTES:].decode(errors="replace").splitlines()[-TAIL_LINES:]
        shown = "".join(f"\n  {line}" for line in tail) or " It printed nothing."
        return DemoError(f"{self.name} {what}. The end of {self.output}:{shown}")


class Children:
    """All processes of one demo, in the order in which they started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[Child] = []

    async def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start one; its output goes to a file named after it. Raises DemoError."""
        path = self._folder / f"{name}.log"
        with path.open("wb") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # a terminal's Ctrl-C is the demo's to pass on, in its own order
                )
            except OSError as error:
                raise DemoError(f"{name} cannot be started: {command[0]}: {error.strerror}") from error
        child = Child(name, process, path)
        self._all.append(child)
        return child

    def check(self, needed: Iterable[Child]) -> None:
        """Raises DemoError when one of them has ended."""
        for child in needed:
            if not child.is_running:
                raise child.failure(f"ended with exit code {child.process.returncode}")

    async def finish(self, child: Child) -> None:
        """Wait for its own end. Raises DemoError when that is a failure."""
        if await child.process.wait():
            raise child.failure(f"failed with exit code {child.process.returncode}")

    async def stop(self, children: Sequence[Child]) -> list[str]:
        """SIGTERM, and SIGKILL after a grace; the names of those that were running."""
        running = [child for child in children if child.is_running]
        for child in running:
            child.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                for child in running:
                    await child.process.wait()
        for child in running:
            child.signal(signal.SIGKILL)  # also what it may have left in its group
            await child.process.wait()
        return [child.name for child in running]

    async def stop_all(self, but: Sequence[Child] = ()) -> list[str]:
        """Those that started last first, for each may need the ones before it; all `but` these."""
        return [name for child in reversed(self._all) if child not in but for name in await self.stop([child])]

    def kill_all(self) -> None:
        """At once, without asking."""
        for child in self._all:
            if child.is_running:
                child.signal(signal.SIGKILL)
