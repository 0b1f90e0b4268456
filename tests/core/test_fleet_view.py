"""The fleet out of rows."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headrace.core import membership
from headrace.core.fleet_view import Seen, view_of
from headrace.core.reports import Rates, Report, ShardFigures
from headrace.core.state_words import Limits, State
from headrace.model import TRIM_HORIZON, Lease, Shard, ShardId, WorkerId, WorkerRow

NOW_S = 1_800_000_000.0
A, B = WorkerId("a-1"), WorkerId("b-1")
LIMITS = Limits(86_400.0, lagging_s=60, stalled_s=30, silence_s=15)


def lease(shard, owner=A, **facts):
    return Lease(ShardId(shard), 1, TRIM_HORIZON, owner=owner, **facts)


def told(shard, lag_s=0.0, settled_s=0.0, open_=0, **facts):
    return ShardFigures(shard, lag_s, settled_s, settled_s, open_, facts.pop("retrying", 0), **facts)


IDLE = Rates()


def report(*shards, at_s=NOW_S, rates=IDLE, **facts):
    return Report(at_s, "1.0", rates, tuple(shards), **facts)


def seen(leases, reports=None, workers=(A, B), listed=None):
    rows = {w: WorkerRow(w, 5, membership.LIVE, name=w[0], began_s=NOW_S - 60) for w in workers}
    return Seen(rows, {one.shard_id: one for one in leases}, reports or {}, listed)


def view(*arguments, **named):
    return view_of(seen(*arguments, **named), LIMITS, NOW_S)


def by_id(fleet):
    return {shard.shard_id: shard for shard in fleet.shards}


def test_every_worker_that_reads_the_rows_shows_what_only_the_owners_know():
    """Lag, retries and rates of all of them, in one picture."""
    reports = {
        A: report(told("s0", 2.0, open_=3, retrying=1), rates=Rates(10, 9, 1, 0.5, 0.2), buried=4),
        B: report(told("s1", 5.0, open_=7, retrying=2), rates=Rates(20, 21, 0, 0, 0.3), buried=1),
    }
    figures = view([lease("s0"), lease("s1", B)], reports).figures
    assert (figures.worst_lag_s, figures.read, figures.settled, figures.failed) == (5.0, 30, 30, 1)
    assert (figures.retrying, figures.buried, figures.unowned) == (3, 5, 0)


def test_what_was_told_a_while_ago_is_carried_forward():
    """A shard that stopped shows as stalled when it has, not when the next report comes; one at its tip has no lag."""
    reports = {A: report(told("s0", 20.0, 20.0, open_=5), told("s1"), at_s=NOW_S - 10)}
    shards = by_id(view([lease("s0"), lease("s1")], reports))
    assert (shards["s0"].judged.state, shards["s0"].figures.lag_s) == (State.STALLED, 30.0)
    assert (shards["s1"].judged.state, shards["s1"].figures.lag_s) == (State.OK, 0.0)


def test_a_shard_that_gets_on_does_not_age_between_two_reports():
    """There is always something in flight; only a report that stays away too long makes its lag grow."""
    for age_s, lag_s in ((10, 0.4), (11, 11.4)):
        reports = {A: report(told("s0", 0.4, 0.3, open_=9), at_s=NOW_S - age_s)}
        assert by_id(view([lease("s0")], reports))["s0"].figures.lag_s == lag_s


def test_an_owner_that_fell_silent_leaves_its_shards_unowned():
    """Its last report looks fine for ever."""
    fleet = view([lease("s0")], {A: report(told("s0"), at_s=NOW_S - 16)})
    assert fleet.verdict.state is State.UNOWNED
    assert fleet.figures.unowned == 1


def test_a_report_from_the_future_is_as_good_as_one_of_now():
    """Clocks differ by a little."""
    fleet = view([lease("s0")], {A: report(told("s0"), at_s=NOW_S + 30)})
    assert fleet.workers[0].silent_s == 0.0
    assert fleet.verdict.state is State.OK


def test_a_listed_shard_without_a_lease_is_unowned_and_one_finished_long_ago_is_not():
    """The row of the latter was deleted, and its child's tells that it had been read."""
    listed = (Shard(ShardId("s0")), Shard(ShardId("s1"), (ShardId("s0"),)), Shard(ShardId("s2")))
    shards = by_id(view([lease("s1", parents=(ShardId("s0"),))], {A: report(told("s1"))}, listed=listed))
    assert set(shards) == {"s1", "s2"}
    assert shards["s2"].judged.state is State.UNOWNED


def test_children_stand_below_their_parents_and_what_is_finished_is_marked():
    """Lineage at a glance: a split, and a merge below its first parent."""
    leases = [
        lease("s0", None, done=True, children=frozenset({ShardId("s2"), ShardId("s3")})),
        lease("s1"),
        lease("s2", parents=(ShardId("s0"),)),
        lease("s3", parents=(ShardId("s0"),)),
        lease("s4", parents=(ShardId("s2"), ShardId("s3")), pending=frozenset({ShardId("s2")}), owner=None),
    ]
    fleet = view(leases, {A: report(told("s1"), told("s2"), told("s3"))})
    assert [(s.shard_id, s.depth, s.hidden) for s in fleet.shards] == [
        ("s0", 0, True),
        ("s2", 1, False),
        ("s4", 2, False),
        ("s3", 1, False),
        ("s1", 0, False),
    ]
    assert fleet.counts[State.OK] == 4


def test_the_time_to_catch_up_is_that_of_the_slowest_and_unknown_where_one_falls_back():
    """Seconds of lag, by the seconds that are made good in each."""
    leases = [lease("s0"), lease("s1"), lease("s2")]
    gaining = report(told("s0", 100.0, open_=1, gain=2.0), told("s1", 90.0, open_=1, gain=0.5), told("s2"))
    assert view(leases, {A: gaining}).figures.catch_up_s == 180.0
    fine = report(told("s0", 4.0, open_=1, gain=-1.0), told("s1"), told("s2"))
    assert view(leases, {A: fine}).figures.catch_up_s == 0
    falling = report(told("s0", 100.0, open_=1, gain=2.0), told("s1", 90.0, open_=1, gain=-0.5), told("s2"))
    assert view(leases, {A: falling}).figures.catch_up_s is None


def test_workers_that_are_gone_are_shown_for_an_hour_and_count_for_nothing():
    """Their rows stay for a week."""
    rows = seen([lease("s0")], {A: report(told("s0"), rates=Rates(1)), B: report(rates=Rates(5))})
    gone = replace(rows.workers[B], state=membership.FENCED)
    lately = view_of(replace(rows, workers={**rows.workers, B: gone}), LIMITS, NOW_S)
    assert [one.row.worker_id for one in lately.workers] == [A, B]
    assert lately.figures.read == 1
    old = replace(gone, began_s=NOW_S - 7200)
    assert len(view_of(replace(rows, workers={**rows.workers, B: old}), LIMITS, NOW_S).workers) == 1


shard_ids = st.sampled_from([ShardId(f"s{n}") for n in range(6)])
any_lease = st.builds(
    lambda shard, owner, parents, done: Lease(
        shard, 1, TRIM_HORIZON, owner=owner, parents=tuple(sorted(parents)), done=done
    ),
    shard_ids,
    st.sampled_from([A, B, None]),
    st.frozensets(shard_ids, max_size=2),
    st.booleans(),
)


@given(st.lists(any_lease, max_size=6), st.lists(st.builds(Shard, shard_ids, st.just(())), max_size=6))
def test_every_shard_is_shown_once_whatever_the_rows_say(leases, listed):
    """Rows are no snapshot: parents may be missing, or be their own children."""
    fleet = view(leases, listed=tuple(listed))
    shown = [shard.shard_id for shard in fleet.shards]
    assert len(shown) == len(set(shown))
    assert {one.shard_id for one in leases} <= set(shown)
    assert sum(fleet.counts.values()) == sum(not shard.hidden for shard in fleet.shards)
