"""What the life of a shard asks of delivery, and which way of delivering goes with which kind of handler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from headrace.core.tracker import Tracker
from headrace.flow.delivery import traced
from headrace.flow.delivery.async_records import AsyncDelivery
from headrace.flow.delivery.burial import Burial
from headrace.flow.delivery.chunk_outbox import ChunkOutbox, Keys
from headrace.flow.delivery.commit import CheckpointRow, Commits
from headrace.flow.delivery.lanes import BatchDelivery
from headrace.flow.delivery.open_records import OpenRecord, Wanted
from headrace.flow.delivery.ordered_records import OrderedDelivery
from headrace.flow.delivery.outbox import Outbox, Outgoing
from headrace.flow.delivery.plain_records import RecordDelivery
from headrace.flow.delivery.settlement import Settlement
from headrace.flow.delivery.windowed_lane import WindowedDelivery
from headrace.flow.term import Term
from headrace.flow.workplace import Workplace
from headrace.model import Instant, Record
from headrace.ports import Handler


class Delivery(Protocol):
    """Takes records in and sees to it that each of them is settled or buried, and that the tracker knows."""

    moved: asyncio.Event
    """Set when records were settled."""

    async def resume(self) -> None:
        """Read what is kept beside the checkpoint, before any record is taken in."""

    @property
    def kept(self) -> str | None:
        """What is to be written beside the checkpoint, as of now; None where there is nothing of the kind."""

    @property
    def waiting(self) -> int:
        """Records taken in that the tracker does not know yet."""

    @property
    def retrying(self) -> int:
        """Records that failed and will be tried again, and those that wait behind them."""

    @property
    def oldest_waiting_arrival_s(self) -> float | None:
        """Arrival of the oldest record that the tracker does not know yet; None without one."""

    @property
    def is_idle(self) -> bool:
        """Whether every record that was taken in has been handled."""

    def find(self, wanted: Wanted) -> Iterator[OpenRecord]:
        """What becomes of records that are open. Those that a sink has are told as far as they are known."""

    def take_in(self, records: list[Record]) -> None:
        """The records of a page."""

    async def deliver_due(self, now: Instant, *, ended: bool) -> bool:
        """Begin the next thing that is due; False where there is none. With `ended` nothing waits to be completed.

        Raises LeaseLost.
        """

    def next_due(self) -> Instant | None:
        """When something is due, as far as time alone decides."""

    async def settle(self) -> None:
        """Settle what was handled, for ever. Raises LeaseLost."""

    async def all_settled(self) -> None:
        """Begin nothing any more; wait until what is under way is settled."""

    def abandon(self) -> None:
        """Let go of whatever is still on its way: nobody will settle it here."""


def open_delivery(
    term: Term,
    place: Workplace,
    tracker: Tracker,
    burial: Burial,
    let_go: Callable[[int], None],
    wake: asyncio.Event,
    read_up_to_s: Callable[[], float],
    row: CheckpointRow,
) -> Delivery:
    """The delivery of one shard. `let_go` gets the bytes of settled records; `wake` is set when more may be due.

    `read_up_to_s` is the time of day up to which everything was read, `row` where the checkpoint is written.
    """
    ports, shard = place.ports, term.lease.shard_id
    handler, transactions, traces = ports.handler, ports.transactions, ports.traces
    if isinstance(handler, Handler) and not handler.is_async and transactions is None:
        way = RecordDelivery if traces is None else traced.TracedRecords
        return way(term, place, tracker, burial, let_go, handler)
    if traces is not None:
        handler = traced.part_of_current(traces, handler)
    settlement = Settlement(shard, tracker, burial, ports.observer, let_go)
    if isinstance(handler, Handler):
        outgoing: Outgoing = Outbox(term, ports.sink, place.in_flight, settlement)
        if transactions is not None:
            commits, keys = Commits(term, place, transactions, row), Keys(transactions, ports.chance)
            outgoing = chunks = _chunks(commits, keys, settlement, place)
            if not handler.is_async:
                ordered = OrderedDelivery if traces is None else traced.TracedOrdered
                return ordered(term, place, settlement, chunks, handler)
        by_key = AsyncDelivery if traces is None else traced.TracedAsync
        return by_key(term, place, settlement, outgoing, wake, handler)
    if place.rules.lanes.tumbling_s:
        return WindowedDelivery(term, place, settlement, wake, handler, read_up_to_s)
    return BatchDelivery(term, place, settlement, wake, handler)


def _chunks(commits: Commits, keys: Keys, settlement: Settlement, place: Workplace) -> ChunkOutbox:
    if place.ports.traces is None:
        return ChunkOutbox(commits, keys, settlement, place.in_flight, folds=place.rules.folds)
    return traced.TracedChunks(
        commits, keys, settlement, place.in_flight, folds=place.rules.folds, traces=place.ports.traces
    )
