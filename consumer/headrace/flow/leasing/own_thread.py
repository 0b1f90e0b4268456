"""The heartbeat's own thread: a handler that keeps the main loop busy does not hold it up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from headrace.ports import LeaseTable

GOODBYE_S: Final = 1.0
"""How long the thread is waited for after it was told to end: it may be in the middle of closing its connection."""


class OwnThread:
    """Implements `ports.Aside`; `open_table` is called on the thread and gives a table that belongs to its loop."""

    def __init__(self, open_table: Callable[[], AbstractAsyncContextManager[LeaseTable]]) -> None:
        self._open_table = open_table

    async def run(self, work: Callable[[LeaseTable], Awaitable[None]]) -> None:
        """Run it on a thread of its own."""
        life = _Life(self._open_table, work)
        threading.Thread(target=life.live, name="heartbeat", daemon=True).start()
        try:
            await asyncio.shield(life.ended)
        except asyncio.CancelledError:
            life.cancel()
            await asyncio.wait([life.ended], timeout=GOODBYE_S)
            raise


class _Life:
    """One run of the thread, seen from both loops."""

    def __init__(
        self,
        open_table: Callable[[], AbstractAsyncContextManager[LeaseTable]],
        work: Callable[[LeaseTable], Awaitable[None]],
    ) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended.add_done_callback(_note)
        self._open_table = open_table
        self._work = work
        self._begun = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    def live(self) -> None:
        """The thread."""
        error: BaseException | None = None
        try:
            with asyncio.Runner() as runner:
                runner.run(self._begin())
        except BaseException as caught:  # noqa: BLE001 - it is raised on the main loop
            error = caught
        try:
            self.ended.get_loop().call_soon_threadsafe(self._tell, error)
        except RuntimeError:  # the main loop is closed: nobody waits
            return

    def cancel(self) -> None:
        """End the thread, from the main loop."""
        with self._begun:
            self._cancelled = True
            if self._task is not None:
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    async def _begin(self) -> None:
        with self._begun:
            if self._cancelled:
                return
            self._task = asyncio.current_task()
        async with self._open_table() as table:
            await self._work(table)

    def _tell(self, error: BaseException | None) -> None:
        if self.ended.done():
            return
        if error is None or isinstance(error, asyncio.CancelledError):
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)


def _note(ended: asyncio.Future[None]) -> None:
    """Whoever was cancelled meanwhile does not ask what it raised."""
    if not ended.cancelled():
        ended.exception()
