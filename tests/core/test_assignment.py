"""The plan every worker computes."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.assignment import Adopt, Ask, Claim, Fence, Fleet, Take, Tombstone, Watch, plan, shares
from headrace.core.leases import FENCED, LEAVING, LEFT, LIVE
from headrace.model import TRIM_HORIZON, Instant, Lease, ShardId, Worker, WorkerId

STATES = (LIVE, LEAVING, FENCED, LEFT)


def worker(name: str, state: str = LIVE, heartbeat: int = 1) -> Worker:
    return Worker(WorkerId(name), heartbeat, state)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[dict[WorkerId, Worker], dict[ShardId, Lease]]:
    workers = [worker(f"w{n}", draw(st.sampled_from(STATES))) for n in range(draw(st.integers(1, 6)))]
    owners = [None, WorkerId("absent"), *(w.worker_id for w in workers)]
    leases = [
        Lease(
            ShardId(f"shard-{n:03d}"),
            draw(st.integers(0, 5)),
            TRIM_HORIZON,
            owner=draw(st.sampled_from(owners)),
            pending=frozenset({ShardId("p")}) if draw(st.integers(0, 9)) == 0 else frozenset(),
            done=draw(st.integers(0, 9)) == 0,
        )
        for n in range(draw(st.integers(0, 24)))
    ]
    return {w.worker_id: w for w in workers}, {lease.shard_id: lease for lease in leases}


@given(fleets())
def test_all_views_of_the_same_rows_give_each_orphan_to_one_worker(fleet):
    """No two workers plan to take the same lease, and the plan of each acts on its own part only."""
    workers, leases = fleet
    taken = Counter()
    for me in workers:
        held = frozenset(s for s, lease in leases.items() if lease.owner == me)
        for action in plan(Fleet(me, workers, leases, held)):
            if isinstance(action, Claim | Take):
                taken[action.lease.shard_id] += 1

    assert all(count == 1 for count in taken.values())


@given(fleets())
def test_nothing_of_a_living_owner_is_taken_and_nothing_that_must_wait(fleet):
    """Live or leaving, the owner alone lets go; pending parents and finished shards are left alone."""
    workers, leases = fleet
    for me in workers:
        for action in plan(Fleet(me, workers, leases)):
            match action:
                case Claim(lease):
                    assert lease.owner is None
                    assert not lease.pending
                    assert not lease.done
                case Take(lease):
                    assert workers[lease.owner].state in {FENCED, LEFT}
                    assert not lease.pending
                    assert not lease.done
                case Adopt(lease):
                    assert lease.owner == me
                case Tombstone(dead):
                    assert dead not in workers
                case Fence():
                    raise AssertionError("nobody was silent")


@settings(max_examples=200)
@given(fleets())
def test_when_all_act_on_their_plans_the_fleet_comes_to_rest_with_every_lease_owned(fleet):
    """Round after round; then nothing more is planned. Liveness of the planner."""
    workers, leases = fleet
    living = [name for name, w in workers.items() if w.state == LIVE]
    workers = dict(workers)
    for _ in range(4):
        for me in living:
            held = frozenset(s for s, lease in leases.items() if lease.owner == me)
            for action in plan(Fleet(me, workers, leases, held)):
                match action:
                    case Tombstone(dead):
                        workers[dead] = worker(dead, FENCED)
                    case Claim(lease) | Take(lease) | Adopt(lease):
                        leases[lease.shard_id] = Lease(lease.shard_id, lease.epoch + 1, TRIM_HORIZON, owner=me)

    if living:
        alive = {name for name, w in workers.items() if w.state in {LIVE, LEAVING}}
        assert all(row.owner in alive for row in leases.values() if not row.done and not row.pending)
        assert not any(
            plan(Fleet(me, workers, leases, frozenset(s for s, row in leases.items() if row.owner == me)))
            for me in living
        )


@given(st.integers(1, 6), st.integers(0, 40))
def test_orphans_are_shared_out_evenly(workers, shards):
    """From nothing, loads differ by one at most."""
    names = {WorkerId(f"w{n}"): worker(f"w{n}") for n in range(workers)}
    leases = {s: Lease(s, 0, TRIM_HORIZON) for s in (ShardId(f"s{n}") for n in range(shards))}
    given = Counter(shares(Fleet(WorkerId("w0"), names, leases)).values())
    loads = [given[name] for name in names]

    assert sum(loads) == shards
    assert max(loads) - min(loads) <= 1


def test_a_newcomer_gets_the_orphans_rather_than_the_busy():
    """The worker with the fewest leases is given them."""
    names = {WorkerId("busy"): worker("busy"), WorkerId("new"): worker("new")}
    leases = {ShardId(f"s{n}"): Lease(ShardId(f"s{n}"), 1, TRIM_HORIZON, owner=WorkerId("busy")) for n in range(3)}
    leases |= {ShardId(f"o{n}"): Lease(ShardId(f"o{n}"), 1, TRIM_HORIZON) for n in range(3)}

    assert set(shares(Fleet(WorkerId("busy"), names, leases)).values()) == {"new"}


def test_an_orphan_its_planned_owner_does_not_take_may_be_taken_by_anyone():
    """Views may differ for long: liveness must not depend on them."""
    names = {WorkerId("a"): worker("a"), WorkerId("b"): worker("b")}
    lease = Lease(ShardId("s"), 1, TRIM_HORIZON)
    planned = shares(Fleet(WorkerId("a"), names, {lease.shard_id: lease}))[lease.shard_id]
    other = next(name for name in names if name != planned)
    fleet = Fleet(other, names, {lease.shard_id: lease})

    assert plan(fleet) == []
    assert plan(Fleet(other, names, {lease.shard_id: lease}, overdue=frozenset({lease.shard_id}))) == [Claim(lease)]


def test_a_silent_worker_is_fenced_at_the_counter_that_was_seen_and_gets_nothing_more():
    """Its leases are taken only once its row says fenced."""
    names = {WorkerId("me"): worker("me"), WorkerId("dead"): worker("dead", heartbeat=7)}
    leases = {
        ShardId("hers"): Lease(ShardId("hers"), 3, TRIM_HORIZON, owner=WorkerId("dead")),
        ShardId("orphan"): Lease(ShardId("orphan"), 3, TRIM_HORIZON),
    }
    actions = plan(Fleet(WorkerId("me"), names, leases, silent={WorkerId("dead"): 7}))

    assert actions == [Fence(WorkerId("dead"), 7), Claim(leases[ShardId("orphan")])]


# --- silence ----------------------------------------------------------------------------------------------------------


def test_silence_runs_from_the_first_read_that_showed_the_counter():
    """Later reads of the same counter do not renew it, and a stale lower one is ignored."""
    watch = Watch({})
    for received, counter in ((0.0, 5), (1.0, 5), (2.0, 4), (3.0, 5)):
        watch = watch.observe([worker("w", heartbeat=counter)], Instant(received), longest_gap_s=2)

    assert watch.silent([worker("w")], Instant(3.0), 3.1, 2) == {}
    assert watch.silent([worker("w")], Instant(3.1), 3.1, 2) == {"w": 5}
    assert watch.next_silence([worker("w")], 3.1) == 3.1


def test_a_moving_counter_is_never_silent():
    """Each new counter starts anew."""
    watch = Watch({})
    for second in range(20):
        watch = watch.observe([worker("w", heartbeat=second)], Instant(float(second)), longest_gap_s=2)
        assert watch.silent([worker("w")], Instant(float(second)), 1.5, 2) == {}


def test_an_observer_that_could_not_see_starts_all_silence_anew():
    """An outage of the table is not the silence of a worker."""
    watch = Watch({}).observe([worker("w")], Instant(0.0), longest_gap_s=2)

    assert watch.silent([worker("w")], Instant(12.0), 10, 2) == {}
    watch = watch.observe([worker("w")], Instant(12.0), longest_gap_s=2)
    assert watch.silent([worker("w")], Instant(12.0), 10, 2) == {}
    assert watch.next_silence([worker("w")], 10) == 22.0


def test_the_dead_are_not_silent():
    """Only a row that could still heartbeat can be fenced."""
    watch = Watch({}).observe([worker("w", FENCED)], Instant(0.0), longest_gap_s=100)

    assert watch.silent([worker("w", FENCED)], Instant(50.0), 10, 100) == {}


# --- evening out ------------------------------------------------------------------------------------------------------


def even_out(workers: dict[WorkerId, Worker], leases: dict[ShardId, Lease], rounds: int = 200) -> int:
    """Let every worker act on its requests, one at a time, until nobody asks; the number of moves."""
    moves = 0
    for _ in range(rounds):
        asked = False
        for me in workers:
            for action in plan(Fleet(me, workers, leases, calm=True)):
                if isinstance(action, Ask):
                    moves += 1
                    asked = True
                    leases[action.lease.shard_id] = replace(action.lease, owner=me, epoch=action.lease.epoch + 1)
        if not asked:
            return moves
    raise AssertionError("the fleet does not come to rest")


def owned(counts: dict[str, int]) -> tuple[dict[WorkerId, Worker], dict[ShardId, Lease]]:
    workers = {WorkerId(name): worker(name, heartbeat=10) for name in counts}
    names = [name for name, count in counts.items() for _ in range(count)]
    leases = {
        ShardId(f"s{n:03}"): Lease(ShardId(f"s{n:03}"), 2, TRIM_HORIZON, owner=WorkerId(name), throughput=100.0)
        for n, name in enumerate(names)
    }
    return workers, leases


@given(st.lists(st.integers(0, 30), min_size=2, max_size=6))
def test_equal_leases_are_evened_out_with_no_move_more_than_needed(counts):
    """From any state: rest, loads within the tolerance, moves <= the minimum that gets there + 1."""
    workers, leases = owned({f"w{n}": count for n, count in enumerate(counts)})
    minimum = sum(max(0, count - -(-sum(counts) // len(counts))) for count in counts)
    moves = even_out(workers, leases)
    loads = Counter(lease.owner for lease in leases.values())
    final = [loads[name] for name in workers]
    mean = sum(final) / len(final)

    assert moves <= minimum + len(counts)
    assert max(final) <= max(mean * 1.15, mean + 1)
    assert min(final) >= min(mean / 1.15, mean - 1)


@given(st.lists(st.floats(1, 1000), min_size=4, max_size=40), st.integers(2, 5), st.randoms(use_true_random=False))
def test_leases_of_any_weight_come_to_rest(weights, workers, chance):
    """No lease goes back and forth."""
    names, leases = owned(dict.fromkeys((f"w{n}" for n in range(workers)), 0) | {"w0": len(weights)})
    leases = {s: replace(x, throughput=w) for (s, x), w in zip(leases.items(), weights, strict=True)}

    assert even_out(names, leases) <= 2 * len(weights)


@given(st.integers(2, 6), st.integers(4, 12), st.data())
def test_a_balanced_fleet_does_not_move_under_noise(workers, each, data):
    """Every lease's throughput wavers by 10 %."""
    names, leases = owned({f"w{n}": each for n in range(workers)})
    leases = {s: replace(x, throughput=100.0 * data.draw(st.floats(0.9, 1.1))) for s, x in leases.items()}

    assert even_out(names, leases) == 0


def test_only_a_calm_fleet_of_workers_that_were_seen_for_a_while_is_evened_out():
    """A worker that started a moment ago may crash at once."""
    workers, leases = owned({"old": 8, "new": 0})
    new = WorkerId("new")

    assert not [a for a in plan(Fleet(new, workers, leases)) if isinstance(a, Ask)]
    assert [a for a in plan(Fleet(new, workers, leases, calm=True)) if isinstance(a, Ask)]
    young = workers | {new: worker("new", heartbeat=2)}
    assert not [a for a in plan(Fleet(new, young, leases, calm=True)) if isinstance(a, Ask)]
    assert not [a for a in plan(Fleet(WorkerId("old"), workers, leases, calm=True)) if isinstance(a, Ask)]


def test_a_lease_that_another_worker_asked_for_is_left_to_it():
    """Unless that worker is gone."""
    workers, leases = owned({"old": 2, "new": 0, "other": 0})
    wanted = {s: replace(x, wanted_by=WorkerId("other")) for s, x in leases.items()}
    fleet = Fleet(WorkerId("new"), workers, wanted, calm=True)
    assert not [a for a in plan(fleet) if isinstance(a, Ask)]

    gone = workers | {WorkerId("other"): worker("other", FENCED)}
    fleet = Fleet(WorkerId("new"), gone, wanted, calm=True)
    assert [a for a in plan(fleet) if isinstance(a, Ask)]
