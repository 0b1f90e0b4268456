"""The leases in this worker's hands, and those it asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

import structlog

from headrace.core.orders import Drop, Order, Rest
from headrace.flow.term import Term, Trust
from headrace.model import Lease, ShardId
from headrace.ports import Observer

log = structlog.get_logger(__name__)


class Holdings:
    """What one incarnation holds.

    `opened` is called with every lease that came into its hands, `dropped` with one that has left them, and `rested` with
    one that is to be given up in peace.
    """

    def __init__(
        self,
        trust: Trust,
        observer: Observer,
        opened: Callable[[Term], None],
        dropped: Callable[[Term], None],
        rested: Callable[[Term], None],
    ) -> None:
        self.terms: dict[ShardId, Term] = {}
        self.wished: dict[ShardId, Lease] = {}
        """Leases asked for and waited for."""
        self.generation = 0
        """Grows with each ownership change this worker made; the others see it and read the lease rows."""
        self.look = asyncio.Event()
        """Set when it is time to look again: a lease left, or others say that some came free."""
        self._epochs: dict[ShardId, int] = {}
        """The last epoch under which each shard was held: none is held twice."""
        self._trust = trust
        self._observer = observer
        self._opened = opened
        self._dropped = dropped
        self._rested = rested

    def hold(self, lease: Lease, transition: str) -> None:
        """A lease came into this worker's hands: claimed, taken, adopted or received.

        Its row may show that in two ways at once (the answer to a take, the watch of a wish): the first one counts. An
        epoch that was held before is over; such a row is adopted under a new one.
        """
        if lease.shard_id in self.terms or lease.epoch <= self._epochs.get(lease.shard_id, 0):
            return
        term = Term(lease, self._trust)
        self._epochs[lease.shard_id] = lease.epoch
        self.terms[lease.shard_id] = term
        self.generation += 1
        log.info("lease_opened", shard=lease.shard_id, epoch=lease.epoch, transition=transition)
        self._observer.lease_changed(lease.shard_id, transition)
        self._opened(term)

    def obey(self, order: Order) -> None:
        """What the rows say about a lease in this worker's hands, if it still is under that epoch."""
        term = self.terms.get(order.shard)
        if term is None or term.epoch != order.epoch:
            return
        match order:
            case Drop():
                self._dropped(term)
            case Rest():
                self._rested(term)
            case _:
                assert_never(order)

    @property
    def epochs(self) -> dict[ShardId, int]:
        """Under which epoch each lease is held."""
        return {shard: term.epoch for shard, term in self.terms.items()}

    def close(self, term: Term) -> None:
        """A shard's run ended: the lease is no longer in this worker's hands."""
        if self.terms.get(term.lease.shard_id) is term:
            del self.terms[term.lease.shard_id]
        self.generation += 1
        self.look.set()

    @property
    def shards(self) -> frozenset[ShardId]:
        """What is held or asked for."""
        return frozenset(self.terms.keys() | self.wished.keys())
