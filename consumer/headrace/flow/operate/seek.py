"""Putting shards somewhere else in the stream while the fleet runs: looked at first, then done shard by shard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from headrace.core import operator_rows
from headrace.core.reading import Reading
from headrace.core.seeking import Effect, Seen, Unknown, effect_of, place_of, up_to_s, words
from headrace.errors import AwsError, Retryable, Unavailable
from headrace.flow.operate.desk import ActRefused, Desk
from headrace.model import (
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Latest,
    Lease,
    Record,
    ShardId,
    ShardStart,
    StreamDescription,
    TrimHorizon,
)

LOOKS: Final = 20
"""Pages asked for a first record: Kinesis may answer with empty ones while there is more (API reference, GetRecords)."""

LOOK_AGAIN_S: Final = 0.25
"""Between two of them: a shard takes five calls a second from all of its readers together."""

TRIES: Final = 3
"""Of an act whose row moved under it: a running fleet writes its rows all the time."""


@dataclass(frozen=True, slots=True)
class Seek:
    """What would be done to one shard."""

    lease: Lease
    to: ShardStart
    up_to_s: float
    effect: Effect

    @property
    def shard(self) -> ShardId:
        """Which."""
        return self.lease.shard_id


@dataclass(frozen=True, slots=True)
class Sought:
    """What was done to one shard: it is read from the new place under this epoch, by nobody yet where there is no owner."""

    shard: ShardId
    before: str
    after: str
    lease: Lease | None
    took_s: float


async def resolve(desk: Desk, to: ShardStart | Latest) -> tuple[ShardStart, StreamDescription]:
    """LATEST as an instant of the service's own clock, as at a first start."""
    description = await desk.stream.describe()
    if isinstance(to, Latest):
        return AtTimestamp(datetime.fromtimestamp(description.now_s, UTC)), description
    if isinstance(to, AtTimestamp) and to.instant.timestamp() > description.now_s:
        raise ActRefused(f"{words(to)} is in the future: use latest")
    return to, description


async def preview(desk: Desk, chosen: Iterable[Lease], to: ShardStart | Latest) -> list[Seek]:
    """What it would mean, shard by shard; finished shards are left out. Raises ActRefused."""
    place, description = await resolve(desk, to)
    seeks = []
    for lease in chosen:
        if lease.done:
            continue
        effect, target = await _effect(desk, lease, place, at_the_tip=isinstance(to, Latest))
        seeks.append(Seek(lease, place, up_to_s(place, target, description.now_s, description.retention_s), effect))
    return seeks


async def seek(desk: Desk, planned: Seek, wait_s: float) -> Sought:
    """Do it to one shard, and wait until its owner reads from there. Raises ActRefused."""
    began = desk.clock.now()
    lease = await _moved(desk, planned)
    least = lease.epoch + (1 if lease.owner is None else 2)
    found = None
    rests = lease.paused_by or await desk.paused_by()
    if wait_s and not rests and not lease.pending:
        found = await desk.until(lease.shard_id, lambda row: row.owner is not None and row.epoch >= least, wait_s)
    return Sought(lease.shard_id, place_of(lease), words(planned.to), found, desk.clock.now() - began)


async def _moved(desk: Desk, planned: Seek) -> Lease:
    """The lease as it was when it was moved."""
    for attempt in range(TRIES):
        lease = await desk.lease(planned.shard)
        if lease.done:
            raise ActRefused(f"{planned.shard} is finished: it has no position any more")
        requests = operator_rows.seek(desk.label, lease, planned.to, planned.up_to_s)
        before, after = f"{place_of(lease)}, epoch {lease.epoch}, owner {lease.owner}", words(planned.to)
        try:
            await desk.carry_out("seek", planned.shard, requests, before=before, after=after)
        except ActRefused:
            if attempt == TRIES - 1:
                raise
            continue
        return lease
    raise AssertionError("unreachable")


async def _effect(desk: Desk, lease: Lease, to: ShardStart, *, at_the_tip: bool) -> tuple[Effect, Seen | None]:
    try:
        unread = await first_record(desk, lease.shard_id, Reading(lease).position)
        target = None if at_the_tip else await first_record(desk, lease.shard_id, iterator_place(to))
    except AwsError as error:
        return Unknown(str(error)), None
    return effect_of(unread, target), target


def iterator_place(to: ShardStart) -> Checkpoint | TrimHorizon | AtTimestamp:
    """A place as the stream takes it: a record that is to be read itself stands as one inside an aggregate."""
    return Checkpoint.at(to.sequence_number, 0) if isinstance(to, AtSequence) else to


async def first_record(desk: Desk, shard: ShardId, place: Checkpoint | TrimHorizon | AtTimestamp) -> Seen | None:
    """The first record there; None where there is none yet. Raises what the stream raises."""
    records = await first_page(desk, shard, place)
    return Seen(records[0].sequence_number, records[0].arrival_s) if records else None


async def first_page(desk: Desk, shard: ShardId, place: Checkpoint | TrimHorizon | AtTimestamp) -> list[Record]:
    """The first record there, alone; empty where there is none yet. Raises what the stream raises."""
    iterator: str | None = await desk.stream.iterator(shard, place)
    for _ in range(LOOKS):
        if iterator is None:
            return []
        try:
            page = await desk.stream.get_records(iterator, 1, shard)
        except Retryable:
            await asyncio.sleep(LOOK_AGAIN_S * (0.5 + desk.chance()))
            continue
        if page.records or page.behind_s == 0:
            return page.records
        iterator = page.next_iterator
        await asyncio.sleep(LOOK_AGAIN_S)
    raise Unavailable(f"{shard}: no record in {LOOKS} calls, and the tip is farther")
