"""What the rows say of the fleet."""

from headrace.core.assignment import Fleet
from headrace.core.fleet_status import fleet_status
from headrace.core.membership import LEAVING, LEFT, LIVE
from headrace.model import TRIM_HORIZON, Lease, ShardId, WorkerId, WorkerRow

ONE, TWO, GONE = WorkerId("one"), WorkerId("two"), WorkerId("gone")
WORKERS = {
    ONE: WorkerRow(ONE, 5, LIVE),
    TWO: WorkerRow(TWO, 5, LEAVING),
    GONE: WorkerRow(GONE, 5, LEFT),
}


def lease(name, owner=None, **rest):
    return Lease(ShardId(name), 1, TRIM_HORIZON, owner=owner, **rest)


def told(*leases, unread_s=None, wall_s=1000.0):
    fleet = Fleet(ONE, WORKERS, {one.shard_id: one for one in leases})
    return fleet_status(fleet, unread_s or {}, wall_s=wall_s, retention_s=86_400.0, is_leaving=False)


def test_each_shard_that_is_not_finished_counts_once():
    """Owned by one that lives or leaves; unowned; or waiting for its parents."""
    status = told(
        lease("a", ONE),
        lease("b", TWO),
        lease("c", GONE),
        lease("d"),
        lease("e", pending=frozenset({ShardId("a")})),
        lease("f", ONE, done=True),
    )
    assert (status.owned, status.unowned, status.waiting) == (2, 2, 1)
    assert status.workers == 1


def test_a_shard_that_an_operator_paused_is_neither_owned_nor_unowned():
    """Nobody reads it, and nobody should: an alert for shards without an owner stays quiet."""
    status = told(lease("a", ONE), lease("b", paused_by="ada"), lease("c", ONE, paused_by="ada"))
    assert (status.owned, status.unowned, status.waiting, status.paused) == (1, 0, 0, 2)


def test_the_lag_of_unowned_shards_is_that_of_the_one_furthest_behind():
    """Its row says up to when all was settled; whoever reads it next begins there."""
    assert told(lease("a", ONE, up_to_s=1.0), lease("b", up_to_s=970.0), lease("c", up_to_s=940.0)).unowned_lag_s == 60
    assert told(lease("a", ONE, up_to_s=1.0)).unowned_lag_s == 0
    assert told(lease("b", up_to_s=1005.0)).unowned_lag_s == 0, "the row was written by a clock ahead of ours"


def test_a_shard_that_nobody_ever_read_lags_since_it_was_seen():
    """Nothing says how old its records are; that they wait longer and longer is certain."""
    assert told(lease("a"), lease("b"), unread_s={ShardId("a"): 12.0, ShardId("b"): 15.0}).unowned_lag_s == 15
