"""Terminals for a test that does what a page says: a shell each, which keeps its folder and variables from block to block."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "\x01"


def until(condition: Callable[[], bool], within_s: float, explain: Callable[[], str]) -> None:
    """Wait for other processes; time only bounds it."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)


@dataclass
class Terminal:
    """A shell that reads what is typed; what it and its commands say goes to a file."""

    output: Path
    shell: subprocess.Popen[bytes]
    began: int = field(default=0)

    @classmethod
    def opened(cls, output: Path, folder: Path, environment: Mapping[str, str]) -> Terminal:
        with output.open("wb") as out:
            shell = subprocess.Popen(
                ["/bin/bash", "--norc"],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        return cls(output, shell)

    def type(self, text: str) -> None:
        """Have it run; the mark with the status of the last command that failed comes when it has ended."""
        self.began = self.output.stat().st_size
        script = f"trap 'failed=$?' ERR; failed=0\n{text}\nprintf '{MARK}%s{MARK}' $failed\n"
        assert self.shell.stdin is not None
        self.shell.stdin.write(script.encode())
        self.shell.stdin.flush()

    def said(self) -> str:
        """What was said since the last text was typed."""
        return self.output.read_bytes()[self.began :].decode()

    def status(self, within_s: float = 30) -> int:
        """Wait for the end of what was typed: 0, or the status of the last command that failed."""
        until(lambda: MARK in self.said(), within_s, lambda: f"not within {within_s:g} s:\n{self.said()}")
        return int(re.findall(f"{MARK}(\\d+){MARK}", self.said())[-1])

    def result(self) -> str:
        """What was said, without the mark."""
        return self.said().partition(MARK)[0]

    def interrupt(self) -> None:
        """Ctrl-C, which a terminal sends to what runs in it and a shell without one does not pass on."""
        for child in psutil.Process(self.shell.pid).children():
            child.send_signal(signal.SIGINT)

    def close(self) -> None:
        """At once, with whatever still runs in it."""
        for process in [*psutil.Process(self.shell.pid).children(recursive=True)] if self.shell.poll() is None else []:
            process.kill()
        self.shell.kill()
        self.shell.wait()
        if self.shell.stdin is not None:
            self.shell.stdin.close()


def matches(shown: str, said: str) -> bool:
    """Whether what a page shows was said: `...` within a line is anything, alone on a line any lines or none."""
    lines = []
    for line in shown.strip("\n").split("\n"):
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(r"\s*" + r"[^\n]*".join(map(re.escape, line.strip().split("..."))) + r"[ \t]*\n")
    return re.fullmatch("".join(lines), f"{said.strip()}\n") is not None
