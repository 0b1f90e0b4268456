"""`headrace` as whole processes that need not import everything anew: each is forked from one that has done only that.

It is what `python -m headrace` is from there on: a process of its own with its own environment, folder, output and signals.
Starting takes 20 ms of CPU instead of 800; tests of the start itself start it the long way.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["headrace.ops.logs", "headrace.cli.app", "headrace.cli.run"])


@dataclass(frozen=True)
class Warm:
    """A running process, with the part of `subprocess.Popen`'s interface that is needed here."""

    process: ForkServerProcess

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> None:
        self.process.join()

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def launch(arguments: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path, err: Path) -> Warm:
    """`headrace ARGUMENTS` in a folder, with this environment and no other; what it writes goes to files."""
    become = (tuple(arguments), dict(environment), str(folder), str(out), str(err))
    process = FORKS.Process(target=_become, args=become)
    process.start()
    return Warm(process)


def _become(arguments: Sequence[str], environment: Mapping[str, str], folder: str, out: str, err: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.argv = ["headrace", *arguments]
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    random.seed()
    from headrace.cli import main  # noqa: PLC0415 - imported already: this process is a copy of one that did

    raise SystemExit(main(arguments))
