"""What putting a shard somewhere else means: which records are read again, which are passed over unread."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, assert_never

from headrace.model import SHARD_END, AtSequence, AtTimestamp, Checkpoint, Lease, ShardStart, TrimHorizon


@dataclass(frozen=True, slots=True)
class Seen:
    """The first record that is found at a position."""

    sequence_number: int
    arrival_s: float


@dataclass(frozen=True, slots=True)
class Rereads:
    """Records from `since` on are read again; `until` is the next one that was not read yet, None for the tip."""

    since: Seen
    until: Seen | None


@dataclass(frozen=True, slots=True)
class Skips:
    """Records from `since` on are passed over and never read; up to `until`, None for the tip."""

    since: Seen
    until: Seen | None


@dataclass(frozen=True, slots=True)
class Stays:
    """The next record is the same as without it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The stream could not be asked."""

    reason: str


Effect: TypeAlias = Rereads | Skips | Stays | Unknown


def effect_of(unread: Seen | None, target: Seen | None) -> Effect:
    """From the first record that is not read yet and the first one at the target; None where there is nothing yet."""
    if unread is None:
        return Stays() if target is None else Rereads(target, None)
    if target is None or target.sequence_number > unread.sequence_number:
        return Skips(unread, target)
    return Stays() if target == unread else Rereads(target, unread)


def up_to_s(to: ShardStart, target: Seen | None, now_s: float, retention_s: float) -> float:
    """Up to which time of day (epoch seconds) everything that arrived is given up, or read before.

    Behind the retention begins whatever is left: nothing that arrives from now on may be missed, as at a first start.
    """
    match to:
        case AtTimestamp(instant) if instant.timestamp() > now_s - retention_s:
            return min(instant.timestamp(), now_s)
        case AtSequence() if target is not None:
            return target.arrival_s
        case _:
            return now_s


def place_of(lease: Lease) -> str:
    """Where a shard stands, in words."""
    if lease.checkpoint == SHARD_END:
        return "its end"
    return words(lease.start) if lease.checkpoint.rank < 0 else f"after {position(lease.checkpoint)}"


def words(place: ShardStart) -> str:
    """A place to begin, in words."""
    match place:
        case TrimHorizon():
            return "the oldest record (TRIM_HORIZON)"
        case AtTimestamp(instant):
            return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case AtSequence(number):
            return f"record {number}"
        case _:
            assert_never(place)


def position(checkpoint: Checkpoint) -> str:
    """A record's number, and its place in its aggregate."""
    sub = "" if checkpoint.sub_sequence_number < 0 else f".{checkpoint.sub_sequence_number}"
    return f"{checkpoint.sequence_number}{sub}"


def moment(epoch_s: float) -> str:
    """A time of day, in words."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
