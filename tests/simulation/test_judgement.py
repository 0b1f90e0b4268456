"""Whose an epoch is that an operator put on a lease: what the simulated sink takes for a write of its owner (S3)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.core import lease_rows, leases, operator_rows
from headrace.core.lineage import NewLease
from headrace.model import TRIM_HORIZON, Checkpoint, Lease, Shard, ShardId, TrimHorizon, WorkerId
from headrace.rows import Applied, UpdateRow
from simulation.ledger import Ledger, Violation
from simulation.sink import Right, WatchedSink
from simulation.table import OPERATOR, WatchedTable

SHARD, ME = ShardId("s"), WorkerId("me")


class Judged:
    """One lease, and a sink that is asked whether a write of `ME` may reach it."""

    def __init__(self) -> None:
        loop: Any = SimpleNamespace(now=0.0)
        self.table = WatchedTable(loop, Ledger())
        self.sink = WatchedSink(self.table, Ledger(), "stream", 1.0)
        self.table.write(leases.create("stream", NewLease(Shard(SHARD), frozenset(), TrimHorizon(), 0), 0.0))

    @property
    def lease(self) -> Lease:
        return lease_rows.lease_of(self.table.rows[leases.lease_key("stream", SHARD)])

    def act(self, sender: WorkerId, request: UpdateRow) -> None:
        assert isinstance(self.table.serve(sender, lambda: self.table.write(request)), Applied)

    def claim_and_release(self) -> None:
        self.act(ME, leases.claim("stream", self.lease, ME))
        self.act(ME, leases.release("stream", SHARD, ME, self.lease.epoch, leases.Progress(TRIM_HORIZON, 0.0)))

    def takes(self, epoch: int) -> bool:
        try:
            self.sink.apply([], Right(SHARD, ME, epoch))
        except Violation:
            return False
        return True


@pytest.fixture
def judged() -> Judged:
    return Judged()


def test_an_owner_that_an_operator_put_elsewhere_may_end_its_writes_and_begin_none(judged):
    """The epoch that was put on is nobody's."""
    judged.act(ME, leases.claim("stream", judged.lease, ME))
    judged.act(OPERATOR, operator_rows.skip("stream", judged.lease, Checkpoint.at(1)))

    assert [judged.takes(epoch) for epoch in (1, 2)] == [True, False]


def test_a_free_lease_that_an_operator_gives_away_is_its_new_owners_under_that_epoch_alone(judged):
    """Also where it was his before: writes of that time must have ended with the release."""
    judged.claim_and_release()
    judged.act(OPERATOR, operator_rows.assign("stream", judged.lease, ME))

    assert judged.lease.epoch == 2
    assert [judged.takes(epoch) for epoch in (1, 2)] == [False, True]


def test_a_given_lease_that_is_put_elsewhere_then_is_as_any_other(judged):
    """The epoch of the gift may end its writes, the next one is nobody's until it is adopted."""
    judged.claim_and_release()
    judged.act(OPERATOR, operator_rows.assign("stream", judged.lease, ME))
    judged.act(OPERATOR, operator_rows.skip("stream", judged.lease, Checkpoint.at(1)))
    assert [judged.takes(epoch) for epoch in (1, 2, 3)] == [False, True, False]

    judged.act(ME, leases.adopt("stream", judged.lease, ME))
    assert [judged.takes(epoch) for epoch in (2, 3, 4)] == [False, False, True]
