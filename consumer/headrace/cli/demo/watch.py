"""The figures while the demo runs, from where an operator would take them: the workers' /metrics, and the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

ANSWER_S: Final = 5.0
LINE_S: Final = 2.0
"""Between two lines where there is no terminal."""

SETTLED, BURIED, OPEN, LAG, HELD = (
    "headrace_records_total/settled",
    "headrace_records_total/buried",
    "headrace_shard_open_records",
    "headrace_shard_lag_seconds",
    "headrace_leases_held",
)


@dataclass(frozen=True, slots=True)
class Figures:
    """One look. `lag_s` is the largest of all shards; `held` the leases of each worker."""

    produced: int = 0
    written: int = 0
    dead_lettered: int = 0
    open: int = 0
    lag_s: float = 0.0
    held: tuple[int, ...] = ()

    @property
    def all_done(self) -> bool:
        """As many records are settled or buried as were acknowledged, and none is in progress."""
        return self.written + self.dead_lettered >= self.produced and not self.open


class LedgerCount:
    """Lines of a ledger that grows, without reading any twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines = -1  # the first is the header

    def read(self) -> int:
        """Records so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while piece := file.read(2**20):
                    self._lines += piece.count(b"\n")
                    self._offset += len(piece)
        return max(0, self._lines)


async def is_ready(http: aiohttp.ClientSession, port: int) -> bool:
    """Whether the worker at this port says that it is."""
    try:
        async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


async def look(http: aiohttp.ClientSession, ports: Sequence[int], ledger: LedgerCount) -> Figures:
    """Ask every worker. Raises aiohttp.ClientError or TimeoutError when one does not answer."""
    # The ledger first: what is counted after it can only be more, so "all done" is never said too late, nor too early.
    produced = ledger.read()
    samples = [await _samples(http, port) for port in ports]
    return Figures(
        produced=produced,
        written=int(sum(one.get(SETTLED, 0) for one in samples)),
        dead_lettered=int(sum(one.get(BURIED, 0) for one in samples)),
        open=int(sum(one.get(OPEN, 0) for one in samples)),
        lag_s=max((one.get(LAG, 0.0) for one in samples), default=0.0),
        held=tuple(int(one.get(HELD, 0)) for one in samples),
    )


async def _samples(http: aiohttp.ClientSession, port: int) -> dict[str, float]:
    """Metrics by name and outcome; over shards the sum, of the lag the largest."""
    async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        answer.raise_for_status()
        text = await answer.text()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = f"{sample.name}/{sample.labels['outcome']}" if "outcome" in sample.labels else sample.name
            before = found.get(name, 0.0)
            found[name] = max(before, sample.value) if name == LAG else before + sample.value
    return found


class Screen(Protocol):
    """Where figures are shown."""

    def show(self, figures: Figures, elapsed_s: float) -> None:
        """Show them."""


@contextmanager
def screen(expected: int) -> Iterator[Screen]:
    """Bars on a terminal, else a line now and then; on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        yield _Bars(progress, expected)


class _Bars:
    def __init__(self, progress: Progress, expected: int) -> None:
        self._progress = progress
        names = ("produced", "written", "dead-lettered")
        self._bars = {name: progress.add_task(name, total=expected, note="") for name in names}

    def show(self, figures: Figures, elapsed_s: float) -> None:  # noqa: ARG002 - the bars have a clock of their own
        notes = {"written": f"lag {figures.lag_s:.1f} s", "produced": f"leases {_shown(figures.held)}"}
        counts = zip(self._bars.items(), (figures.produced, figures.written, figures.dead_lettered), strict=True)
        for (name, bar), count in counts:
            self._progress.update(bar, completed=count, note=notes.get(name, ""))


class _Lines:
    def __init__(self) -> None:
        self._next_s = 0.0

    def show(self, figures: Figures, elapsed_s: float) -> None:
        if elapsed_s < self._next_s:
            return
        self._next_s = elapsed_s + LINE_S
        sys.stderr.write(
            f"{elapsed_s:5.1f} s  produced {figures.produced:,}, written {figures.written:,}, "
            f"dead-lettered {figures.dead_lettered:,}, lag {figures.lag_s:.1f} s, leases {_shown(figures.held)}\n"
        )
        sys.stderr.flush()


def _shown(held: tuple[int, ...]) -> str:
    return " + ".join(map(str, held))
