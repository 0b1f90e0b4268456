"""The low-water mark of one shard: up to where everything is settled or buried.

Records are admitted in shard order, span by span, and settled in any order. The mark never passes an open record, never
goes back, and the shard is drained only when nothing is open and its end has been seen. The good path settles a span
whole, at a cost that does not depend on its length; a span that is settled piecemeal keeps positions only, so that a
record which waits for a retry does not hold its neighbours' payloads in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from headrace.model import Checkpoint, Record


class Span:
    """Consecutive records admitted together; made by `Tracker.admit`, settled through the tracker alone."""

    __slots__ = ("_done", "_places", "_prefix", "_records", "open", "size")

    def __init__(self, records: Sequence[Record]) -> None:
        self.size = len(records)
        self.open = self.size
        self._records: Sequence[Record] | None = records
        self._places: list[tuple[int, int, float]] = []
        self._done = bytearray()
        self._prefix = 0
        """How many records at the start are settled without a gap."""

    def settle_all(self) -> None:
        """Settle every record at once. Raises ValueError when one is settled already."""
        records = self._opened()
        self._places = [_place(records[-1])]
        self._records = None
        self._prefix = 1
        self.open = 0

    def settle(self, index: int) -> None:
        """Settle one record. Raises ValueError when it is settled already."""
        if self._records is not None:
            self._places = [_place(record) for record in self._records]
            self._done = bytearray(len(self._places))
            self._records = None
        if self._done[index]:
            raise ValueError("the record is settled already")
        self._done[index] = 1
        self.open -= 1
        following = self._done.find(0, self._prefix)
        self._prefix = len(self._done) if following < 0 else following

    def _opened(self) -> Sequence[Record]:
        if self._records is None:
            raise ValueError("some of the span is settled already")
        return self._records

    @property
    def settled_to(self) -> Checkpoint | None:
        """The position of the last record of the settled prefix; None while the first record is open."""
        if not self._prefix:
            return None
        sequence_number, sub, _ = self._places[self._prefix - 1]
        return Checkpoint.at(sequence_number, sub)

    @property
    def oldest_open_arrival_s(self) -> float:
        """Arrival of the first open record; only while one is open."""
        if self._records is not None:
            return self._records[0].arrival_s
        return self._places[self._prefix][2]

    @property
    def oldest_open(self) -> int:
        """Sequence number of the first open record; only while one is open."""
        if self._records is not None:
            return self._records[0].sequence_number
        return self._places[self._prefix][0]


class Tracker:
    """Follows the records of one run of one shard. `mark` starts at the checkpoint the run resumed from."""

    def __init__(self, mark: Checkpoint) -> None:
        self.mark = mark
        self.open_records = 0
        """Admitted records that are neither settled nor buried."""
        self.span_records = 0
        """Records from the one that holds the mark to the newest: what a crash now would repeat."""
        self._spans: deque[Span] = deque()
        self._ended = False

    @property
    def drained(self) -> bool:
        """The shard's end was seen and nothing is open."""
        return self._ended and not self.open_records

    @property
    def oldest_open_arrival_s(self) -> float | None:
        """Arrival of the record that holds the mark, in epoch seconds; None when nothing is open."""
        return self._spans[0].oldest_open_arrival_s if self._spans else None

    @property
    def oldest_open(self) -> int | None:
        """Sequence number of the record that holds the mark; None when nothing is open."""
        return self._spans[0].oldest_open if self._spans else None

    def admit(self, records: Sequence[Record]) -> Span:
        """Take in the next records of the shard, in order. Raises ValueError for none, or after the end."""
        if not records or self._ended:
            raise ValueError("nothing can be admitted")
        span = Span(records)
        self._spans.append(span)
        self.open_records += len(records)
        self.span_records += len(records)
        return span

    def settle_all(self, span: Span) -> None:
        """Settle a span of which nothing was settled before. Raises ValueError otherwise."""
        settled = span.open
        span.settle_all()
        self.open_records -= settled
        self._advance()

    def settle(self, span: Span, index: int) -> None:
        """Settle one record, named by its index in the span. Raises ValueError for one that is settled already."""
        span.settle(index)
        self.open_records -= 1
        self._advance()

    def end(self) -> None:
        """The shard's end was read: no record will be admitted any more."""
        self._ended = True

    def _advance(self) -> None:
        spans = self._spans
        reached: Checkpoint | None = None
        while spans and not spans[0].open:
            span = spans.popleft()
            reached = span.settled_to
            self.span_records -= span.size
        if spans:
            reached = spans[0].settled_to or reached
        if reached is not None and reached > self.mark:
            self.mark = reached


def _place(record: Record) -> tuple[int, int, float]:
    return record.sequence_number, record.sub_sequence_number, record.arrival_s
