"""The timeline on standard error: what happened when, and below it, on a terminal, how far the records are."""

from __future__ import annotations

import time

from rich.console import Console
from rich.status import Status


class Timeline:
    """Lines with the seconds since the run began."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._status: Status | None = None

    def tell(self, what: str) -> None:
        """Add a line."""
        self._console.print(f"{time.monotonic() - self._began:8.1f} s  {what}", markup=False)

    def show(self, workers: int, handled: int, behind: int) -> None:
        """Refresh the last line; nothing where that is no terminal."""
        if not self._console.is_terminal:
            return
        text = f"{workers} workers, {handled:,} calls, {behind:,} records not handled yet"
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        self._status.update(text)

    def close(self) -> None:
        """Take the last line away."""
        if self._status is not None:
            self._status.stop()
