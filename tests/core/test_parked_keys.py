"""A worker and a redrive on one parked key: every order of their steps, with crashes of either at each of them.

An operator may have the shard read again while no redrive is delivering: what was written before counts for nothing then.

Both are small machines over the real requests, evaluated by the lease table in memory. All reachable states of the two
together are visited, each once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.core import parked_keys
from headrace.core.leases import lease_key
from headrace.core.parked_keys import ParkedKey
from headrace.model import SHARD_END, TRIM_HORIZON, Checkpoint, Lease, Record, ShardId
from headrace.rows import Applied, Equals, Key, Present
from headrace.testing.lease_table import MemoryLeaseTable

real = SimpleNamespace(**vars(parked_keys))
"""The module as it is, whatever a test plants in it."""

SHARD = ShardId("shardId-000000000000")
RECORDS = 3


def record(n: int) -> Record:
    return Record(b"", "k", n, 0.0, SHARD)


def at(n: int) -> Checkpoint:
    return Checkpoint.at(n)


@dataclass
class World:
    """What outlives a crash, and the history of the serving table."""

    worker_crashes: int
    redrive_crashes: int
    seeks: int = 0
    poison: int = 1
    """The worker's handler never takes this record; the redrive's takes them all."""
    replay: int = 0
    table: MemoryLeaseTable = field(default_factory=MemoryLeaseTable)
    letters: set[int] = field(default_factory=set)
    written: list[int] = field(default_factory=list)
    """Records whose effects took place, in their order."""
    checkpoint: int = 0
    disorder: str = ""

    def __post_init__(self) -> None:
        self.table.rows[lease_key("s", SHARD)] = {"ck": TRIM_HORIZON.encode()}

    def write(self, n: int) -> None:
        """Each follows its predecessor, or goes back to repeat."""
        last = self.written[-1] if self.written else 0
        if n > last + 1:
            self.disorder = self.disorder or f"{n} after {last} in {self.written}"
        self.written.append(n)

    def settle(self, n: int) -> None:
        self.checkpoint = n
        self.table.rows[lease_key("s", SHARD)] |= {"ck": at(n).encode()}

    def seek(self) -> None:
        """To the first record, into an empty table."""
        self.seeks -= 1
        self.replay += 1
        self.checkpoint = 0
        self.written.clear()
        self.table.rows[lease_key("s", SHARD)] = {"ck": TRIM_HORIZON.encode(), "replay": self.replay}

    def row(self) -> ParkedKey | None:
        found = self.table.rows.get(Key("P#s", "k"))
        return None if found is None else parked_keys.parked_key(found)

    def state(self) -> Any:
        last = self.written[-1] if self.written else 0
        left = self.worker_crashes, self.redrive_crashes, self.seeks
        return self.row(), frozenset(self.letters), last, self.checkpoint, left


Steps = Iterator[Any]
"""Each yield stands before one step that takes effect at once; what it gives tells all that the machine remembers."""


def worker(world: World, batch: int) -> Steps:
    """Handles what comes behind the checkpoint, `batch` records of the key at once while it is parked."""
    yield "resume"
    seen, replay = world.row(), world.replay
    n = world.checkpoint + 1
    while n <= RECORDS:
        upto = min(RECORDS, n + batch - 1)
        if seen is not None and not seen.announces(SHARD, at(upto), replay):
            yield "follow", n, seen
            seen = follow(world, seen, upto, replay)
            continue
        if seen is None:
            yield "handle", n
            if n != world.poison:
                world.write(n)
                yield "settle", n
                world.settle(n)
                n += 1
                continue
            yield "park", n
            new = ParkedKey("k", SHARD, at(n), replay=replay)
            outcome = world.table.write(parked_keys.park("s", new))
            seen = new if isinstance(outcome, Applied) else parked_keys.parked_key(outcome.row)
            if not seen.announces(SHARD, at(n), replay):
                continue
            upto = n
        for each in reversed(range(n, upto + 1)):  # one request stores many letters, in no order
            if not seen.is_done_with(record(each), replay):
                yield "bury", each, n, upto, seen
                world.letters.add(each)
        if not seen.is_done_with(record(upto), replay):
            yield "confirm", n, upto, seen
            world.table.write(parked_keys.confirm("s", record(upto), replay))
            seen = replace(seen, sure=at(upto))
        yield "settle", upto, seen
        world.settle(upto)
        n = upto + 1


def follow(world: World, seen: ParkedKey, upto: int, replay: int) -> ParkedKey | None:
    new = replace(seen.followed_by(SHARD, at(upto), replay), count=0)
    outcome = world.table.write(parked_keys.follow("s", seen, new))
    if isinstance(outcome, Applied):
        return new
    return None if outcome.row is None else parked_keys.parked_key(outcome.row)


def redrive(world: World) -> Steps:
    """Passes, until one gets no further: rows, letters one by one, deliver, remove, release."""
    moved = True
    while moved:
        moved = False
        yield "rows"
        row = world.row()
        if row is not None:
            yield "lease", row
            lease = world.table.rows.get(lease_key("s", SHARD))
            if parked_keys.is_settled(row, lease):
                row = replace(row, sure=row.last)
            elif parked_keys.is_outdated(row, lease):
                row = replace(row, sure=TRIM_HORIZON)
        found: list[int] = []
        for n in range(1, RECORDS + 1):  # a reading that takes its time
            yield "read", row, n, tuple(found)
            found += [n] * (n in world.letters)
        if row is None and found:
            yield "get", tuple(found)
            moved = world.row() is not None
            if moved:
                continue
        for n in list(found):
            if row is not None and not row.sure >= at(n):
                break
            yield "deliver", row, tuple(found), moved
            world.write(n)
            yield "remove", row, tuple(found), moved
            world.letters.discard(n)
            found.remove(n)
            moved = True
        if row is not None and row.is_sure and not any(at(n) <= row.last for n in found):
            yield "release", row, moved
            outcome = world.table.write(parked_keys.release("s", row))
            moved = moved or isinstance(outcome, Applied) or outcome.row is not None


class Run:
    """One schedule as far as it went: w and r are steps, W and R crashes with a new start, n is the next redrive.

    S is a seek, with which the worker starts anew.
    """

    def __init__(
        self, batch: int, worker_crashes: int, redrive_crashes: int, redrives: int, seeks: int = 0, poison: int = 1
    ) -> None:
        self.world = World(worker_crashes, redrive_crashes, seeks, poison)
        self.batch, self.redrives = batch, redrives
        self.machines: dict[str, Steps] = {"w": worker(self.world, batch), "r": redrive(self.world)}
        self.told = {name: next(machine) for name, machine in self.machines.items()}

    def step(self, choice: str) -> None:
        name = "r" if choice == "n" else choice.lower()
        if choice == "S":
            name = "w"
            self.world.seek()
            self.machines[name] = worker(self.world, self.batch)
        elif choice in "WRn":
            self.redrives -= choice == "n"
            self.world.worker_crashes -= choice == "W"
            self.world.redrive_crashes -= choice == "R"
            self.machines[name] = worker(self.world, self.batch) if choice == "W" else redrive(self.world)
        self.told[name] = next(self.machines[name], None)

    def choices(self) -> str:
        works, redrives = (self.told[name] is not None for name in "wr")
        found = "w" * works + "r" * redrives
        found += "S" * (self.world.seeks > 0 and not self.is_delivering)
        found += "W" * (works and self.world.worker_crashes > 0) + "R" * (redrives and self.world.redrive_crashes > 0)
        return found + "n" * (works and not redrives and self.redrives > 0)

    @property
    def is_delivering(self) -> bool:
        """Whether a redrive knows letters that it has not written yet."""
        return self.told["r"] not in (None, "rows") and self.told["r"][0] != "release"

    def state(self) -> Any:
        return self.world.state(), tuple(self.told.values()), self.redrives

    def finish(self) -> None:
        """Once both are at rest, one more redrive finds an end: nothing is parked, nothing is left, nothing is lost."""
        world = self.world
        for _ in redrive(world):
            pass
        assert world.row() is None
        assert world.letters == set()
        assert not world.disorder, world.disorder
        assert world.written[-1:] == [RECORDS], f"the key is left at {world.written}"
        assert set(world.written) == set(range(1, RECORDS + 1))


def explore(*rules: int) -> tuple[int, int]:
    """Visit every state that the two get into together; how many there are, and how many are ends."""
    seen: set[Any] = set()
    todo = [""]
    ends = 0
    while todo:
        schedule = todo.pop()
        run = Run(*rules)
        for choice in schedule:
            run.step(choice)
        while (state := run.state()) not in seen:
            assert not run.world.disorder, f"{schedule}: {run.world.disorder}"
            seen.add(state)
            first, *others = run.choices() or [""]
            todo += [schedule + other for other in others]
            if not first:
                ends += 1
                run.finish()
                break
            run.step(first)
            schedule += first
    return len(seen), ends


@pytest.mark.parametrize(("batch", "worker_crashes", "redrive_crashes"), [(1, 1, 1), (2, 1, 1), (2, 2, 0)])
def test_no_order_of_steps_and_crashes_reorders_or_loses_a_record(batch, worker_crashes, redrive_crashes):
    """Repeats are all that a crash may cost, and a repeat goes on to the end."""
    states, ends = explore(batch, worker_crashes, redrive_crashes, 1)
    assert ends > 10
    print(f"{states:,} states, {ends:,} ends")


@pytest.mark.parametrize(("batch", "worker_crashes", "poison"), [(1, 0, 1), (1, 0, 2), (1, 0, 3), (2, 1, 2)])
def test_every_record_that_is_read_again_is_written_or_a_letter_and_keeps_its_place(batch, worker_crashes, poison):
    """Those before the poisoned one were written, and have no letter; those behind may have been redriven."""
    states, ends = explore(batch, worker_crashes, 0, 1, 1, poison)
    assert ends > 2
    print(f"{states:,} states, {ends:,} ends")


def without(request: Any, *kinds: type) -> Any:
    """A request that has lost its conditions of these kinds."""
    return replace(request, conditions=tuple(one for one in request.conditions if not isinstance(one, kinds)))


BUGS = {
    "a release that looks at nothing": ("release", lambda s, seen: without(real.release(s, seen), Equals)),
    "a follower that is not announced": ("follow", lambda s, seen, new: replace(real.follow(s, seen, new), assign={})),
    "a redrive that trusts every letter": ("parked_key", lambda row: replace(real.parked_key(row), sure=at(RECORDS))),
    "a checkpoint that proves nothing": ("is_settled", lambda *_: True),
    "a release of another reading": ("_read_in", lambda _: Present("last")),
    "a row that outlives a seek": ("is_outdated", lambda *_: False),
}


@pytest.mark.parametrize("bug", BUGS)
def test_what_each_rule_is_for(monkeypatch, bug):
    """Without it there is an order of steps that goes wrong, and it is found."""
    name, planted = BUGS[bug]
    monkeypatch.setattr(parked_keys, name, planted)
    with pytest.raises(AssertionError):
        explore(2, 1, 0, 1, 1, 2)


def test_what_was_done_with_before_a_seek_is_not_done_with_behind_it(monkeypatch):
    """A worker that took it so would leave out what a replay reads again, and nothing would tell of it."""
    monkeypatch.setattr(ParkedKey, "_is_of", lambda self, shard, _: self.shard == shard)
    with pytest.raises(AssertionError):
        explore(2, 0, 0, 1, 1, 2)


def test_what_was_stored_is_not_stored_again_after_a_takeover(monkeypatch):
    """A worker that did it would put the first letters of a key behind those that were redriven meanwhile."""
    monkeypatch.setattr(ParkedKey, "is_done_with", lambda *_: False)
    with pytest.raises(AssertionError):
        explore(2, 1, 0, 1)


CLOSED, OPEN = ShardId("closed"), ShardId("open")
"""The shard of the test is a child of the first, beside the second."""


@pytest.mark.parametrize(
    ("where", "kept"),
    [(SHARD, True), (CLOSED, True), (ShardId("forgotten"), True), (OPEN, False)],
    ids=["here", "in a parent", "in a shard that is gone", "in one whose hash keys are others"],
)
def test_a_shard_is_told_of_the_keys_that_it_may_have_records_of(where, kept):
    """And of no others: each shard would keep all of the stream's."""
    here = Lease(SHARD, 1, TRIM_HORIZON, first_hash_key=0, last_hash_key=49)
    closed = Lease(CLOSED, 1, SHARD_END, done=True, first_hash_key=0, last_hash_key=99)
    beside = Lease(OPEN, 1, TRIM_HORIZON, first_hash_key=50, last_hash_key=99)
    leases = {lease.shard_id: lease for lease in (here, closed, beside)}
    keys = {"k": ParkedKey("k", where, at(1))}
    assert parked_keys.concerning(here, keys, leases) == (keys if kept else {})
    assert parked_keys.concerning(closed, keys, leases) == keys
