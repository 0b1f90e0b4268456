"""What the page may change, behind the admin token: each action says first what it will do, and is done once that is typed.

An action leaves an event row before it takes effect, with the reason that was given, so that nothing is done unseen.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import structlog

from headrace.model import Checkpoint, DeadLetter, ShardId
from headrace.ops.letter_shelf import LetterShelf

log = structlog.get_logger(__name__)

DISCARDED: Final = "dead_letter_discarded"

Note: TypeAlias = Callable[[str, str, str, str], Awaitable[None]]
"""Writes an event row of the application: the act, its target, why, and what was there before. Raises what the table raises."""

BEARER: Final = "Bearer "


class ActionRefusedError(Exception):
    """It cannot be done as it was asked for; the text says why."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be done, as a sentence, and what has to be typed for it."""

    says: str
    confirm: str


class Action(Protocol):
    """Something that an operator may do."""

    @property
    def name(self) -> str:
        """As it stands in the URL."""

    async def preview(self, arguments: Mapping[str, Any]) -> Preview:
        """What it would do. Raises ActionRefusedError; what AWS raises."""

    async def perform(self, arguments: Mapping[str, Any], reason: str) -> str:
        """Do it, audited; a sentence about what was done. Raises likewise."""


@dataclass(frozen=True, slots=True)
class AdminToken:
    """The token that actions and payloads take, None where there is none: then nothing may be changed."""

    value: str | None

    def admits(self, authorization: str) -> bool:
        """Whether an Authorization header holds it; takes the same time for any wrong one."""
        given = authorization.removeprefix(BEARER) if authorization.startswith(BEARER) else ""
        return self.value is not None and hmac.compare_digest(given.encode(), self.value.encode())


class DiscardLetter:
    """Deletes one dead letter for good; `headrace dead-letters purge` does it for many."""

    name = "discard-letter"

    def __init__(self, shelf: LetterShelf, note: Note, stream: str) -> None:
        self._shelf = shelf
        self._note = note
        self._stream = stream

    async def preview(self, arguments: Mapping[str, Any]) -> Preview:
        """Name it."""
        letter = await self._letter(arguments)
        record = letter.record
        says = (
            f"Deletes the dead letter of record {record.sequence_number} ({letter.reason}, {letter.error}) for good: "
            f"its payload of {len(record.data):,} bytes can then not be redriven."
        )
        return Preview(says, self._stream)

    async def perform(self, arguments: Mapping[str, Any], reason: str) -> str:
        """Note it, then delete it."""
        letter = await self._letter(arguments)
        number = letter.record.sequence_number
        log.warning(DISCARDED, shard=letter.record.shard_id, sequence_number=str(number), reason=reason)
        await self._note(DISCARDED, f"{letter.record.shard_id} {number}", reason, letter.reason)
        await self._shelf.discard(letter)
        return f"The dead letter of record {number} is gone."

    async def _letter(self, arguments: Mapping[str, Any]) -> DeadLetter:
        shard, position = str(arguments.get("shard", "")), str(arguments.get("position", ""))
        return await wanted_letter(self._shelf, shard, position)


async def wanted_letter(shelf: LetterShelf, shard: str, position: str) -> DeadLetter:
    """The letter that is named. Raises ActionRefusedError where there is none; what the store's `read` raises."""
    try:
        checkpoint = Checkpoint.decode(position)
    except ValueError:
        raise ActionRefusedError(f"{position[:80]!r} is no position of a record") from None
    if (letter := await shelf.find(ShardId(shard), checkpoint)) is None:
        raise ActionRefusedError("There is no such dead letter any more")
    return letter
