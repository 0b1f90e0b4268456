"""The lease table of a simulated fleet: every write that is applied is held against the invariants at that moment."""

from __future__ import annotations

import random
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from headrace.core import lease_rows, membership
from headrace.model import Lease, ShardId, WorkerId
from headrace.rows import Applied, Equals, Key, Refused, Request, Row, UpdateRow
from headrace.testing.lease_table import MemoryLeaseTable
from simulation.ledger import Ledger, Violation
from simulation.loop import VirtualLoop

T = TypeVar("T")

LEASES = "L#"

OPERATOR = WorkerId("operator")
"""Sends what no worker does; it owns nothing."""


class WatchedTable(MemoryLeaseTable):
    """Knows the rules S1, S2, S4, S5 and S6; `lost` and `fenced` are told of what concerns S3."""

    def __init__(self, loop: VirtualLoop, ledger: Ledger) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.leases: dict[Key, Lease] = {}
        """The lease rows as values."""
        self.lost: Callable[[Lease], None] = _nothing
        """A lease that may still be read left its owner's hands; as it was before."""
        self.fenced: Callable[[WorkerId], None] = _nothing
        self.told: Callable[[str], None] = _nothing
        """Told of every change, in words."""
        self._loop = loop
        self._ledger = ledger
        self._history: dict[Key, list[tuple[float, Row | None]]] = defaultdict(list)
        self._keys: dict[str, list[Key]] = defaultdict(list)
        self._sender: WorkerId | None = None
        self._finished: set[ShardId] = set()
        self._opened: set[ShardId] = set()
        self._put_on: Counter[ShardId] = Counter()

    def serve(self, sender: WorkerId | None, act: Callable[[], T]) -> T:
        """Apply what a worker sent."""
        self._sender = sender
        return act()

    def put_on(self, shard: ShardId) -> int:
        """How many epochs operators have put on since the lease came into its owner's hands, by an operator's gift too."""
        return self._put_on[shard]

    def seen(self, pk: str, now: float, chance: random.Random, longest_lag_s: float) -> list[Row]:
        """What an eventually consistent read may show: each row as it was a moment ago, each with its own lag."""
        lag = chance.random
        versions = (self.as_of(key, now - lag() * longest_lag_s) for key in self._keys[pk])
        return [row for row in versions if row is not None]

    def as_of(self, key: Key, instant: float) -> Row | None:
        """One row as it was."""
        for at, row in reversed(self._history.get(key, ())):
            if at <= instant:
                return row
        return None

    def refusal(self, request: Request) -> Refused | None:
        refused = super().refusal(request)
        if refused is not None:
            self._count_refusal(request, refused.row)
        return refused

    def _count_refusal(self, request: Request, row: Row | None) -> None:
        if not isinstance(request, UpdateRow) or row is None:
            return
        if request.key.pk.startswith(LEASES):
            rights = [c for c in request.conditions if isinstance(c, Equals) and c.attribute in {"own", "ep"}]
            if "ck" in request.assign and any(row.get(c.attribute) != c.value for c in rights):
                self.counts["refused zombie writes"] += 1
        elif request.assign.get("st") == membership.FENCED:
            self.counts["refused fences"] += row["st"] in membership.ALIVE
        elif "hb" in request.assign:
            self.counts["refused heartbeats of the fenced"] += row["st"] == membership.FENCED

    def _write(self, request: Request) -> Applied:
        key = request.key
        before = self.rows.get(key)
        applied = super()._write(request)
        after = self.rows.get(key)
        if key not in self._history:
            insort(self._keys[key.pk], key)
        self._history[key].append((self._loop.now, after))
        if key.pk.startswith(LEASES):
            self._check_lease(request, after)
        elif key.pk == membership.WORKERS and before is not None and after is not None:
            self._check_worker(before, after)
        return applied

    def _check_worker(self, before: Row, after: Row) -> None:
        was, now = before["st"], after["st"]
        if was not in membership.ALIVE and now in membership.ALIVE:
            raise Violation(f"S2: worker {after['sk']} came back from the dead")
        if now == membership.FENCED and was != membership.FENCED:
            self.counts["fences"] += 1
            self.told(f"fence {after['sk']} at {after['hb']}, by {self._sender}")
            self.fenced(WorkerId(str(after["sk"])))

    def _check_lease(self, request: Request, after: Row | None) -> None:
        old = self.leases.get(request.key)
        if after is None:
            self.leases.pop(request.key, None)
            return
        new = self.leases[request.key] = lease_rows.lease_of(after)
        if old is None:
            return
        if self._sender == OPERATOR:
            given = old.owner is None and new.owner is not None
            self._put_on[new.shard_id] = 0 if given else self._put_on[new.shard_id] + new.epoch - old.epoch
            self._check_operator(old, new)
            return
        if (old.owner, old.epoch) != (new.owner, new.epoch):
            self._put_on[new.shard_id] = 0
        if new.done:
            self._finished.add(new.shard_id)
        if old.done:
            raise Violation(f"S1: the finished lease of {new.shard_id} was changed")
        if (old.owner, old.epoch) != (new.owner, new.epoch):
            self._check_change(old, new, by_hand=_tells_progress(request))
        if _tells_progress(request):
            self._check_checkpoint(old, new)

    def _check_operator(self, old: Lease, new: Lease) -> None:
        """S1, S2 and S4: the owner stays, unless there is none; a place goes back with the next epoch alone."""
        named = old.owner is not None
        if named and new.owner != old.owner:
            raise Violation(f"S2: an operator took {new.shard_id} from {old.owner}")
        if new.epoch - old.epoch not in (0, 1):
            raise Violation(f"S1: an operator put {new.shard_id} from epoch {old.epoch} to {new.epoch}")
        if named and new.epoch == old.epoch and (new.checkpoint, new.start) != (old.checkpoint, old.start):
            raise Violation(f"S4: the place of {new.shard_id} was moved within epoch {new.epoch}")
        if old.done and not new.done:
            self._finished.discard(new.shard_id)
            self.counts["shards opened again"] += 1
        self._opened.add(new.shard_id)
        self.counts["operators' acts"] += 1

    def check_gates(self) -> None:
        """S5, once an operator's whole act took place: whoever may be read has parents that are done."""
        for lease in self.leases.values():
            if lease.shard_id in self._opened and lease.owner is not None and not lease.pending:
                self._check_parents(lease)
        self._opened.clear()

    def _check_checkpoint(self, old: Lease, new: Lease) -> None:
        if new.checkpoint < old.checkpoint:
            raise Violation(f"S4: the checkpoint of {new.shard_id} went back under epoch {new.epoch}")
        if self._sender != old.owner:
            raise Violation(f"S4: {self._sender} wrote a checkpoint of {new.shard_id}, which is {old.owner}'s")
        self._ledger.check_passed(new.shard_id, new.checkpoint)

    def _check_change(self, old: Lease, new: Lease, *, by_hand: bool) -> None:
        """S1 and S2; `by_hand`: the write is one that only an owner makes."""
        bumped = new.owner is not None
        if new.epoch != old.epoch + bumped:
            raise Violation(f"S1: {new.shard_id} changed hands from epoch {old.epoch} to {new.epoch}")
        if bumped:
            self._check_parents(new)
        if old.owner is not None and self._sender != old.owner:
            self._check_dead(old.owner, new)
        kind = self._kind(old, new, by_hand=by_hand)
        self.counts[kind] += 1
        self.told(f"{kind} {new.shard_id}: {old.owner} at {old.epoch} -> {new.owner} at {new.epoch}")
        if old.owner is not None and old.owner != new.owner and not new.done:
            self.lost(old)

    def _check_parents(self, new: Lease) -> None:
        """S5; what has a row at the beginning has no parents, and nothing is trimmed."""
        for parent in new.parents:
            if parent not in self._finished:
                raise Violation(f"S5: {new.shard_id} is read before its parent {parent} was")

    def _check_dead(self, owner: WorkerId, new: Lease) -> None:
        row = self.rows.get(membership.worker_key(owner))
        if row is None or row["st"] in membership.ALIVE:
            raise Violation(f"S2: {new.shard_id} was taken from {owner}, which was not fenced")

    def _kind(self, old: Lease, new: Lease, *, by_hand: bool) -> str:
        if new.owner is None:
            return "shards ended" if new.done else "releases"
        if old.owner is None:
            return "claims"
        if old.owner == new.owner:
            return "adoptions"
        return "handoffs" if by_hand else "takes"


def _tells_progress(request: Request) -> bool:
    return isinstance(request, UpdateRow) and "ck" in request.assign


def _nothing(_: Any) -> None:
    pass
