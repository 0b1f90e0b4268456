"""The operators' acts as actions of the page: the same looks, sentences and event rows as on the command line.

Except for `seek` and `move` the page does not wait for a worker to take up what was asked: it sees the fleet itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from headrace.cli.desk import shard_of
from headrace.cli.operate import record_position
from headrace.cli.parts import CHANCE
from headrace.cli.seek import place, preview_lines, sought_line
from headrace.core import act_words, leases
from headrace.core.lease_rows import remembered_label
from headrace.errors import SettingsError
from headrace.flow.operate import seek, shards
from headrace.flow.operate.desk import ActRefused, Desk
from headrace.model import AtSequence, Lease
from headrace.ops.actions import Action, ActionRefusedError, DiscardLetter, Preview
from headrace.ops.fleet import Source
from headrace.ops.letter_shelf import LetterShelf
from headrace.settings import Settings

BY: Final = "admin token"
"""Who the event log names: the token belongs to nobody in particular, the reason says more."""

WAIT_S: Final = 10.0
"""How long an answer waits for a worker to take up what was asked for."""

Nudge: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]
Arguments: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Office:
    """Opens a desk for each request."""

    settings: Settings
    source: Source
    nudge: Nudge

    async def desk(self, why: str = "") -> Desk:
        """Raises ActionRefusedError before a worker has read the stream; what the table raises."""
        source = self.source
        meta = await source.table.get(leases.meta_key(source.name))
        if meta is None:
            raise ActionRefusedError("No worker has read the stream yet: there is nothing to act on")
        label = remembered_label(meta)
        return Desk(source.table, source.stream, source.name, label, BY, why, source.clock, CHANCE, self.nudge)

    async def note(self, act: str, target: str, why: str, before: str) -> None:
        """An event row of something that is not done in the lease table. Raises as `desk`, and ActRefused."""
        async with _refusals():
            await (await self.desk(why)).carry_out(act, target, (), before=before, after="deleted", tells=False)


@dataclass(frozen=True, slots=True)
class Act:
    """One of them: `look` says what it would do, `do` does it and says what was done."""

    name: str
    office: Office
    look: Callable[[Desk, Arguments], Awaitable[str]]
    do: Callable[[Desk, Arguments], Awaitable[str]]

    async def preview(self, arguments: Arguments) -> Preview:
        """Look at it."""
        async with _refusals():
            return Preview(await self.look(await self.office.desk(), arguments), self.office.source.name)

    async def perform(self, arguments: Arguments, reason: str) -> str:
        """Do it; its event row is in the same transaction."""
        async with _refusals():
            return await self.do(await self.office.desk(reason), arguments)


@asynccontextmanager
async def _refusals() -> AsyncIterator[None]:
    try:
        yield
    except (ActRefused, SettingsError) as error:
        raise ActionRefusedError(str(error)) from error


def operator_actions(settings: Settings, source: Source, nudge: Nudge, shelf: LetterShelf) -> tuple[Action, ...]:
    """All of them; letters of a `shelf` that cannot be looked at cannot be deleted either."""
    office = Office(settings, source, nudge)
    return (*_acts(office), *(() if shelf.instead else (DiscardLetter(shelf, office.note, source.name),)))


def _acts(office: Office) -> tuple[Action, ...]:
    seeking = _Seeking(office)
    return (
        Act("seek", office, seeking.look, seeking.do),
        Act("pause", office, _look_at_pause, _pause),
        Act("resume", office, _look_at_resume, _resume),
        Act("drain", office, _look_at_drain, _drain),
        Act("undrain", office, _look_at_undrain, _undrain),
        Act("move", office, _look_at_move, _move),
        Act("skip", office, _look_at_skip, _skip),
    )


def _text(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ActionRefusedError(f"{name} is missing")
    return value.strip()


# --- seek -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seeking:
    """`shard` is one of them, or every one where it is left out."""

    office: Office

    async def look(self, desk: Desk, arguments: Arguments) -> str:
        """What is read again or skipped."""
        return " ".join(preview_lines(await self._plan(desk, arguments), self.office.settings))

    async def do(self, desk: Desk, arguments: Arguments) -> str:
        """Move them."""
        done = await seek.seek(desk, await self._plan(desk, arguments), WAIT_S)
        return "; ".join(map(sought_line, done)) or "Nothing moved."

    async def _plan(self, desk: Desk, arguments: Arguments) -> seek.Plan:
        to = place(_text(arguments, "to"), desk.clock.wall())
        if (shard := arguments.get("shard")) is None:
            if isinstance(to, AtSequence):
                raise ActionRefusedError("A sequence number is a record of one shard: name it")
            return await seek.preview(desk, list((await desk.leases()).values()), to)
        return await seek.preview(desk, [await desk.lease(shard_of(str(shard)))], to)


# --- pause and resume -------------------------------------------------------------------------------------------------


async def _named(desk: Desk, arguments: Arguments) -> Lease | None:
    """The shard that is meant, None for all of them."""
    shard = arguments.get("shard")
    return None if shard is None else await desk.lease(shard_of(str(shard)))


async def _look_at_pause(desk: Desk, arguments: Arguments) -> str:
    lease = await _named(desk, arguments)
    return act_words.pausing(lease.shard_id if lease else None)


async def _pause(desk: Desk, arguments: Arguments) -> str:
    if (lease := await _named(desk, arguments)) is None:
        await shards.pause_all(desk)
        return "All shards are paused."
    await shards.pause(desk, lease.shard_id)
    return f"{lease.shard_id} is paused."


async def _look_at_resume(desk: Desk, arguments: Arguments) -> str:
    lease = await _named(desk, arguments)
    return act_words.resuming(lease.shard_id if lease else None)


async def _resume(desk: Desk, arguments: Arguments) -> str:
    if (lease := await _named(desk, arguments)) is None:
        await shards.resume_all(desk)
        return "All shards are resumed."
    await shards.resume(desk, lease.shard_id)
    return f"{lease.shard_id} is resumed."


# --- drain and move ---------------------------------------------------------------------------------------------------


async def _look_at_drain(desk: Desk, arguments: Arguments) -> str:
    return act_words.draining(await shards.find_worker(desk, _text(arguments, "worker")))


async def _drain(desk: Desk, arguments: Arguments) -> str:
    found = await shards.find_worker(desk, _text(arguments, "worker"))
    await shards.drain(desk, found)
    return f"{found.worker_id} is drained."


async def _look_at_undrain(desk: Desk, arguments: Arguments) -> str:
    return act_words.undraining(await shards.find_worker(desk, _text(arguments, "worker")))


async def _undrain(desk: Desk, arguments: Arguments) -> str:
    found = await shards.find_worker(desk, _text(arguments, "worker"))
    await shards.undrain(desk, found)
    return act_words.undraining(found)


async def _look_at_move(desk: Desk, arguments: Arguments) -> str:
    lease = await desk.lease(shard_of(_text(arguments, "shard")))
    heir = await shards.find_worker(desk, _text(arguments, "to"))
    return act_words.moving(lease, heir)


async def _move(desk: Desk, arguments: Arguments) -> str:
    heir = await shards.find_worker(desk, _text(arguments, "to"))
    moved = await shards.move(desk, shard_of(_text(arguments, "shard")), heir, WAIT_S)
    return f"{moved.shard_id}: {moved.owner} reads it under epoch {moved.epoch}."


# --- skip -------------------------------------------------------------------------------------------------------------


async def _look_at_skip(desk: Desk, arguments: Arguments) -> str:
    lease = await desk.lease(shard_of(_text(arguments, "shard")))
    record = _text(arguments, "record")
    record_position(record)
    return act_words.skipping(record, lease.shard_id)


async def _skip(desk: Desk, arguments: Arguments) -> str:
    shard, record = shard_of(_text(arguments, "shard")), record_position(_text(arguments, "record"))
    await shards.skip(desk, shard, record)
    return f"Record {record.sequence_number} of {shard} is named to be buried."
