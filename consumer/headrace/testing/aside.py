"""An Aside that is none: the work runs on the same loop, and so in the same virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from headrace.ports import LeaseTable


class SameLoop:
    """Implements `ports.Aside` with the table it is given."""

    def __init__(self, table: LeaseTable) -> None:
        self._table = table

    async def run(self, work: Callable[[LeaseTable], Awaitable[None]]) -> None:
        """Run it here."""
        await work(self._table)
