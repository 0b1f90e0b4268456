"""What the simulation found in shipped code and is mended here until it is mended there; see the notes at each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from headrace import tasks
from headrace.core import leases
from headrace.core.lineage import NewLease
from headrace.flow.leasing.discovery import CREATED_AT_ONCE, Discovery
from headrace.tasks import TaskGroup, all_of
from simulation.patching import patch


def mend_all() -> None:
    """Put the mends in place."""
    patch(TaskGroup, "__aexit__", _aexit)
    patch(Discovery, "_create", _create)


# A group whose children fail while its own task is cancelled raises what they raised, and the cancellation is forgotten
# (Python before 3.13): a call that is tried for ever goes on after its incarnation was fenced, which then never ends.

_aexit_of_before = TaskGroup.__aexit__


async def _aexit(
    self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    try:
        await _aexit_of_before(self, kind, error, trace)
    except BaseExceptionGroup:
        if tasks.NEEDS_MENDING and self._parent_task.cancelling():
            self._parent_task.uncancel()
            self._parent_task.cancel()
        raise


# Rows made 16 at a time: where a parent's row fails and its child's does not, the child's row says that the parent was
# finished long ago, and nobody ever reads it.


async def _create(self: Any, missing: Iterable[NewLease], wall_s: float) -> None:
    for generation in _generations(missing):
        waiting = iter(generation)

        async def create(waiting: Iterator[NewLease] = waiting) -> None:
            for new in waiting:
                await self._ports.table.apply(leases.create(self.label, new, wall_s))

        async with all_of() as creating:
            for number in range(CREATED_AT_ONCE):
                creating.create_task(create(), name=f"create-leases-{number}")


def _generations(missing: Iterable[NewLease]) -> Iterator[list[NewLease]]:
    generation: list[NewLease] = []
    for new in missing:
        if any(new.shard.parents and made.shard.shard_id in new.shard.parents for made in generation):
            yield generation
            generation = []
        generation.append(new)
    yield generation
