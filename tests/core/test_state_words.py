"""One word for a shard and one for the fleet."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import membership
from headrace.core.state_words import Facts, Figures, Judged, Limits, State, judge, judge_fleet, judge_own
from headrace.loss import Loss
from headrace.model import TRIM_HORIZON, Lease, ShardId, WorkerId, WorkerRow

ME = WorkerId("worker-1")
DAY_S = 86_400.0
LIMITS = Limits(retention_s=DAY_S, lagging_s=60.0, stalled_s=300.0, silence_s=15.0)
NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def lease(**facts):
    return Lease(ShardId("shardId-7"), epoch=3, checkpoint=TRIM_HORIZON, **{"owner": ME, **facts})


def worker(state=membership.LIVE, name="worker"):
    return WorkerRow(ME, heartbeat=9, state=state, name=name)


def figures(lag_s=0.0, since_settled_s=0.0, **facts):
    return Figures(lag_s, facts.pop("since_progress_s", since_settled_s), since_settled_s, **facts)


def word(facts, limits=LIMITS):
    return judge(facts, limits).state


def test_a_shard_at_its_tip_is_ok_and_there_is_nothing_to_do():
    """The usual case says nothing that would have to be read."""
    assert judge(Facts(lease(), worker(), 1.0, figures()), LIMITS) == Judged(State.OK, "Up to date.")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(None), State.UNOWNED),
        (Facts(lease(owner=None)), State.UNOWNED),
        (Facts(lease(), None), State.UNOWNED),
        (Facts(lease(), worker(membership.FENCED)), State.UNOWNED),
        (Facts(lease(), worker(membership.LEFT)), State.UNOWNED),
        (Facts(lease(), worker(membership.LEAVING), 1.0, figures()), State.OK),
        (Facts(lease(), worker(), 15.0, figures()), State.OK),
        (Facts(lease(), worker(), 15.1, figures()), State.UNOWNED),
        (Facts(lease(), worker()), State.OK),
        (Facts(lease(), worker(), 1.0, figures(60.0)), State.OK),
        (Facts(lease(), worker(), 1.0, figures(60.1)), State.LAGGING),
        (Facts(lease(), worker(), 1.0, figures(60.1, 299.9, open_records=5)), State.LAGGING),
        (Facts(lease(), worker(), 1.0, figures(1.0, 300.0, open_records=5)), State.STALLED),
        (Facts(lease(), worker(), 1.0, figures(DAY_S / 2)), State.LAGGING),
        (Facts(lease(), worker(), 1.0, figures(DAY_S / 2 + 1)), State.LOSING_DATA),
        (Facts(lease(), worker(), 1.0, figures(halted=Loss.RECORDS_TRIMMED)), State.LOSING_DATA),
        (Facts(lease(owner=None), unread_s=DAY_S / 2 + 1), State.LOSING_DATA),
        (Facts(lease(done=True, owner=None)), State.OK),
        (Facts(lease(owner=None, pending=frozenset({ShardId("shardId-1")}))), State.OK),
    ],
)
def test_each_word_begins_where_its_limit_is_crossed(facts, expected):
    """Every rule with the last value on one side and the first on the other."""
    assert word(facts) is expected


def test_an_idle_shard_whose_row_is_old_is_ok_while_its_owner_reads_at_the_tip():
    """A row is brought up to date hourly while nothing arrives: its age says nothing, and the owner knows better."""
    assert word(Facts(lease(), worker(), 1.0, figures(), unread_s=DAY_S)) is State.OK


def test_one_that_makes_slow_progress_lags_and_one_that_makes_none_has_stalled():
    """The word is about movement, not about the size of the number."""
    assert word(Facts(lease(), worker(), 1.0, figures(7200.0, 2.0, open_records=9_000))) is State.LAGGING
    assert word(Facts(lease(), worker(), 1.0, figures(301.0, 301.0, open_records=1))) is State.STALLED


def test_a_child_says_for_which_parents_it_waits():
    """It is unread on purpose, and nobody has to act."""
    judged = judge(Facts(lease(owner=None, pending=frozenset({ShardId("shardId-2"), ShardId("shardId-1")}))), LIMITS)
    assert "shardId-1, shardId-2" in judged.why
    assert judged.todo == ""


def test_without_a_known_retention_nothing_is_said_of_losing():
    """0 would make every shard a loss."""
    assert word(Facts(lease(), worker(), 1.0, figures(DAY_S)), Limits(0.0)) is State.LAGGING


spans = st.floats(0, 3 * DAY_S)
all_figures = st.builds(
    Figures,
    lag_s=spans,
    since_progress_s=spans,
    since_settled_s=spans,
    open_records=st.integers(0, 10_000),
    retrying_records=st.integers(0, 10_000),
    halted=st.none() | st.sampled_from(Loss),
)
all_leases = st.builds(
    lambda owner, done, pending: lease(owner=owner, done=done, pending=frozenset(map(ShardId, pending))),
    st.none() | st.just(ME),
    st.booleans(),
    st.lists(st.text("0123", min_size=1), max_size=2),
)
all_workers = st.none() | st.sampled_from((*membership.ALIVE, membership.FENCED, membership.LEFT)).map(worker)
all_facts = st.builds(
    Facts,
    st.none() | all_leases,
    all_workers,
    st.none() | spans,
    st.none() | all_figures,
    st.none() | spans,
)
all_limits = st.builds(
    Limits, st.just(0.0) | st.floats(DAY_S, 365 * DAY_S), st.floats(1, 7200), st.floats(10, 7200), st.floats(15, 600)
)


@given(all_facts, all_limits)
def test_every_shard_has_a_word_a_reason_and_where_it_is_bad_a_remedy(facts, limits):
    """A person at night is never left with a colour alone."""
    judged = judge(facts, limits)
    assert judged.why.endswith(".")
    assert judged.why[0].isupper() or judged.why[0].isdigit()
    assert judged.state is State.OK or judged.todo.endswith(".")


@given(all_figures, all_limits)
def test_the_owner_and_the_fleet_have_the_same_word_for_a_shard_that_is_read(known, limits):
    """The metric that an alert goes by and the page that it links to."""
    seen = judge(Facts(lease(), worker(), 0.0, known), limits)
    assert judge_own(known, limits) == seen


@given(all_figures, st.floats(0, DAY_S), all_limits)
def test_more_lag_never_makes_a_better_word(known, more_s, limits):
    """The words are in the order of what they ask of a person."""
    later = Figures(
        known.lag_s + more_s,
        known.since_progress_s + more_s,
        known.since_settled_s + more_s,
        known.open_records,
        known.retrying_records,
        known.held_by,
        known.halted,
    )
    assert judge_own(later, limits).state.badness >= judge_own(known, limits).state.badness


@given(st.dictionaries(st.text("0123456789", min_size=1).map(ShardId), all_facts, min_size=1, max_size=8), all_limits)
def test_the_fleet_is_as_its_worst_shard_and_names_one_of_them(shards, limits):
    """Nothing bad is averaged away."""
    judged = {shard: judge(facts, limits) for shard, facts in shards.items()}
    fleet = judge_fleet(judged, [worker()], {})
    assert fleet.state.badness == max(one.state.badness for one in judged.values())
    if fleet.state is not State.OK:
        worst = [one for one in judged.values() if one.state is fleet.state]
        assert any(one.why[1:] in fleet.why and one.todo == fleet.todo for one in worst)


def test_the_one_furthest_behind_speaks_for_the_fleet():
    """And the count says that it is not alone."""
    lagging = {ShardId(name): judge_own(figures(lag), LIMITS) for name, lag in (("a", 70.0), ("b", 90.0), ("c", 0.0))}
    fleet = judge_fleet(lagging, [worker()], {ShardId("a"): 70.0, ShardId("b"): 90.0, ShardId("c"): 0.0})
    assert fleet.why == "2 of 3 shards are LAGGING. b: the oldest unsettled record arrived 1 min 30 s ago."


def test_without_a_worker_the_fleet_says_so_instead_of_naming_a_shard():
    """The remedy is another one than for a single orphan."""
    unowned = {ShardId("a"): judge(Facts(lease(owner=None)), LIMITS)}
    fleet = judge_fleet(unowned, [worker(membership.LEFT)], {})
    assert (fleet.state, fleet.todo) == (State.UNOWNED, "Start a worker.")


def test_a_healthy_fleet_says_how_much_of_it_there_is():
    """So that a worker too few is noticed even while all is well."""
    fine = {ShardId("a"): judge_own(figures(), LIMITS), ShardId("b"): judge_own(figures(2.5), LIMITS)}
    assert judge_fleet(fine, [worker()], {ShardId("b"): 2.5}).why == "1 worker reads 2 shards, at most 2.5 s behind."


def test_a_fleet_without_a_shard_is_not_well_but_unknown():
    """A script that asks about another stream than is read must not take that for health."""
    assert judge_fleet({}, [worker()], {}).state is State.NOT_KNOWN


def test_what_waits_behind_a_failed_record_is_not_said_to_have_failed():
    """379 records of one key that fails are one failure."""
    why = judge_own(Figures(1.0, 1.0, 1.0, open_records=400, retrying_records=379), Limits(0.0)).why
    assert why == "379 records of failing keys wait for another attempt or behind one; other keys go on."
