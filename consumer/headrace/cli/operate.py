"""`headrace pause`, `resume`, `drain`, `move`, `skip` and `events`: each looked at, asked for, done and told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from headrace.cli.desk import NOT_TAKEN_UP, Manner, chosen, confirm, open_desk, shard_of, tell
from headrace.core import act_words
from headrace.core.audit import Event
from headrace.errors import SettingsError
from headrace.flow.operate import shards
from headrace.flow.operate.desk import ActRefused, Desk
from headrace.flow.operate.find import find_record
from headrace.model import Checkpoint, Lease, ShardId
from headrace.settings import Settings

WAIT_S: Final = 30.0
"""How long an act is waited for: a worker finishes what is in flight first."""


def pause(settings: Settings, shard: str | None, manner: Manner, *, every: bool) -> int:
    """Stop reading; the exit code."""

    async def act() -> int:
        async with open_desk(settings, manner) as (desk, _):
            found = [x for x in await chosen(desk, shard, every=every) if not x.done]
            target = "all shards" if every else found[0].shard_id if found else str(shard)
            question = act_words.pausing(None if every else shard_of(target))
            confirm(manner, settings.application if every else target, question)
            await (shards.pause_all(desk) if every else shards.pause(desk, shard_of(shard or "")))
            rests = [await desk.until(x.shard_id, lambda row: row.owner is None, WAIT_S) for x in found]
            lines = [f"{target}: paused" + ("" if all(rests) else "; its worker still finishes what is in flight")]
            tell({"act": "pause", "target": target, "given_up": all(rests)}, lines, as_json=manner.as_json)
            return 0 if all(rests) else NOT_TAKEN_UP

    return asyncio.run(act())


def resume(settings: Settings, shard: str | None, manner: Manner, *, every: bool) -> int:
    """Read again; the exit code."""

    async def act() -> int:
        async with open_desk(settings, manner) as (desk, _):
            found = [x for x in await chosen(desk, shard, every=every) if not x.done]
            if every:
                await shards.resume_all(desk)
            else:
                await shards.resume(desk, shard_of(shard or ""))
            waiting = [x for x in found if not x.pending]
            owned = [await desk.until(x.shard_id, lambda row: row.owner is not None, WAIT_S) for x in waiting]
            target = "all shards" if every else shard_of(shard or "")
            lines = [f"{target}: resumed" + ("" if all(owned) else "; no worker reads some of it yet")]
            tell({"act": "resume", "target": target, "read": all(owned)}, lines, as_json=manner.as_json)
            return 0 if all(owned) else NOT_TAKEN_UP

    return asyncio.run(act())


def drain(settings: Settings, worker: str | None, manner: Manner, *, undo: bool) -> int:
    """Empty a worker, or take that back; the exit code."""
    name = _word("WORKER", worker, "its id, the beginning of it, or its name")

    async def act() -> int:
        async with open_desk(settings, manner) as (desk, _):
            found = await shards.find_worker(desk, name)
            if undo:
                await shards.undrain(desk, found)
                tell(
                    {"act": "undrain", "target": found.worker_id},
                    [f"{found.worker_id}: takes leases again"],
                    as_json=manner.as_json,
                )
                return 0
            confirm(manner, name, act_words.draining(found))
            await shards.drain(desk, found)
            is_empty = await _is_empty(desk, found.worker_id)
            line = f"{found.worker_id}: drained" + ("" if is_empty else "; it still finishes what is in flight")
            tell({"act": "drain", "target": found.worker_id, "is_empty": is_empty}, [line], as_json=manner.as_json)
            return 0 if is_empty else NOT_TAKEN_UP

    return asyncio.run(act())


async def _is_empty(desk: Desk, worker: str) -> bool:
    held = [lease for lease in (await desk.leases()).values() if lease.owner == worker and not lease.done]
    return all([await desk.until(lease.shard_id, lambda row: row.owner != worker, WAIT_S) for lease in held])


def move(settings: Settings, shard: str, worker: str, manner: Manner) -> int:
    """Hand one lease over; 0."""

    async def act() -> int:
        async with open_desk(settings, manner) as (desk, _):
            lease, heir = await desk.lease(shard_of(shard)), await shards.find_worker(desk, worker)
            confirm(manner, lease.shard_id, act_words.moving(lease, heir))
            moved = await shards.move(desk, lease.shard_id, heir, WAIT_S)
            line = f"{moved.shard_id}: {moved.owner} reads it under epoch {moved.epoch}"
            document = {"act": "move", "target": moved.shard_id, "owner": moved.owner, "epoch": moved.epoch}
            tell(document, [line], as_json=manner.as_json)
            return 0

    return asyncio.run(act())


def skip(settings: Settings, record: str | None, shard: str | None, manner: Manner) -> int:
    """Have one record buried without a call; the exit code."""
    number = record_position(
        _word("SEQUENCE", record, "the sequence number of a record, or NUMBER.SUB inside an aggregate")
    )

    async def act() -> int:
        async with open_desk(settings, manner) as (desk, _):
            where = shard_of(shard) if shard is not None else await _shard_of(desk, number)
            confirm(manner, "skip", act_words.skipping(str(record), where))
            lease = await shards.skip(desk, where, number)
            passed = await desk.until(where, _has_passed(lease, number), WAIT_S)
            state = "buried" if passed else "named to be buried; the checkpoint has not passed it yet"
            document = {"act": "skip", "target": where, "record": record, "passed": passed is not None}
            tell(document, [f"{record} of {where}: {state}"], as_json=manner.as_json)
            return 0 if passed else NOT_TAKEN_UP

    return asyncio.run(act())


def _has_passed(was: Lease, number: Checkpoint) -> Callable[[Lease], bool]:
    return lambda row: row.epoch > was.epoch and row.checkpoint >= number


async def _shard_of(desk: Desk, number: Checkpoint) -> ShardId:
    found = await find_record(desk, number.sequence_number, (await desk.leases()).values())
    if found is None:
        raise ActRefused(f"no shard holds a record {number.sequence_number}; if you know better, name it with --shard")
    return found.shard


def record_position(text: str) -> Checkpoint:
    """NUMBER or NUMBER.SUB as a position. Raises SettingsError for anything else."""
    number, _, sub = text.partition(".")
    if not number.isdecimal() or (sub and not sub.isdecimal()):
        raise SettingsError(
            "SEQUENCE", text, "is no sequence number", "`headrace dead-letters list` and the logs show them"
        )
    return Checkpoint.at(int(number), int(sub) if sub else -1)


def events(settings: Settings, limit: int, *, as_json: bool) -> int:
    """Show who did what; 0."""

    async def act() -> int:
        async with open_desk(settings, Manner()) as (desk, _):
            found = (await desk.events())[-limit:]
        tell([_event(event) for event in found], map(_line, found), as_json=as_json)
        return 0

    return asyncio.run(act())


def _event(event: Event) -> dict[str, str]:
    return {
        "at": event.at.isoformat(),
        "act": event.act,
        "target": event.target,
        "by": event.by,
        "why": event.why,
        "before": event.before,
        "after": event.after,
    }


def _line(event: Event) -> str:
    changed = " -> ".join(text for text in (event.before, event.after) if text)
    why = f" ({event.why})" if event.why else ""
    return f"{event.at.isoformat(timespec='seconds')}  {event.by}  {event.act} {event.target}: {changed}{why}"


def _word(name: str, value: str | None, meaning: str) -> str:
    if value is None:
        raise SettingsError(name, None, "is missing", f"Write {meaning}")
    return value
