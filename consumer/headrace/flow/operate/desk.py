"""Where an operator sits: reads the fleet's rows, changes one under its condition, and leaves word so that workers look.

Every change is one transaction with the row in the event log that tells of it. A refusal means that somebody changed the
row meanwhile: nothing was done, and the operator looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from headrace.core import audit, lease_rows, leases, membership, operator_rows
from headrace.core.identity import fresh_token
from headrace.errors import AwsError, Denied, HeadraceError, NotFound
from headrace.flow.persist import persist
from headrace.model import Lease, ShardId, WorkerId, WorkerRow
from headrace.ports import Clock, LeaseTable, Stream
from headrace.rows import Applied, Request, Row, TransactionApplied, TransactionOutcome
from headrace.tasks import all_of

S = TypeVar("S")
T = TypeVar("T")

LOOK_EVERY_S: Final = 0.1
"""Between two looks at a row that is waited for."""

TOKEN: Final = 8
"""Characters that tell two events of one millisecond apart."""


class ActRefused(HeadraceError):  # noqa: N818 - it says what is the case, as its family does
    """What an operator asked for cannot be done, or somebody else was faster."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the acts of one operator need.

    `stream_name` names the stream, `label` its lease rows; `by` and `why` go into the event log. `nudge` tells the
    workers at these addresses to look now: a hint that may be lost.
    """

    table: LeaseTable
    stream: Stream
    stream_name: str
    label: str
    by: str
    why: str
    clock: Clock
    chance: Callable[[], float]
    nudge: Callable[[Sequence[str]], Awaitable[None]]

    async def leases(self) -> dict[ShardId, Lease]:
        """Every lease, strongly consistent; no snapshot."""
        found: dict[ShardId, Lease] = {}

        async def read(partition: str) -> None:
            for lease in map(lease_rows.lease_of, await self._query(partition)):
                found[lease.shard_id] = lease

        async with all_of() as queries:
            for partition in leases.lease_partitions(self.label):
                queries.create_task(read(partition), name=f"query-{partition}")
        return dict(sorted(found.items()))

    async def paused_by(self) -> str | None:
        """The operator who paused the whole application."""
        meta = await self._asked("read_meta", lambda: self.table.get(leases.meta_key(self.stream_name)))
        return None if meta is None else lease_rows.paused_by(meta)

    async def lease(self, shard: ShardId) -> Lease:
        """One lease. Raises ActRefused where there is none."""
        row = await self._asked("read_lease", lambda: self.table.get(leases.lease_key(self.label, shard)))
        if row is None:
            raise ActRefused(f"{shard} has no lease in this application")
        return lease_rows.lease_of(row)

    async def workers(self) -> dict[WorkerId, WorkerRow]:
        """Every worker that may be alive."""
        rows = await self._query(membership.WORKERS)
        found = (worker for worker in map(lease_rows.worker_of, rows) if membership.is_alive(worker))
        return {worker.worker_id: worker for worker in found}

    async def carry_out(
        self,
        act: str,
        target: str,
        requests: Iterable[Request],
        *,
        before: str = "",
        after: str = "",
        tells: bool = True,
    ) -> None:
        """Do it and note it, all or nothing; then make the workers look, unless the caller does. Raises ActRefused."""
        event = audit.Event(
            at=self.clock.wall(),
            act=act,
            target=target,
            by=self.by,
            why=self.why,
            before=before,
            after=after,
            token=fresh_token(self.chance)[:TOKEN],
        )
        members = (*requests, audit.note(self.label, event))
        token = leases.end_token(self.label, members)

        async def transact() -> TransactionOutcome:
            return await self.table.transact(members, token)

        if not isinstance(await self._asked(act, transact), TransactionApplied):
            raise ActRefused(f"{act} {target}: its row changed meanwhile, and nothing was done. Look, and try again")
        if tells:
            await self.tell_workers()

    async def tell_workers(self) -> None:
        """Leave word, which every worker finds with its next poll, and nudge them all, so that they look now."""
        living = await self.workers()
        word = fresh_token(self.chance)
        for worker in living:
            if isinstance(await self._tried(operator_rows.leave_word(worker, word)), Applied):
                break
        await self.nudge([worker.address for worker in living.values() if worker.address])

    async def until(self, shard: ShardId, holds: Callable[[Lease], bool], within_s: float) -> Lease | None:
        """Its row once it shows something; None where it did not within this many seconds."""
        deadline = self.clock.now() + within_s
        while not holds(lease := await self.lease(shard)):
            if self.clock.now() >= deadline:
                return None
            await asyncio.sleep(LOOK_EVERY_S)
        return lease

    async def events(self) -> list[audit.Event]:
        """The event log, oldest first."""
        return [audit.event_of(row) for row in await self._query(audit.events_partition(self.label))]

    async def _query(self, partition: str) -> list[Row]:
        return await self._asked("read_rows", lambda: self.table.query(partition, consistent=True))

    async def _tried(self, request: Request) -> object:
        try:
            return await self.table.apply(request)
        except AwsError:
            return None

    async def _asked(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        return await persist(what, call, self.chance, hopeless=(Denied, NotFound))


async def at_once(items: Iterable[S], work: Callable[[S], Awaitable[T]]) -> list[T]:
    """Work on some items, together; what came of them, in their order."""
    results: dict[int, T] = {}

    async def one(place: int, item: S) -> None:
        results[place] = await work(item)

    async with all_of() as tasks:
        for place, item in enumerate(items):
            tasks.create_task(one(place, item), name=f"operate-{place}")
    return [results[place] for place in sorted(results)]


def living_names(workers: Mapping[WorkerId, WorkerRow]) -> str:
    """For a message that says which workers there are."""
    return ", ".join(sorted(workers)) or "none"
