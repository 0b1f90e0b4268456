"""`headrace dead-letters list` and `show`: buried records for people and for programs. A payload only on demand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import msgspec
from rich.console import Console

from headrace.aws.session import aws_clients
from headrace.cli import letter_text, parts
from headrace.cli.desk import shard_of
from headrace.core import verdict
from headrace.core.letter_selection import FirstLetters, Selection, order_of
from headrace.errors import NotFound, SettingsError
from headrace.flow.clock import SystemClock
from headrace.model import DeadLetter, ShardId
from headrace.ports import DeadLetterStore
from headrace.settings import Settings
from headrace.settings.units import Unfit, duration, listed

ROWS: Final = 100
"""In a table, unless more are asked for."""

PIPED_WIDTH: Final = 240
"""Columns of a table that no terminal bounds."""

REASONS: Final = (
    verdict.RETRY_ATTEMPTS_EXHAUSTED,
    verdict.RECORD_AGE_EXCEEDED,
    verdict.REJECTED,
    verdict.WRITE_REFUSED,
    verdict.RECORD_TOO_LARGE,
    verdict.NOT_JSON,
    verdict.KEY_PARKED,
    verdict.SKIPPED_BY_OPERATOR,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters, and how many of them at most."""

    selection: Selection
    limit: int | None = None

    @classmethod
    def of(
        cls,
        shard: str | None,
        key: str | None,
        since: str | None,
        until: str | None,
        reason: str | None,
        limit: int | None,
    ) -> Wanted:
        """From the options as they were written. Raises SettingsError."""
        now = SystemClock().wall()
        selection = Selection(
            shard=None if shard is None else shard_of(shard),
            partition_key=key,
            since=None if since is None else _instant("--since", since, now),
            until=None if until is None else _instant("--until", until, now),
            reason=None if reason is None else _reason(reason),
        )
        return cls(selection, limit)


def list_letters(settings: Settings, wanted: Wanted, *, as_json: bool) -> int:
    """Print them; 0."""
    most = ROWS if wanted.limit is None and not as_json else wanted.limit
    letters, total = asyncio.run(_collect(settings, replace(wanted, limit=most)))
    if as_json:
        sys.stdout.writelines(letter_text.as_json(letter) for letter in letters)
        return 0
    if letters:
        Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(letter_text.as_table(letters))
    else:
        matching = "" if wanted.selection == Selection() else " match these options"
        sys.stdout.write(f"No dead letters{matching}.\n")
    if total > len(letters):
        sys.stderr.write(f"{total - len(letters):,} more; --limit shows more of them.\n")
    return 0


def show(settings: Settings, number: str | None, shard: str | None, *, payload: bool, as_json: bool) -> int:
    """Print all that is known of the letters with this sequence number; 0. Raises SettingsError where there are none."""
    if number is None or not number.isdecimal():
        raise SettingsError("SEQUENCE", number, "is no sequence number", "`headrace dead-letters list` shows them")
    found = asyncio.run(_find(settings, number, None if shard is None else shard_of(shard)))
    if not found:
        where = "" if shard is None else f" of {shard}"
        raise SettingsError(
            "SEQUENCE", number, f"no dead letter{where} ends with it", "`headrace dead-letters list` shows them"
        )
    if len({letter.record.sequence_number for letter in found}) > 1:
        raise SettingsError("SEQUENCE", number, f"{len(found)} dead letters end with it", "Write more of its digits")
    whole = letter_text.whole_as_json if as_json else letter_text.as_text
    sys.stdout.write("\n".join(whole(letter, payload=payload) for letter in found))
    return 0


async def _collect(settings: Settings, wanted: Wanted) -> tuple[list[DeadLetter], int]:
    """The first of them, without their payload, and how many there are."""
    first, total = FirstLetters(wanted.limit), 0
    async with aws_clients() as clients, parts.open_dead_letter_store(clients, settings) as store:
        async for letter in read(store, settings, wanted.selection):
            total += 1
            first.add(emptied(letter))
    return first.in_order(), total


async def _find(settings: Settings, number: str, shard: ShardId | None) -> list[DeadLetter]:
    async with aws_clients() as clients, parts.open_dead_letter_store(clients, settings) as store:
        letters = read(store, settings, Selection(shard=shard))
        found = [letter async for letter in letters if str(letter.record.sequence_number).endswith(number)]
    exact = [letter for letter in found if str(letter.record.sequence_number) == number]
    return sorted(exact or found, key=order_of)


async def read(store: DeadLetterStore, settings: Settings, selection: Selection) -> AsyncIterator[DeadLetter]:
    """What is selected of the stream's letters. A table that is not there holds none: the first worker makes it."""
    try:
        async for letter in store.read(settings.stream.label, selection.shard):
            if selection.takes(letter):
                yield letter
    except NotFound:
        return


def emptied(letter: DeadLetter) -> DeadLetter:
    """A letter without its payload, which is too large to keep of all of them."""
    return replace(letter, record=msgspec.structs.replace(letter.record, data=b""))


# --- options ----------------------------------------------------------------------------------------------------------


def _instant(option: str, text: str, now: datetime) -> datetime:
    """An instant, or how long ago. Raises SettingsError."""
    words = text.strip().removesuffix("ago").strip()
    try:
        return now - duration(words)
    except OverflowError:
        raise SettingsError(option, text, "is too long ago", "Leave it out to take them all") from None
    except Unfit:
        pass
    try:
        instant = datetime.fromisoformat(words)
    except ValueError:
        mend = "Write 2h, 30m, 1d, or an instant like 2026-01-31T08:00:00Z"
        raise SettingsError(option, text, "is neither a time nor a duration", mend) from None
    if instant.tzinfo is None:
        raise SettingsError(
            option, text, "has no offset from UTC", f"Write {instant.isoformat()}Z, or the offset meant"
        )
    return instant.astimezone(UTC)


def _reason(text: str) -> str:
    """One of the words. Raises SettingsError."""
    for reason in REASONS:
        if reason.lower() == text.strip().lower():
            return reason
    raise SettingsError("--reason", text, "is not known", f"Write {listed(REASONS)}")
