"""Reads that are eventually consistent may come from a replica that is behind; no wait may hang on what it shows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from flow.fleet import fleet

from headrace.rows import Applied, Key, Request, Row
from headrace.testing.lease_table import MemoryLeaseTable

pytestmark = pytest.mark.looptime

BEHIND_S = 5.0
"""Longer than it takes until every worker knows that something changed."""


@dataclass
class Replica:
    """What the rows were, at the time of the loop."""

    versions: list[tuple[float, dict[Key, Row]]] = field(default_factory=list)

    def as_of(self, instant: float) -> dict[Key, Row]:
        return next((rows for at, rows in reversed(self.versions) if at <= instant), {})


class LaggingTable(MemoryLeaseTable):
    """Lease rows, unless a consistent read asks for them, are those of BEHIND_S ago."""

    def __init__(self) -> None:
        super().__init__()
        self._replica = Replica()

    def _write(self, request: Request) -> Applied:
        applied = super()._write(request)
        self._replica.versions.append((asyncio.get_running_loop().time(), dict(self.rows)))
        return applied

    async def query(self, pk: str, *, consistent: bool = False) -> list[Row]:
        if consistent or not pk.startswith("L#"):
            return await super().query(pk, consistent=consistent)
        then = self._replica.as_of(asyncio.get_running_loop().time() - BEHIND_S)
        return [row for key, row in sorted(then.items()) if key.pk == pk]


async def test_children_are_read_at_once_though_a_replica_shows_them_late():
    """News of a change come once; a read that does not show it yet would be the last one for a minute."""
    async with fleet() as f:
        f.table = LaggingTable()
        f.start()
        f.put(10)
        await f.until(f.all_written)
        await asyncio.sleep(20)
        for _ in range(3):
            f.stream.split(f.stream._open[0].shard.shard_id)
        f.put(100, keys=100)

        await f.until(f.all_written, within_s=10)


async def test_a_lease_that_was_claimed_without_an_answer_is_adopted_at_once_though_a_replica_shows_it_late():
    """Its row already names the worker, and nobody else will take it."""
    async with fleet() as f:
        f.table = LaggingTable()
        worker = f.start()
        unanswered = [True]

        def fault(request):
            is_claim = getattr(request, "assign", {}).get("own") is not None
            return "unanswered" if is_claim and unanswered and unanswered.pop() else None

        worker.link.fault = fault
        f.put(10)
        await f.until(f.all_written, within_s=15)
