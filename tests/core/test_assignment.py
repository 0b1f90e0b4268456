"""The plan every worker computes."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.assignment import Adopt, Ask, Claim, Fence, Fleet, Take, Tombstone, plan, shares
from headrace.core.membership import FENCED, LEAVING, LEFT, LIVE
from headrace.model import TRIM_HORIZON, Lease, ShardId, WorkerId, WorkerRow

STATES = (LIVE, LEAVING, FENCED, LEFT)


def worker(name: str, state: str = LIVE, heartbeat: int = 1) -> WorkerRow:
    return WorkerRow(WorkerId(name), heartbeat, state)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[dict[WorkerId, WorkerRow], dict[ShardId, Lease]]:
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


# --- evening out ------------------------------------------------------------------------------------------------------


def even_out(workers: dict[WorkerId, WorkerRow], leases: dict[ShardId, Lease], rounds: int = 200) -> int:
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


def owned(counts: dict[str, int]) -> tuple[dict[WorkerId, WorkerRow], dict[ShardId, Lease]]:
    workers = {WorkerId(name): worker(name, heartbeat=10) for name in counts}
    names = [name for name, count in counts.items() for _ in range(count)]
    leases = {
        ShardId(f"s{n:03}"): Lease(ShardId(f"s{n:03}"), 2, TRIM_HORIZON, owner=WorkerId(name), throughput=100.0)
        for n, name in enumerate(names)
    }
    return workers, leases


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=6))
def test_equal_leases_are_evened_out_with_no_move_more_than_needed(counts):
    """From any state: rest, loads within the tolerance, moves <= the minimum that gets there + 1."""
    workers, leases = owned({f"w{n}": count for n, count in enumerate(counts)})
    least, larger = divmod(sum(counts), len(counts))
    targets = [least + 1] * larger + [least] * (len(counts) - larger)
    minimum = sum(max(0, count - target) for count, target in zip(sorted(counts)[::-1], targets, strict=True))
    moves = even_out(workers, leases)
    loads = Counter(lease.owner for lease in leases.values())
    final = [loads[name] for name in workers]
    mean = sum(final) / len(final)

    assert moves <= minimum + 1
    assert max(final) <= max(mean * 1.15, mean + 1) + 1e-6
    assert min(final) >= min(mean / 1.15, mean - 1) - 1e-6


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


@given(st.integers(3, 12), st.integers(100, 400))
def test_several_workers_ask_at_once_and_never_for_more_than_a_few_leases(workers, shards):
    """Half of the fleet is new: each of the new ones asks another old one, up to 2 % of all leases."""
    counts = {f"old{n}": shards // workers for n in range(workers)} | {f"new{n}": 0 for n in range(workers)}
    names, leases = owned(counts)
    asked = [a.lease for me in names for a in plan(Fleet(me, names, leases, calm=True)) if isinstance(a, Ask)]

    assert len(asked) == max(1, min(workers, int(len(leases) * 0.02)))
    assert len({lease.owner for lease in asked}) == len(asked)


# --- rollouts, and leases that others should have first ---------------------------------------------------------------


def rollout(old: int, new: int) -> dict[WorkerId, WorkerRow]:
    """Workers of two deployments; one of the old ones was restarted after the new ones began."""
    olds = [replace(worker(f"old{n}"), deployment="v1", began_s=100.0 + n) for n in range(old)]
    news = [replace(worker(f"new{n}"), deployment="v2", began_s=200.0 + n) for n in range(new)]
    if olds:
        olds[-1] = replace(olds[-1], began_s=300.0 if old > 1 else 100.0)
    return {w.worker_id: w for w in (*olds, *news)}


def test_during_a_rollout_what_comes_free_goes_to_the_new_workers():
    """It need not move again when the old ones stop, though they have fewer leases now."""
    workers = rollout(old=3, new=1)
    leases = {
        ShardId(f"s{n:02}"): Lease(ShardId(f"s{n:02}"), 2, TRIM_HORIZON, owner=WorkerId(f"old{n % 4}"), throughput=10.0)
        for n in range(16)
    }
    leases = {s: x if x.owner in workers else replace(x, owner=None) for s, x in leases.items()}
    workers["old2"] = replace(workers["old2"], state=LIVE)
    given_to = shares(Fleet(WorkerId("new0"), workers, leases))

    assert set(given_to.values()) == {"new0"}
    assert len(given_to) == 4


def test_a_single_new_worker_is_not_given_more_than_its_share():
    """A canary beside a large fleet that loses half of its workers."""
    workers = rollout(old=4, new=1)
    leases = {ShardId(f"s{n:02}"): Lease(ShardId(f"s{n:02}"), 2, TRIM_HORIZON, throughput=10.0) for n in range(20)}
    given_to = Counter(shares(Fleet(WorkerId("new0"), workers, leases)).values())

    assert given_to == {"new0": 4, "old0": 4, "old1": 4, "old2": 4, "old3": 4}


def rolled(workers: int, shards: int, *, surge: bool) -> Counter[ShardId]:
    """Moves of each lease while every worker is replaced, one after the other, until all is even.

    The new one starts first or last.
    """
    names = {w: replace(x, deployment="v1") for w, x in rollout(old=workers, new=0).items()}
    leases: dict[ShardId, Lease] = {}
    for n in range(shards):
        s = ShardId(f"s{n:03}")
        leases[s] = Lease(s, 1, TRIM_HORIZON, owner=WorkerId(f"old{n % workers}"), throughput=10.0)
    moves: Counter[ShardId] = Counter()

    def settle() -> None:
        for shard, to in shares(Fleet(WorkerId("any"), names, leases)).items():
            leases[shard] = replace(leases[shard], owner=to, epoch=leases[shard].epoch + 1)
            moves[shard] += 1

    for n in range(workers):
        new = replace(worker(f"new{n}"), deployment="v2", began_s=500.0 + n)
        if surge:
            names[new.worker_id] = new
        old = WorkerId(f"old{n}")
        names[old] = replace(names[old], state=LEFT)
        leases = {s: replace(x, owner=None) if x.owner == old else x for s, x in leases.items()}
        settle()
        names[new.worker_id] = new
    while asked := even_out_once({w: replace(x, heartbeat=9) for w, x in names.items()}, leases):
        moves.update(asked)
    return moves


def even_out_once(workers: dict[WorkerId, WorkerRow], leases: dict[ShardId, Lease]) -> list[ShardId]:
    """Each worker asks for at most one lease, and gets it; which ones moved."""
    asked: list[ShardId] = []
    for me in workers:
        held = frozenset(s for s, x in leases.items() if x.owner == me)
        for action in plan(Fleet(me, workers, leases, held, calm=True)):
            if isinstance(action, Ask):
                shard = action.lease.shard_id
                leases[shard] = replace(leases[shard], owner=me, epoch=leases[shard].epoch + 1)
                asked.append(shard)
    return asked


@given(st.integers(2, 8), st.integers(1, 12))
def test_a_rollout_that_starts_the_new_worker_first_moves_every_lease_once(workers, each):
    """With maxSurge 1: the new worker has exactly the room that the old one leaves."""
    moves = rolled(workers, workers * each, surge=True)

    assert len(moves) == workers * each
    assert max(moves.values()) == 1


@given(st.integers(2, 8), st.integers(1, 12))
def test_a_rollout_that_stops_the_old_worker_first_moves_no_lease_more_than_twice(workers, each):
    """A stateful set: the first worker's leases have to wait somewhere, and the last new worker finds nothing free."""
    moves = rolled(workers, workers * each, surge=False)

    assert max(moves.values()) <= 2


def test_of_leases_that_weigh_alike_the_one_that_moved_least_is_asked_for():
    """And not the heaviest by a hair, which noise decides."""
    workers = {w: replace(worker(w), heartbeat=9) for w in ("idle", "busy")}
    leases = {
        ShardId(f"s{n}"): Lease(ShardId(f"s{n}"), epoch, TRIM_HORIZON, owner=WorkerId("busy"), throughput=load)
        for n, (epoch, load) in enumerate([(4, 100.0), (2, 95.0), (1, 40.0), (3, 100.0), (4, 99.0)])
    }
    (ask,) = plan(Fleet(WorkerId("idle"), workers, leases, calm=True))

    assert isinstance(ask, Ask)
    assert ask.lease.shard_id == "s1"


def test_a_lease_that_was_given_up_goes_to_another_worker_while_there_is_one():
    """Also where its planned owner is slow."""
    names = {WorkerId("a"): worker("a"), WorkerId("b"): worker("b"), WorkerId("c"): worker("c", FENCED)}
    lease = Lease(ShardId("s"), 3, TRIM_HORIZON, shunned_by=WorkerId("a"))
    busy = {
        ShardId(f"b{n}"): Lease(ShardId(f"b{n}"), 1, TRIM_HORIZON, owner=WorkerId("b"), throughput=9.0)
        for n in range(5)
    }
    leases = {lease.shard_id: lease, **busy}
    overdue = frozenset({lease.shard_id})

    assert shares(Fleet(WorkerId("a"), names, leases)) == {"s": "b"}
    assert plan(Fleet(WorkerId("a"), names, leases, overdue=overdue)) == []
    del names[WorkerId("b")]
    leases = {lease.shard_id: lease}
    assert shares(Fleet(WorkerId("a"), names, leases)) == {"s": "a"}


def test_a_worker_that_may_hold_no_more_is_given_no_more_by_anybody():
    """What it may hold stands in its row, so that nobody waits for it."""
    names = {WorkerId("small"): replace(worker("small"), maximum=2), WorkerId("large"): worker("large")}
    leases = {ShardId(f"s{n}"): Lease(ShardId(f"s{n}"), 0, TRIM_HORIZON) for n in range(9)}

    assert Counter(shares(Fleet(WorkerId("large"), names, leases)).values()) == {"small": 2, "large": 7}
