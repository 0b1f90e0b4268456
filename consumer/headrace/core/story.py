"""What is known of one record, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from headrace.model import Checkpoint, DeadLetter


class Verdict(StrEnum):
    """What became of a record, in one word."""

    WRITTEN = "written"
    """It is settled, and not buried: its effects are durable, or a filter left it out."""

    BURIED = "buried"
    """A dead letter of it is stored, and it was not redriven yet."""

    RETRYING = "retrying"
    """Its last attempt failed; another one follows."""

    WAITING = "waiting"
    """It is in the stream and not settled: not read yet, with the handler, or behind a record that is retried."""

    NEVER_SEEN = "never seen"
    """No shard holds it, and no dead letter tells of it: it was never put, or has outlived the retention."""

    IDLE = "idle"
    """Of a partition key: nothing of it is open or buried."""

    UNKNOWN = "unknown"
    """Who would know cannot be asked."""


@dataclass(frozen=True, slots=True)
class Unasked:
    """Somebody who cannot be asked, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Item:
    """What the serving table has under the key that a record would be written under."""

    table: str
    key: Mapping[str, Any]
    is_there: bool
    is_its_own: bool | None = None
    """Whether the item names this record as its source; None where items name none."""


Told: TypeAlias = Item | Unasked


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, without its payload."""

    shard: str
    sequence_number: str
    sub_sequence_number: int
    reason: str
    error: str
    attempts: int
    buried_at: datetime

    @classmethod
    def of(cls, letter: DeadLetter) -> Letter:
        """What is told of it."""
        record = letter.record
        return cls(
            record.shard_id,
            str(record.sequence_number),
            record.sub_sequence_number,
            letter.reason,
            letter.error,
            letter.attempts,
            letter.buried_at,
        )


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that was found out. `sequence_number` is None where a partition key was asked about.

    `records` are those found in the stream: 0 for none, several for an aggregate asked about as a whole. `is_passed` tells
    that the checkpoint is past it.
    """

    sequence_number: str | None
    sub_sequence_number: int = -1
    partition_key: str | None = None
    shard: str | None = None
    records: int = 0
    arrival_s: float | None = None
    owner: str | None = None
    epoch: int | None = None
    checkpoint: str | None = None
    is_passed: bool | None = None
    is_read: bool | None = None
    """Whether its shard's owner has read it; None where that cannot be asked."""
    paused_by: str | None = None
    open: Sequence[Mapping[str, Any]] = ()
    letters: Sequence[Letter] = ()
    item: Told | None = None
    stream: Unasked | None = None
    worker: Unasked | None = None
    asked_letters: Unasked | None = None
    verdict: Verdict = Verdict.UNKNOWN

    def is_passed_by(self, checkpoint: Checkpoint) -> bool | None:
        """Whether the record is behind a checkpoint."""
        if self.sequence_number is None:
            return None
        is_whole = self.sub_sequence_number < 0 and self.records > 1
        last = self.records - 1 if is_whole else self.sub_sequence_number
        at = Checkpoint.at(int(self.sequence_number), last)
        return checkpoint >= at or checkpoint == Checkpoint.at(at.sequence_number)


def verdict_of(story: Story) -> Verdict:
    """What it all comes to. A dead letter speaks before the checkpoint, an attempt under way before a dead letter."""
    if story.open:
        is_retried = any(record.get("state") == "retrying" for record in story.open)
        return Verdict.RETRYING if is_retried else Verdict.WAITING
    if story.letters:
        return Verdict.BURIED
    if story.asked_letters is not None or story.stream is not None:
        return Verdict.UNKNOWN
    return _of_key(story) if story.sequence_number is None else _of_record(story)


def _of_key(story: Story) -> Verdict:
    return Verdict.IDLE if story.worker is None else Verdict.UNKNOWN


def _of_record(story: Story) -> Verdict:
    if not story.records:
        return Verdict.NEVER_SEEN
    is_written = isinstance(story.item, Item) and story.item.is_there and bool(story.item.is_its_own)
    return Verdict.WRITTEN if is_written or story.is_passed else Verdict.WAITING
