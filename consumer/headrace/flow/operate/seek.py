"""Putting shards somewhere else in the stream while the fleet runs: looked at first, then done shard by shard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from headrace.core import operator_rows
from headrace.core.reading import Reading
from headrace.core.reopening import MOST, family, waits_for
from headrace.core.seeking import Effect, Rereads, Seen, Stays, Unknown, effect_of, place_of, up_to_s, words
from headrace.errors import AwsError, NotFound, Retryable, Unavailable
from headrace.flow.operate.desk import ActRefused, Desk, at_once
from headrace.model import (
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Instant,
    Latest,
    Lease,
    Record,
    ShardId,
    ShardStart,
    StreamDescription,
    TrimHorizon,
)

T = TypeVar("T")

AT_ONCE: Final = 10
"""Shards that are looked at, or moved, together; the workers are told after each ten."""

LOOKS: Final = 20
"""Pages asked for a first record: Kinesis may answer with empty ones while there is more (API reference, GetRecords)."""

LOOK_AGAIN_S: Final = 0.25
"""Between two of them: a shard takes five calls a second from all of its readers together."""

TRIES: Final = 3
"""Of an act whose row moved under it: a running fleet writes its rows all the time."""


@dataclass(frozen=True, slots=True)
class Seek:
    """What would be done to one shard. `after` are the shards that it waits for, where they are opened again."""

    lease: Lease
    to: ShardStart
    up_to_s: float
    effect: Effect
    after: frozenset[ShardId] = frozenset()

    @property
    def shard(self) -> ShardId:
        """Which."""
        return self.lease.shard_id


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done: to each of `seeks` by itself, to the `family` at once.

    The family are finished shards that are read again, and all that descends of them. `finished` stay so.
    """

    seeks: list[Seek]
    family: list[Seek]
    finished: list[Seek]

    @property
    def moved(self) -> list[Seek]:
        """All that is not left as it is."""
        return [*self.family, *self.seeks]


@dataclass(frozen=True, slots=True)
class Sought:
    """What was done to one shard: it is read from the new place under this epoch, by nobody yet where there is no owner."""

    shard: ShardId
    before: str
    after: str
    lease: Lease | None
    took_s: float
    rests: bool = False
    """Nobody will read it for now: it is paused, or waits for others."""


async def resolve(desk: Desk, to: ShardStart | Latest) -> tuple[ShardStart, StreamDescription]:
    """LATEST as an instant of the service's own clock, as at a first start."""
    description = await desk.stream.describe()
    if isinstance(to, Latest):
        return AtTimestamp(datetime.fromtimestamp(description.now_s, UTC)), description
    if isinstance(to, AtTimestamp) and to.instant.timestamp() > description.now_s:
        raise ActRefused(f"{words(to)} is in the future: use latest")
    return to, description


async def preview(desk: Desk, chosen: Iterable[Lease], to: ShardStart | Latest) -> Plan:
    """What it would mean, shard by shard. Raises ActRefused."""
    place, description = await resolve(desk, to)

    async def look(lease: Lease, at: ShardStart) -> Seek:
        effect, target = await _effect(desk, lease, at, at_the_tip=isinstance(to, Latest))
        return Seek(lease, at, up_to_s(at, target, description.now_s, description.retention_s), effect)

    looked: list[Seek] = []
    for some in _portions(chosen):
        looked += await at_once(some, lambda lease: look(lease, place))
    roots = {one.shard for one in looked if one.lease.done and isinstance(one.effect, Rereads)}
    leases = await desk.leases() if roots else {}
    members = family(leases, roots)
    if len(members) > MOST:
        raise ActRefused(
            f"{len(members)} shards would have to be opened again at once, and {MOST} can be; go less far back"
        )
    known = {one.shard: one for one in looked}
    below = TrimHorizon() if isinstance(place, AtSequence) else place
    for shard, lease in members.items():
        one = known[shard] if shard in roots else await look(lease, below)
        known[shard] = replace(one, lease=lease, after=waits_for(lease, members))
    alone = [one for shard, one in known.items() if shard not in members]
    return Plan(
        seeks=[one for one in alone if not one.lease.done],
        family=[known[shard] for shard in members],
        finished=[one for one in alone if one.lease.done],
    )


async def seek(desk: Desk, plan: Plan, wait_s: float) -> list[Sought]:
    """Do it, and wait until owners read from there. Raises ActRefused: what was done until then is in the event log."""
    began = desk.clock.now()
    moved = [(one, lease) for one, lease in zip(plan.family, await _reopened(desk, plan.family), strict=True)]
    for some in _portions(plan.seeks):
        try:
            moved += zip(some, await at_once(some, lambda one: _moved(desk, one)), strict=True)
        finally:
            await desk.tell_workers()
    paused = await desk.paused_by() is not None
    return [await _settled(desk, one, lease, began, wait_s, paused=paused) for one, lease in moved]


async def _settled(desk: Desk, one: Seek, lease: Lease, began: Instant, wait_s: float, *, paused: bool) -> Sought:
    """Wait for the owner, which adopts the lease under one more epoch than it was given."""
    least = lease.epoch + (1 if lease.owner is None else 2)
    rests = paused or lease.paused_by is not None or bool(lease.pending) or bool(one.after)
    found = None
    if not rests:
        left_s = max(0.0, began + wait_s - desk.clock.now())
        found = await desk.until(lease.shard_id, lambda row: row.owner is not None and row.epoch >= least, left_s)
    return Sought(lease.shard_id, place_of(lease), words(one.to), found, desk.clock.now() - began, rests)


async def _reopened(desk: Desk, members: list[Seek]) -> list[Lease]:
    """The leases as they were when the family was opened again."""
    if not members:
        return []

    async def attempt() -> list[Lease]:
        leases = await desk.leases()
        now = [leases[one.shard] for one in members if one.shard in leases]
        if len(now) != len(members) or len(family(leases, [x.shard_id for x in now])) != len(members):
            raise ActRefused("shards came or went since the preview: nothing was done. Look, and try again")
        requests = [
            request
            for one, lease in zip(members, now, strict=True)
            for request in operator_rows.seek(desk.label, lease, one.to, one.up_to_s, one.after | lease.pending)
        ]
        names, after = ", ".join(one.shard for one in members), words(members[0].to)
        await desk.carry_out("reopen", names, requests, before="finished, or read", after=after)
        return now

    return await _tried(attempt)


async def _moved(desk: Desk, planned: Seek) -> Lease:
    """The lease as it was when it was moved."""

    async def attempt() -> Lease:
        lease = await desk.lease(planned.shard)
        if lease.done:
            raise ActRefused(f"{planned.shard} was finished since the preview. Look, and try again")
        requests = operator_rows.seek(desk.label, lease, planned.to, planned.up_to_s, lease.pending)
        before, after = f"{place_of(lease)}, epoch {lease.epoch}, owner {lease.owner}", words(planned.to)
        await desk.carry_out("seek", planned.shard, requests, before=before, after=after, tells=False)
        return lease

    return await _tried(attempt)


def _portions(items: Iterable[T]) -> Iterator[list[T]]:
    waiting = list(items)
    for start in range(0, len(waiting), AT_ONCE):
        yield waiting[start : start + AT_ONCE]


async def _tried(attempt: Callable[[], Awaitable[T]]) -> T:
    """A running fleet writes its rows all the time: look and try a few times."""
    for _ in range(TRIES - 1):
        with suppress(ActRefused):
            return await attempt()
    return await attempt()


async def _effect(desk: Desk, lease: Lease, to: ShardStart, *, at_the_tip: bool) -> tuple[Effect, Seen | None]:
    try:
        unread = None if lease.done else await first_record(desk, lease.shard_id, Reading(lease).position)
        target = None if at_the_tip else await first_record(desk, lease.shard_id, iterator_place(to))
    except NotFound as error:
        return (Stays() if lease.done else Unknown(str(error))), None  # it is trimmed: there is nothing to read again
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
