"""How far one shard was read, and whether the stream's retention has overtaken it.

A position says nothing about time, and AWS reads on behind a gap without a word. So the time of day up to which
everything was read is kept beside it: once the retention period has passed that moment, what arrived after it may be
gone unread, and nobody can tell how much. An idle shard that is read at its tip moves with the clock.
"""

from __future__ import annotations

from typing import Final

from headrace.model import AtSequence, AtTimestamp, Checkpoint, Lease, Page, TrimHorizon

INSIDE: Final = 0.01
"""Of the retention: how far inside a reader must be that began at its edge before being overtaken means anything. At the
edge records are trimmed while they are asked for, which is what reading from the oldest record means."""

FIRST_GUESS: Final = 2048
"""Bytes a record is thought to take before any was seen."""


class Reading:
    """What the pages of one shard told so far."""

    def __init__(self, lease: Lease) -> None:
        self.up_to_s = lease.up_to_s
        """Everything that arrived before this time of day (epoch seconds) was read; 0 where that is not known."""
        self.behind_s = 0.0
        self.record_size = FIRST_GUESS
        """Bytes in memory of a record, as the last page had them."""
        self.has_begun = False
        self._position: Checkpoint | TrimHorizon | AtTimestamp = (
            _start_of(lease) if lease.checkpoint.rank < 0 else lease.checkpoint
        )
        self._is_inside = True

    @property
    def position(self) -> Checkpoint | TrimHorizon | AtTimestamp:
        """Where the next iterator begins."""
        return self._position

    def took_in(self, page: Page, size: int, wall_s: float, retention_s: float) -> None:
        """A page was read that takes `size` bytes in memory; `wall_s` is the time of day at which it was asked for."""
        if not self.has_begun and not isinstance(self._position, Checkpoint):
            self._is_inside = False
        self.has_begun = True
        self.behind_s = page.behind_s
        if page.records:
            last = page.records[-1]
            self._position = Checkpoint.at(last.sequence_number)
            self.record_size = max(1, size // len(page.records))
            self.up_to_s = last.arrival_s
        else:
            self.up_to_s = wall_s - page.behind_s
        if page.continuation is not None:
            self._position = Checkpoint.at(page.continuation)
        if self.up_to_s - (wall_s - retention_s) > retention_s * INSIDE:
            self._is_inside = True

    def is_overtaken(self, wall_s: float, retention_s: float) -> bool:
        """Whether records may have been trimmed before they were read."""
        return self._is_inside and 0 < self.up_to_s < wall_s - retention_s

    def begin_anew(self) -> None:
        """Go on at the oldest record that is left."""
        self._position = TrimHorizon()
        self._is_inside = False


def _start_of(lease: Lease) -> Checkpoint | TrimHorizon | AtTimestamp:
    """A record that is read itself stands where one inside an aggregate does: the whole of it is read again."""
    if isinstance(lease.start, AtSequence):
        return Checkpoint.at(lease.start.sequence_number, 0)
    return lease.start
