"""The stream's shards and the application's rows for them: made when missing, tied to one stream by its creation time.

The first start of an application fixes where it begins (LATEST becomes an instant of the service's own clock) and makes
a row for every listed shard from there. Until that is noted as complete, every worker that starts does it again with the
remembered start: all its writes are create-if-absent. Shards found later are children, and begin at their beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import structlog

from headrace.core import lease_rows, leases
from headrace.core.lineage import NewLease, doubtful, generations, missing_leases, shard_of
from headrace.errors import AwsError, StreamReplaced
from headrace.flow.losses import Losses
from headrace.flow.persist import persist
from headrace.model import (
    AtTimestamp,
    Latest,
    Lease,
    Shard,
    ShardId,
    StartPosition,
    StreamDescription,
    TrimHorizon,
)
from headrace.ports import Ports
from headrace.rows import Applied, Outcome, Request, Row
from headrace.tasks import all_of

log = structlog.get_logger(__name__)

LIST_SHARDS_EVERY_S: Final = 60.0
"""On average. New shards are found by the last page of their parents; this catches what that misses."""

CREATED_AT_ONCE: Final = 16
"""Lease rows in the making at a time."""

CLOCKS_AGREE_S: Final = 60.0
"""Times of day of two workers differ by less than this, or NTP is broken."""


class Discovery:
    """What the stream has, and what the table has of it."""

    def __init__(self, ports: Ports, stream: str, losses: Losses) -> None:
        self.label = stream
        """The name under which the stream's lease rows stand."""
        self.paused_by: str | None = None
        """The operator who paused the whole application, as it was read last."""
        self._stream = stream
        self._losses = losses
        self._listed: frozenset[ShardId] = frozenset()
        self._listed_at_s = float("-inf")
        """The last listing, and the time of day at which it was asked for."""
        self._ports = ports

    async def open(self, description: StreamDescription, start: StartPosition) -> None:
        """Tie the application to the stream, or find it tied to this one, and see that its first rows are there.

        Raises StreamReplaced when the leases were made for an earlier stream of the same name, unless the worker is to
        go on with what is left.
        """
        meta = await self._remember(description, start)
        if lease_rows.remembered_created(meta) != description.created:
            meta = await self._replace(description, lease_rows.remembered_created(meta))
        self.label = lease_rows.remembered_label(meta)
        self.paused_by = lease_rows.paused_by(meta)
        if lease_rows.is_bootstrapped(meta):
            await persist("discover", self.discover, self._ports.chance)
        else:
            begin = lease_rows.remembered_start(meta)
            await persist("bootstrap", lambda: self._discover(begin), self._ports.chance)
            await self._apply("note_bootstrap", leases.note_bootstrap(self._stream))

    async def run(self) -> None:
        """Discover from time to time, for ever; a listing that fails is simply tried again next time."""
        while True:
            await asyncio.sleep(LIST_SHARDS_EVERY_S * (0.5 + self._ports.chance()))
            try:
                await self.discover()
                await self.look_for_pause()
            except AwsError as error:
                log.warning("discovery_failed", error=str(error))

    async def look_for_pause(self) -> None:
        """Whether the whole application is paused now. Raises what the table's `get` raises."""
        if (meta := await self._ports.table.get(leases.meta_key(self._stream))) is not None:
            self.paused_by = lease_rows.paused_by(meta)

    async def discover(self) -> list[Shard]:
        """Make a row for every listed shard that has none; returns the shards that are listed or had a row.

        Raises Throttled, Unavailable, Denied or NotFound.
        """
        return await self._discover(TrimHorizon())

    def may_list(self, lease: Lease) -> bool:
        """Whether the stream may still list a finished shard: a listing from before its end says nothing about it."""
        return lease.shard_id in self._listed or self._listed_at_s < lease.done_at_s + CLOCKS_AGREE_S

    async def read_leases(self, *, consistent: bool = False) -> dict[ShardId, Lease]:
        """Every lease row of the stream; no snapshot, and eventually consistent unless it is to be `consistent`.

        Raises what the table's query raises.
        """
        found: dict[ShardId, Lease] = {}

        async def read(partition: str) -> None:
            for row in await self._ports.table.query(partition, consistent=consistent):
                lease = lease_rows.lease_of(row)
                found[lease.shard_id] = lease

        async with all_of() as queries:
            for partition in leases.lease_partitions(self.label):
                queries.create_task(read(partition), name=f"query-{partition}")
        return found

    async def _remember(self, description: StreamDescription, start: StartPosition) -> Row:
        first = _resolved(start, description)
        request = leases.remember_stream(self._stream, description.arn, description.created, first)
        outcome = await self._apply("remember_stream", request)
        if isinstance(outcome, Applied):
            log.info("application_began", stream=self._stream, start=str(first))
        return self._there(outcome)

    async def _replace(self, description: StreamDescription, was: datetime) -> Row:
        """Another stream of the same name: refuse it, or go on with it."""
        replaced = StreamReplaced(
            f"the leases were made for a stream {self._stream} created {was}; "
            f"the stream of that name today was created {description.created}"
        )
        if not self._losses.continues:
            raise replaced
        request = leases.replace_stream(self._stream, description.arn, was, description.created)
        outcome = await self._apply("replace_stream", request)
        if isinstance(outcome, Applied):
            self._losses.tell_replaced(replaced)
        meta = self._there(outcome)
        if lease_rows.remembered_created(meta) != description.created:
            raise replaced
        return meta

    def _there(self, outcome: Outcome) -> Row:
        if outcome.row is None:
            raise StreamReplaced(f"the row that ties {self._stream} to its leases vanished while it was read")
        return outcome.row

    async def _discover(self, start: TrimHorizon | AtTimestamp) -> list[Shard]:
        asked_at_s = self._ports.clock.wall().timestamp()
        shards, found = await self._ports.stream.list_shards(), await self.read_leases()
        for shard in doubtful(shards, found):  # a child that is made without its pending parent overtakes it
            if (row := await self._ports.table.get(leases.lease_key(self.label, shard))) is not None:
                found[shard] = lease_rows.lease_of(row)
        for generation in generations(missing_leases(shards, found, start)):
            await self._create(generation, asked_at_s)
        self._listed = frozenset(shard.shard_id for shard in shards)
        self._listed_at_s = asked_at_s
        return [*shards, *(shard_of(lease) for lease in found.values() if lease.shard_id not in self._listed)]

    async def _create(self, missing: Iterable[NewLease], wall_s: float) -> None:
        """One generation, several at a time: a large stream's first start would else be a long row of round trips.

        A child's row says that its parents had theirs, so it is made only once they are there for certain.
        """
        waiting = iter(list(missing))

        async def create() -> None:
            for new in waiting:
                if isinstance(await self._ports.table.apply(leases.create(self.label, new, wall_s)), Applied):
                    log.info("shard_discovered", shard=new.shard.shard_id, parents=new.shard.parents)

        async with all_of() as creating:
            for number in range(CREATED_AT_ONCE):
                creating.create_task(create(), name=f"create-leases-{number}")

    async def _apply(self, what: str, request: Request) -> Outcome:
        return await persist(what, lambda: self._ports.table.apply(request), self._ports.chance)


def _resolved(start: StartPosition, description: StreamDescription) -> TrimHorizon | AtTimestamp:
    if isinstance(start, Latest):
        return AtTimestamp(datetime.fromtimestamp(description.now_s, UTC))
    return start
