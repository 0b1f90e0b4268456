"""The shard graph."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.lineage import child_pending, doubtful, generations, may_forget, missing_leases
from headrace.model import TRIM_HORIZON, Lease, Shard, ShardId, TrimHorizon

START = TrimHorizon()


def shard(name: str, *parents: str) -> Shard:
    return Shard(ShardId(name), tuple(ShardId(p) for p in parents))


def lease(name: str, *, done: bool = False, epoch: int = 1, parents: tuple[str, ...] = (), children=()) -> Lease:
    return Lease(
        ShardId(name),
        epoch,
        TRIM_HORIZON,
        parents=tuple(ShardId(p) for p in parents),
        children=frozenset(ShardId(c) for c in children),
        done=done,
    )


def rows(*leases: Lease) -> dict[ShardId, Lease]:
    return {row.shard_id: row for row in leases}


@st.composite
def trees(draw: st.DrawFn) -> list[Shard]:
    """Streams that were split and merged at will; each shard has at most two children groups as in Kinesis."""
    shards = [shard(f"s{n}") for n in range(draw(st.integers(1, 3)))]
    open_shards = [s.shard_id for s in shards]
    for _ in range(draw(st.integers(0, 6))):
        if len(open_shards) > 1 and draw(st.booleans()):
            one, other = open_shards.pop(0), open_shards.pop(0)
            shards.append(shard(f"s{len(shards)}", one, other))
            open_shards.append(shards[-1].shard_id)
        else:
            parent = open_shards.pop(draw(st.integers(0, len(open_shards) - 1)))
            for _ in range(2):
                shards.append(shard(f"s{len(shards)}", parent))
                open_shards.append(shards[-1].shard_id)
    return shards


@given(trees(), st.data())
def test_reading_what_may_start_reads_every_listed_shard_and_parents_always_first(tree, data):
    """From any part of the tree that is still listed: each shard is read once, after all its listed parents."""
    listed = tree[data.draw(st.integers(0, len(tree) - 1)) :]
    pending = {n.shard.shard_id: set(n.pending) for n in missing_leases(listed, {}, START)}
    read: list[ShardId] = []
    while pending:
        startable = sorted(s for s, waits_for in pending.items() if not waits_for)
        assert startable, "nothing can start: shards wait for each other"
        chosen = data.draw(st.sampled_from(startable))
        read.append(chosen)
        del pending[chosen]
        for waits_for in pending.values():
            waits_for.discard(chosen)

    assert sorted(read) == sorted(s.shard_id for s in listed)
    position = {name: n for n, name in enumerate(read)}
    for s in listed:
        assert all(position[p] < position[s.shard_id] for p in s.parents if p in position)


@given(trees())
def test_rows_are_made_parents_first(tree):
    """A crash between two writes leaves no child without the rows of its parents."""
    made = [n.shard.shard_id for n in missing_leases(reversed(tree), {}, START)]
    position = {name: n for n, name in enumerate(made)}

    assert all(position[p] < position[s.shard_id] for s in tree for p in s.parents)


class Parents(tuple):
    """Counts how often somebody looks at the parents of a shard."""

    __slots__ = ()
    looks = 0

    def __iter__(self):
        Parents.looks += 1
        return super().__iter__()


def test_a_stream_that_was_split_and_merged_many_times_is_looked_through_once():
    """Each round doubles the ways to the first shard: a stream that scales up and down daily must not stop its readers."""
    shards, rounds = [shard("s0")], 12
    for n in range(rounds):
        left, right = shard(f"l{n}", shards[-1].shard_id), shard(f"r{n}", shards[-1].shard_id)
        shards += [left, right, shard(f"s{n + 1}", left.shard_id, right.shard_id)]
    counting = [Shard(s.shard_id, Parents(s.parents)) for s in shards]
    Parents.looks = 0
    made = [new.shard.shard_id for new in missing_leases(counting, {}, START)]

    assert made == [s.shard_id for s in shards]
    assert Parents.looks < len(shards) * 3 * rounds


@given(trees())
def test_rows_that_are_made_together_are_no_kin(tree):
    """Whichever of them fail, no child has a row without its parents."""
    missing = missing_leases(tree, {}, START)
    groups = generations(missing)

    assert [new for group in groups for new in group] == missing
    for group in groups:
        names = {new.shard.shard_id for new in group}
        assert all(names.isdisjoint(new.shard.parents) for new in group)


def test_a_parent_without_a_row_beside_a_childs_row_is_looked_for_again():
    """It may have been made while the rows were read; a parent that nobody waits for need not be asked about."""
    tree = [shard("a"), shard("b", "a"), shard("c", "a")]
    child = {ShardId("b"): lease("b", parents=("a",))}

    assert doubtful(tree, child) == {"a"}
    assert doubtful(tree, {}) == set()
    assert doubtful(tree, child | {ShardId("c"): lease("c", parents=("a",))}) == set()


def test_a_finished_shard_whose_row_was_deleted_is_not_made_again():
    """It would be read a second time."""
    tree = [shard("a"), shard("b", "a"), shard("c", "b")]

    assert missing_leases(tree, rows(lease("c", parents=("b",))), START) == []


def test_a_child_waits_for_parents_that_are_not_done_and_not_for_those_that_are():
    """Done parents and trimmed ones hold nobody up."""
    known = rows(lease("a"), lease("b", done=True))
    (new,) = missing_leases(
        [
            shard("a"),
            shard("b"),
            shard("c", "a", "b"),
        ],
        known,
        START,
    )

    assert new.shard.shard_id == "c"
    assert new.pending == {"a"}
    (orphan,) = missing_leases([shard("d", "trimmed")], {}, START)
    assert orphan.pending == frozenset()


def test_the_second_of_two_merging_parents_opens_the_child():
    """The first leaves the other one pending."""
    child = shard("c", "a", "b")

    assert child_pending(child, ShardId("a"), rows(lease("b"))) == {"b"}
    assert child_pending(child, ShardId("b"), rows(lease("a", done=True))) == frozenset()
    assert child_pending(child, ShardId("b"), {}) == frozenset()


def test_a_finished_row_is_kept_until_its_children_started_and_no_late_write_can_bring_it_back():
    """Both conditions of the protocol."""
    parent = lease("a", done=True, children=("b",))
    waiting, started = rows(lease("b", epoch=0)), rows(lease("b", epoch=1))

    assert not may_forget(parent, waiting, listed=False, age_s=1e9)
    assert not may_forget(parent, {}, listed=False, age_s=1e9)
    assert not may_forget(parent, started, listed=True, age_s=3600)
    assert may_forget(parent, started, listed=False, age_s=60)
    assert may_forget(parent, started, listed=True, age_s=25 * 3600)
    assert not may_forget(lease("a", children=("b",)), started, listed=False, age_s=1e9)


def test_a_finished_shard_without_known_children_waits_for_both_time_and_trimming():
    """Nothing else says that its children were ever made."""
    childless = lease("a", done=True)

    assert not may_forget(childless, {}, listed=False, age_s=3600)
    assert not may_forget(childless, {}, listed=True, age_s=1e9)
    assert may_forget(childless, {}, listed=False, age_s=25 * 3600)


def test_a_generation_is_one_more_than_the_greatest_of_the_parents():
    """Told by their rows, else by what is listed above them; a parent that is gone counts as the first generation."""
    shards = [shard("a"), shard("b", "a"), shard("c", "a"), shard("d", "b", "c"), shard("e", "gone")]

    made = {new.shard.shard_id: new.generation for new in missing_leases(shards, {}, START)}
    assert made == {"a": 0, "b": 1, "c": 1, "d": 2, "e": 1}
    (late,) = missing_leases(
        [shard("x", "y")], {ShardId("y"): Lease(ShardId("y"), 1, TRIM_HORIZON, generation=7)}, START
    )
    assert late.generation == 8
