"""`headrace seek`: where shards are read on from, looked at first, asked for, done and told."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from headrace.cli.desk import NOT_TAKEN_UP, Manner, chosen, confirm, open_desk, tell
from headrace.core.seeking import Effect, Rereads, Skips, Stays, Unknown, moment, place_of, words
from headrace.errors import SettingsError
from headrace.flow.clock import SystemClock
from headrace.flow.operate import seek as acts
from headrace.flow.operate.seek import Plan, Seek, Sought
from headrace.model import AtSequence, AtTimestamp, Latest, ShardStart, TrimHorizon
from headrace.settings import Settings
from headrace.settings.units import Unfit, duration

FINISHED: Final = "stays finished: it holds nothing from there on"


def seek(settings: Settings, shard: str | None, to: str, wait: str, manner: Manner, *, every: bool) -> int:
    """Preview, ask, do; the exit code. Raises SettingsError, ActRefused."""
    return asyncio.run(_seek(settings, shard, place(to, SystemClock().wall()), _seconds(wait), manner, every=every))


async def _seek(
    settings: Settings, shard: str | None, to: ShardStart | Latest, wait_s: float, manner: Manner, *, every: bool
) -> int:
    if every and isinstance(to, AtSequence):
        raise SettingsError("--to", to.sequence_number, "is a record of one shard", "Name it with --shard")
    async with open_desk(settings, manner) as (desk, _):
        found = await chosen(desk, shard, every=every)
        plan = await acts.preview(desk, found, to)
        preview = preview_lines(plan, settings)
        if manner.dry_run or not plan.moved:
            tell([_planned(one) for one in [*plan.moved, *plan.finished]], preview, as_json=manner.as_json)
            return 0 if plan.moved else 1
        sys.stderr.writelines(f"{line}\n" for line in preview)
        confirm(
            manner,
            settings.application if every else found[0].shard_id,
            "The fleet runs on; only these shards are taken up anew.",
        )
        done = await acts.seek(desk, plan, wait_s)
        told = [_planned(one) | _done(sought) for one, sought in zip(plan.moved, done, strict=True)]
        tell(told, map(sought_line, done), as_json=manner.as_json)
    return NOT_TAKEN_UP if wait_s and any(one.lease is None and not one.rests for one in done) else 0


def place(text: str, now: datetime) -> ShardStart | Latest:
    """trim, latest, an instant, how long ago, or a sequence number. Raises SettingsError."""
    word = text.strip()
    named: dict[str, ShardStart | Latest] = {"trim": TrimHorizon(), "trim_horizon": TrimHorizon(), "latest": Latest()}
    if word.lower() in named:
        return named[word.lower()]
    if word.isdecimal():
        return AtSequence(int(word))
    try:
        return AtTimestamp(now - duration(word.removesuffix("ago").strip()))
    except (Unfit, OverflowError):
        return AtTimestamp(_instant(word))


def _instant(word: str) -> datetime:
    mend = "Write trim, latest, an instant like 2026-01-31T08:00:00Z, how long ago like 90m, or a sequence number"
    try:
        instant = datetime.fromisoformat(word)
    except ValueError:
        raise SettingsError("--to", word, "is no place in a stream", mend) from None
    if instant.tzinfo is None:
        raise SettingsError("--to", word, "has no offset from UTC", f"Write {instant.isoformat()}Z, or the one meant")
    return instant.astimezone(UTC)


def _seconds(text: str) -> float:
    try:
        return duration(text).total_seconds()
    except Unfit as error:
        raise SettingsError("--wait", text, error.problem, error.mend) from None


# --- words ------------------------------------------------------------------------------------------------------------


def preview_lines(plan: Plan, settings: Settings) -> list[str]:
    """What would become of each shard, for a person."""
    lines = [f"{one.shard}: {_opened(one)}{in_words(one.effect)}" for one in plan.family]
    lines += [
        f"{one.shard}: from {place_of(one.lease)} to {words(one.to)}: {in_words(one.effect)}" for one in plan.seeks
    ]
    lines += [f"{one.shard}: {FINISHED}" for one in plan.finished if not isinstance(one.effect, Unknown)]
    lines += [
        f"{one.shard}: stays finished; {in_words(one.effect)}"
        for one in plan.finished
        if isinstance(one.effect, Unknown)
    ]
    if any(isinstance(one.effect, Rereads | Unknown) for one in plan.moved):
        lines.append(_repeats(settings))
    return lines


def _opened(one: Seek) -> str:
    """How a member of a family that is opened again takes part."""
    if one.lease.done:
        again = f"finished; OPENED AGAIN at {words(one.to)}"
    else:
        again = f"from {place_of(one.lease)} to {words(one.to)}"
    return f"{again}, after {', '.join(sorted(one.after))}: " if one.after else f"{again}: "


def _repeats(settings: Settings) -> str:
    told = {
        "put": "what is read again writes the same items again",
        "insert": "items that are there stay as they are: what is read again changes nothing of them",
        "latest": "an item keeps what is as new as the record or newer: only what is missing is written",
        "transactional": "increments count again: this is a new run over the records, not a repeat of the old one",
    }
    return f"Write mode {settings.sink.mode}: {told.get(settings.sink.mode, 'records are handled again')}."


def in_words(effect: Effect) -> str:
    """What becomes of the records in between."""
    match effect:
        case Rereads(since, until):
            end = "the tip" if until is None else moment(until.arrival_s)
            return f"READS AGAIN records from {moment(since.arrival_s)} (record {since.sequence_number}) to {end}"
        case Skips(since, until):
            end = "the tip" if until is None else moment(until.arrival_s)
            return (
                f"SKIPS records that nobody has read: from {moment(since.arrival_s)} (record {since.sequence_number}) "
                f"to {end}. They will be neither written nor buried"
            )
        case Stays():
            return "nothing changes: the next record is the same"
        case Unknown(reason):
            return f"UNKNOWN what is read again or skipped ({reason})"
        case _:
            assert_never(effect)


def _planned(one: Seek) -> dict[str, Any]:
    effect = one.effect
    since = effect.since if isinstance(effect, Rereads | Skips) else None
    until = effect.until if isinstance(effect, Rereads | Skips) else None
    return {
        "shard": one.shard,
        "before": place_of(one.lease),
        "after": words(one.to),
        "effect": type(effect).__name__.lower(),
        "finished": one.lease.done,
        "waits_for": sorted(one.after),
        "since": since and {"sequence_number": str(since.sequence_number), "arrival": moment(since.arrival_s)},
        "until": until and {"sequence_number": str(until.sequence_number), "arrival": moment(until.arrival_s)},
    }


def _done(sought: Sought) -> dict[str, Any]:
    lease = sought.lease
    return {
        "owner": lease and lease.owner,
        "epoch": lease and lease.epoch,
        "took_s": round(sought.took_s, 3),
    }


def sought_line(sought: Sought) -> str:
    """What became of one shard, for a person."""
    if sought.lease is None and sought.rests:
        return f"{sought.shard}: moved to {sought.after}; it is paused, or waits for its parents"
    if sought.lease is None:
        return f"{sought.shard}: moved to {sought.after}; no worker reads it yet"
    owner, epoch = sought.lease.owner, sought.lease.epoch
    return f"{sought.shard}: read from {sought.after} by {owner} under epoch {epoch}, after {sought.took_s:.1f} s"
