"""Which dead letters are meant, in which order they are delivered again, and which have to wait for others of their key.

Letters of one key go in the order of their records: by sequence number, which grows within a shard and from parents to
children, and within an aggregate by sub-sequence number. None overtakes an earlier letter of its key that stays, whether
that one is not selected or has failed again.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

from headrace.model import DeadLetter, ShardId

Order: TypeAlias = tuple[int, int, str]
"""Sequence number, sub-sequence number, shard."""


class LetterKey(NamedTuple):
    """Within which order is kept. A record without a partition key stands for itself."""

    stream: str
    partition_key: str
    alone: Order | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person asked for; None is everything. `since` and `until` are times of burial, `until` exclusive."""

    shard: ShardId | None = None
    partition_key: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None
    sequence_number: int | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant."""
        record = letter.record
        return (
            self.shard in {None, record.shard_id}
            and self.partition_key in {None, record.partition_key}
            and self.reason in {None, letter.reason}
            and self.sequence_number in {None, record.sequence_number}
            and (self.since is None or letter.buried_at >= self.since)
            and (self.until is None or letter.buried_at < self.until)
        )


def order_of(letter: DeadLetter) -> Order:
    """Its place among the others."""
    record = letter.record
    return record.sequence_number, record.sub_sequence_number, record.shard_id


def key_of(letter: DeadLetter) -> LetterKey:
    """Which letters it must not overtake."""
    key = letter.record.partition_key
    return LetterKey(letter.stream, key, None if key else order_of(letter))


class FirstLetters:
    """Collects the first of the letters that are seen, in order, within bounds of number and payload bytes.

    It always takes one at least, whatever its size.
    """

    def __init__(self, most: int | None = None, most_bytes: int | None = None) -> None:
        self.bytes = 0
        """Payload of those it holds."""
        self._most = most
        self._most_bytes = most_bytes
        self._heap: list[_Last] = []

    def add(self, letter: DeadLetter) -> DeadLetter | None:
        """One more; the letter that is the last one and too many now, if any."""
        heapq.heappush(self._heap, _Last(letter))
        self.bytes += len(letter.record.data)
        if not self._is_too_much():
            return None
        dropped = heapq.heappop(self._heap).letter
        self.bytes -= len(dropped.record.data)
        return dropped

    def in_order(self) -> list[DeadLetter]:
        """What it holds."""
        return [last.letter for last in sorted(self._heap, reverse=True)]

    def _is_too_much(self) -> bool:
        count = len(self._heap)
        too_many = self._most is not None and count > self._most
        return too_many or (self._most_bytes is not None and self.bytes > self._most_bytes and count > 1)


@dataclass(slots=True)
class Gathering:
    """One reading of the dead letters for a redrive: what is to be delivered now, and which keys have more than that.

    `failed` names the letters that failed before: those behind them wait for another redrive.
    """

    selection: Selection
    first: FirstLetters
    failed: Mapping[LetterKey, Order] = field(default_factory=dict)
    kept_back: int = 0
    """Selected letters that wait behind one that stays."""
    has_more: bool = False
    """Whether selected letters are left for the next reading."""
    staying: dict[LetterKey, Order] = field(default_factory=dict)
    """The first letter of a key that is not delivered now."""

    def see(self, letter: DeadLetter) -> None:
        """One letter, in whatever order they are read."""
        key = key_of(letter)
        if not self.selection.takes(letter):
            self._stays(key, letter)
        elif key in self.failed:
            self.kept_back += self.failed[key] != order_of(letter)
            self._stays(key, letter)
        elif (dropped := self.first.add(letter)) is not None:
            self.has_more = True
            self._stays(key_of(dropped), dropped)

    def by_key(self) -> dict[LetterKey, list[DeadLetter]]:
        """The letters of each key in order, up to the first that stays."""
        keys: dict[LetterKey, list[DeadLetter]] = {}
        for letter in self.first.in_order():
            key = key_of(letter)
            if key not in self.staying or order_of(letter) < self.staying[key]:
                line = keys.setdefault(key, [])
                if line and order_of(line[-1]) == order_of(letter):  # of two readings: whoever removes one removes both
                    line[-1] = max(line[-1], letter, key=lambda one: one.replay)
                else:
                    line.append(letter)
            else:
                self.kept_back += 1
        return keys

    def _stays(self, key: LetterKey, letter: DeadLetter) -> None:
        order = order_of(letter)
        self.staying[key] = min(order, self.staying.get(key, order))


class _Last:
    """Turns the order round: the heap's top is the last letter."""

    __slots__ = ("letter", "order")

    def __init__(self, letter: DeadLetter) -> None:
        self.letter = letter
        self.order = order_of(letter)

    def __lt__(self, other: _Last) -> bool:
        return self.order > other.order
