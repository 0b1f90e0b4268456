"""What workers obey at their next round, whatever they would plan."""

from dataclasses import replace

from headrace.core.assignment import Adopt, Claim, Fleet, Take, orphans, plan, shares
from headrace.core.orders import Drop, Rest, orders
from headrace.core.skips import is_skipped, still_ahead
from headrace.model import Checkpoint, Lease, Record, ShardId, WorkerId, WorkerRow

ME, OTHER, SHARD = WorkerId("me-1"), WorkerId("other-1"), ShardId("shardId-0")
MINE = Lease(SHARD, 3, Checkpoint.at(5), owner=ME)


def fleet(lease: Lease, *, held: int | None = None, paused: bool = False, drained: bool = False) -> Fleet:
    """Two workers and one lease, which this one holds under epoch `held`."""
    me = WorkerRow(ME, 9, "live", drained_by="ada" if drained else None)
    workers = {ME: me, OTHER: WorkerRow(OTHER, 9, "live")}
    epochs = {} if held is None else {SHARD: held}
    return Fleet(ME, workers, {SHARD: lease}, held=frozenset(epochs), epochs=epochs, paused=paused)


def test_a_lease_that_shows_a_later_epoch_is_dropped():
    """Whoever wrote it, nothing of the old epoch counts any more; the row names me, so I take it up anew."""
    assert orders(fleet(MINE, held=2)) == [Drop(SHARD, 2)]
    assert orders(fleet(MINE, held=3)) == []
    assert plan(fleet(MINE)) == [Adopt(MINE)]


def test_what_is_paused_or_of_a_drained_worker_is_given_up_in_peace():
    """One shard, all of them, or all of one worker."""
    paused = replace(MINE, paused_by="ada")

    assert orders(fleet(paused, held=3)) == [Rest(SHARD, 3)]
    assert orders(fleet(MINE, held=3, paused=True)) == [Rest(SHARD, 3)]
    assert orders(fleet(MINE, held=3, drained=True)) == [Rest(SHARD, 3)]


def test_nobody_plans_to_own_what_is_paused():
    """Neither unowned, nor of a dead worker, nor one that names me."""
    free, dead = replace(MINE, owner=None), replace(MINE, owner=WorkerId("dead-1"))
    for lease in (free, dead, MINE):
        assert plan(fleet(replace(lease, paused_by="ada")))[:0] == []
        for paused in (fleet(replace(lease, paused_by="ada")), fleet(lease, paused=True)):
            assert orphans(paused) == []
            assert not [action for action in plan(paused) if isinstance(action, Adopt | Claim | Take)]


def test_a_drained_worker_gets_nothing_and_the_others_get_it_all():
    """It adopts only what already names it, to give that up."""
    free = replace(MINE, owner=None)

    assert shares(fleet(free, drained=True)) == {SHARD: OTHER}
    assert plan(fleet(free, drained=True)) == []
    assert plan(fleet(MINE, drained=True)) == [Adopt(MINE)]


def test_a_child_whose_parent_is_pending_is_not_adopted():
    """Its gate is in its row."""
    assert plan(fleet(replace(MINE, pending=frozenset({ShardId("parent")})))) == []


def test_a_lease_that_waits_for_its_parents_is_asked_for_by_nobody():
    """It may name an owner all the same: its parents were opened again while it was read."""
    read = [Lease(ShardId(f"s{n}"), 3, Checkpoint.at(5), owner=OTHER) for n in range(4)]
    waiting = Lease(ShardId("child"), 3, Checkpoint.at(5), owner=OTHER, pending=frozenset({SHARD}))
    asked = plan(replace(fleet(MINE), leases={x.shard_id: x for x in (*read, waiting)}, calm=True))

    assert [action.lease in read for action in asked] == [True]


def test_a_record_is_skipped_by_its_number_alone_or_with_all_of_its_aggregate():
    """And only as long as the checkpoint has not passed it."""
    plain, inside = Record(b"", "k", 7, 0.0), Record(b"", "k", 7, 0.0, "s", 2)
    whole, one = Checkpoint.at(7).encode(), Checkpoint.at(7, 2).encode()

    assert is_skipped(plain, frozenset({whole}))
    assert is_skipped(inside, frozenset({whole}))
    assert is_skipped(inside, frozenset({one}))
    assert not is_skipped(plain, frozenset({one}))
    assert still_ahead([whole, one], Checkpoint.at(7, 2)) == {whole}
    assert still_ahead([whole, one], Checkpoint.at(6)) == {whole, one}
    assert still_ahead([whole, one], Checkpoint.at(8)) == frozenset()
