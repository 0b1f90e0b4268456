"""A live lease moves from worker to worker: asked for by the receiver, passed on by the owner.

The receiver writes its wish into the lease's row and leaves word in the owner's worker row, which the owner's next
heartbeat brings back for free. The owner finishes the batch in flight and passes the lease on in one conditional write,
with the final checkpoint and the next epoch. The receiver watches that one row closely and reads on from there. A wish
that is not answered in time is withdrawn; one whose worker is gone may be replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from headrace.core import lease_rows, leases
from headrace.errors import AwsError
from headrace.flow.leasing.holdings import Holdings
from headrace.flow.term import Term
from headrace.model import Lease, ShardId, WorkerId
from headrace.ports import Ports
from headrace.rows import Applied, Request

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 30.0
"""How long a wish is left standing: a batch in flight may take its time."""

LOOK_EVERY_S: Final = 0.1
"""Between two looks at a row that was asked for: one cheap read, and only while a wish is pending."""


@dataclass(frozen=True, slots=True)
class Counterparts:
    """What a handoff needs of the rest of the worker."""

    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None] | None]
    """Run beside everything else, under this name; None once the worker is leaving."""
    is_moving: Callable[[WorkerId], bool]
    """Whether a worker was heard of lately."""
    pass_on: Callable[[Term, WorkerId], None]
    """Finish what is in flight under this term, and pass the lease on."""


class Handoffs:
    """Both sides of handing over, for one incarnation."""

    def __init__(self, me: WorkerId, stream: str, ports: Ports, holdings: Holdings, counterparts: Counterparts) -> None:
        self.heard: frozenset[ShardId] = frozenset()
        """Requests that the last heartbeat brought: the next one clears them."""
        self._wishing: asyncio.Task[None] | None = None
        self._me = me
        self._stream = stream
        self._ports = ports
        self._holdings = holdings
        self._with = counterparts

    # --- the receiver --------------------------------------------------------------------------------------------------

    def wish(self, lease: Lease) -> None:
        """Ask for a lease, and wait for it beside everything else."""
        self._holdings.wished[lease.shard_id] = lease
        self._wishing = self._with.spawn(self._obtain(lease), f"{lease.shard_id}-wish")

    def abandon(self) -> None:
        """The worker is leaving: wait for nothing more. What is passed on to it all the same, others take at once."""
        if self._wishing is not None:
            self._wishing.cancel()

    async def _obtain(self, lease: Lease) -> None:
        try:
            if await self._applied(leases.ask(self._stream, lease, self._me)):
                await self._applied(leases.knock(lease, self._me))
                await self._await_it(lease)
        finally:
            self._holdings.wished.pop(lease.shard_id, None)

    async def _await_it(self, lease: Lease) -> None:
        """Until the lease is passed on; its owner may also have died, and the coordinator taken it meanwhile."""
        deadline = self._ports.clock.now() + PATIENCE_S
        while self._ports.clock.now() < deadline:
            now = await self._read(lease.shard_id)
            if now is not None and now.epoch != lease.epoch:
                self._answered(lease, now)
                return
            await asyncio.sleep(LOOK_EVERY_S)
        log.info("wish_withdrawn", shard=lease.shard_id, owner=lease.owner)
        await self._applied(leases.withdraw(self._stream, lease, self._me))

    def _answered(self, lease: Lease, now: Lease) -> None:
        """Hold what was passed on, under the epoch that a handoff gives.

        A later one was put on by an operator since, and is nobody's until it is adopted. Such a row may have to wait for its
        parents first: the plan decides on it.
        """
        if now.owner == self._me and now.epoch == lease.epoch + 1:
            self._holdings.hold(now, "received")
        else:
            self._holdings.look.set()

    # --- the owner -----------------------------------------------------------------------------------------------------

    def asked(self, shards: frozenset[ShardId]) -> None:
        """A heartbeat brought requests of others."""
        for shard in shards - self.heard:
            self._with.spawn(self._answer(shard), f"{shard}-asked")
        self.heard = shards

    async def _answer(self, shard: ShardId) -> None:
        term, lease = self._holdings.terms.get(shard), await self._read(shard)
        if term is None or lease is None or lease.wanted_by is None:
            return
        if (lease.owner, lease.epoch) != (self._me, term.epoch):
            return
        if not self._with.is_moving(lease.wanted_by):
            await self._applied(leases.withdraw(self._stream, lease, lease.wanted_by))
            return
        log.info("lease_asked_for", shard=shard, heir=lease.wanted_by)
        self._with.pass_on(term, lease.wanted_by)

    # --- both ----------------------------------------------------------------------------------------------------------

    async def _applied(self, request: Request) -> bool:
        """Whether a write took place for certain; all of these are wishes, and none is repeated."""
        try:
            return isinstance(await self._ports.table.apply(request), Applied)
        except AwsError as error:
            log.info("handoff_unanswered", row=request.key.sk, error=str(error))
            return False

    async def _read(self, shard: ShardId) -> Lease | None:
        try:
            row = await self._ports.table.get(leases.lease_key(self._stream, shard))
        except AwsError:
            return None
        return None if row is None else lease_rows.lease_of(row)
