"""What the user sees on standard error while records are produced: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from headrace_producer.put import Tally

REDRAW_S: Final = 0.25
LINE_S: Final = 5.0


async def show_progress(tally: Tally, total: int | None, *, quiet: bool) -> None:
    """Show `tally` as it grows, until cancelled."""
    if quiet:
        return
    console = Console(stderr=True)
    if console.is_terminal:
        await _draw(tally, total, console)
    else:
        await _write(tally, total)


async def _draw(tally: Tally, total: int | None, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=total)
        while True:
            progress.update(bar, completed=tally.records, description=_line(tally, total))
            await asyncio.sleep(REDRAW_S)


async def _write(tally: Tally, total: int | None) -> None:
    while True:
        await asyncio.sleep(LINE_S)
        sys.stderr.write(f"{_line(tally, total)}\n")
        sys.stderr.flush()


def _line(tally: Tally, total: int | None) -> str:
    of_total = "" if total is None else f" of {total:,}"
    retried = f", {tally.retries:,} retried" if tally.retries else ""
    return f"{tally.records:,}{of_total} records acknowledged{retried}"
