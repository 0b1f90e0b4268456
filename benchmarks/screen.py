"""What the runner shows: a progress bar on a terminal, plain lines anywhere else, and a table of results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.measure import Measurement, Watch
from benchmarks.report import COLUMNS, Target, machine, requests_line, rows


def say(text: str) -> None:
    """A line about what is going on; standard output is for results."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Watch]:
    """What is given to `measure` as its watch."""
    if not sys.stderr.isatty():
        say(f"{title}: {total:,} records")
        yield _ignore
        return
    from rich.console import Console  # noqa: PLC0415 - a child inherits the runner's peak memory: import little
    from rich.progress import Progress  # noqa: PLC0415 - likewise

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def _ignore(_: int) -> None: ...


def show(title: str, runs: Sequence[Measurement], targets: Iterable[Target]) -> None:
    """The results of consumers."""
    show_rows(title, COLUMNS, list(rows(runs)), ())
    for run in {run.consumer: run for run in runs}.values():
        print(requests_line(run))
    print()
    for target in targets:
        print(target)


def show_rows(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]], targets: Iterable[Target]) -> None:
    """A table under its title and the machine, then the targets."""
    print(f"\n{title}\n{machine()}\n")
    _print_table(columns, lines)
    print()
    for target in targets:
        print(target)


def _print_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    for line in (columns, *lines):
        first, *others = [(str.rjust if place else str.ljust)(cell, widths[place]) for place, cell in enumerate(line)]
        print("  ".join((first, *others)).rstrip())
