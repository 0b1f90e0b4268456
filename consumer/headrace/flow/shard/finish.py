"""The end of a shard: its lease done and its children's leases there, in one transaction.

A child must not start before all its parents are done. The gate is in the child's own row (`pend`), so it is opened by
the same transaction that finishes the parent. What the transaction should contain depends on rows that others may
change; a refusal is answered by reading again.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from headrace.core import lease_rows, leases
from headrace.core.lineage import NewLease, child_pending
from headrace.errors import LeaseLost
from headrace.flow.persist import persist
from headrace.flow.term import Term
from headrace.flow.workplace import Discover
from headrace.model import Lease, Shard, ShardId, TrimHorizon, WorkerId
from headrace.ports import Ports
from headrace.rows import Request, Row, TransactionApplied, TransactionOutcome, TransactionRefused

log = structlog.get_logger(__name__)


class Finish:
    """Ends one shard."""

    def __init__(self, me: WorkerId, stream: str, term: Term, ports: Ports, discover: Discover) -> None:
        self._me = me
        self._stream = stream
        self._term = term
        self._ports = ports
        self._discover = discover

    async def end(self, children: Iterable[Shard]) -> None:
        """Finish the shard; returns once the table shows it. Raises LeaseLost."""
        listed = await persist("discover", self._discover, self._ports.chance)
        mine = self._term.lease.shard_id
        known = {child.shard_id: child for child in children}
        known |= {shard.shard_id: shard for shard in listed if mine in shard.parents}
        while not await self._try(list(known.values())):
            pass
        self._term.end()
        self._ports.observer.lease_changed(mine, "finished")
        log.info("shard_finished", shard=mine, children=sorted(known))

    async def _try(self, children: list[Shard]) -> bool:
        requests = await self._transaction(children)
        token = leases.end_token(self._stream, requests)

        async def transact() -> TransactionOutcome:
            return await self._ports.table.transact(requests, token)

        outcome = await persist("end_shard", transact, self._ports.chance)
        match outcome:
            case TransactionApplied():
                return True
            case TransactionRefused(refused):
                own = refused[0]
                return own is not None and self._already(own.row)

    def _already(self, row: Row | None) -> bool:
        """An earlier try without an answer had applied; or else the lease is another's."""
        if lease_rows.is_finished(row, self._term.epoch):
            return True
        self._term.end()
        raise LeaseLost(f"{self._term.lease.shard_id}: another worker owns the lease")

    async def _transaction(self, children: list[Shard]) -> tuple[Request, ...]:
        rows = {child.shard_id: await self._lease(child.shard_id) for child in children}
        known = [child for child in children if rows[child.shard_id] is not None]
        new = [await self._new_lease(child) for child in children if rows[child.shard_id] is None]
        wall_s = self._ports.clock.wall().timestamp()
        return leases.end_shard(self._stream, self._term.lease, self._me, wall_s, known, new)

    async def _new_lease(self, child: Shard) -> NewLease:
        mine = self._term.lease.shard_id
        others = {p: await self._lease(p) for p in child.parents if p != mine}
        there = {p: lease for p, lease in others.items() if lease is not None}
        generation = 1 + max(lease.generation for lease in (self._term.lease, *there.values()))
        return NewLease(child, child_pending(child, mine, there), TrimHorizon(), generation)

    async def _lease(self, shard: ShardId) -> Lease | None:
        key = leases.lease_key(self._stream, shard)
        row = await persist("read_lease", lambda: self._ports.table.get(key), self._ports.chance)
        return None if row is None else lease_rows.lease_of(row)
