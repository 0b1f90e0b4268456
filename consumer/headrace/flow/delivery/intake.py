"""What becomes of records on their way into lanes: left out by a filter, to be buried without a call, or to be handled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from headrace.core.lane import EventLimit
from headrace.flow.delivery.burial import Cause
from headrace.flow.delivery.consignment import Waiting
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.delivery.sieve import Sieve
from headrace.flow.workplace import Workplace
from headrace.model import Lease, Record
from headrace.ports import BatchHandler


class Taken(NamedTuple):
    """A record in a lane, why it will be buried without a call, if it will, and what it takes of an event, in bytes."""

    record: Waiting
    cause: Cause | None
    size: int


class Intake:
    """Of one shard: makes records known to the tracker, and measures them."""

    def __init__(self, lease: Lease, place: Workplace, settlement: Settlement, handler: BatchHandler) -> None:
        self._sieve = Sieve(lease, place)
        self._settlement = settlement
        self._size_of = handler.size_of
        # the comma that `size_of` counts for every record is not there before the first one
        most = None if handler.size_of is None else place.rules.lanes.bytes
        self.limit = EventLimit(most, handler.overhead - 1)

    def take_in(self, records: Sequence[Record]) -> Iterator[Taken]:
        """What is left of a page; the others are settled."""
        span = self._settlement.admit(records)
        sifted = self._sieve.filter(dict(enumerate(records)))
        page = [Waiting(span, index, record) for index, record in enumerate(records)]
        if sifted.left_out:
            self._settlement.leave_out([page[index] for index in sorted(sifted.left_out)])
        for one in page:
            if one.index not in sifted.left_out:
                yield self._measured(one, sifted.causes.get(one.index))

    def _measured(self, one: Waiting, cause: Cause | None) -> Taken:
        if self._size_of is None or self.limit.bytes is None or cause is not None:
            return Taken(one, cause, 0)
        size = self._size_of(one.record)
        if self.limit.is_too_large(size):
            return Taken(one, Cause.too_large(self.limit.overhead + size, self.limit.bytes), 0)
        return Taken(one, None, size)


class BatchMates:
    """Which records of a lane, asked for one after the other, go in one batch.

    With parked keys one that is buried without a call goes alone, in its turn: nothing of its key may be open before it.
    """

    def __init__(self, *, parks_keys: bool) -> None:
        self._parks_keys = parks_keys
        self._before: Taken | None = None

    def __call__(self, one: Taken) -> bool:
        """Whether it belongs to the batch of those before."""
        before, self._before = self._before, one
        goes_alone = one.cause is not None or (before is not None and before.cause is not None)
        return before is None or not (self._parks_keys and goes_alone)
