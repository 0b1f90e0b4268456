"""One word for how a shard is, and one for the fleet, with a sentence that says why and one that says what to do.

Page, command line, API and the metric of states all take their words from here, so that they never disagree. A word
comes from what a shard does, not from how large its numbers are alone: a shard with an hour of lag that gets somewhere
lags, one with a second of lag that gets nowhere has stalled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from headrace.core import stall
from headrace.core.membership import LIVE, is_alive
from headrace.core.spans import ago
from headrace.loss import Loss
from headrace.model import Instant, Lease, ShardId, WorkerRow

AT_RISK: Final = 0.5
"""Of the retention: a shard further behind than this is losing data unless somebody acts. Half leaves as long as it took."""


class State(StrEnum):
    """From good to bad: the fleet is as its worst shard."""

    NOT_KNOWN = "NOT KNOWN"
    """Nothing could be read of the fleet yet, or no shard is known of it; no shard has this word."""
    OK = "OK"
    LAGGING = "LAGGING"
    """It gets somewhere, and its oldest unsettled record is older than the limit."""
    UNOWNED = "UNOWNED"
    """It may be read, and nobody does."""
    STALLED = "STALLED"
    """It has an owner and work, and nothing was settled for the stall limit."""
    LOSING_DATA = "LOSING DATA"
    """Records were lost or may be, or will be before long."""

    @property
    def badness(self) -> int:
        """More for each word that is worse."""
        return list(State).index(self)


SHARD_STATES: Final = tuple(state for state in State if state is not State.NOT_KNOWN)
"""The words that a shard may have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`retention_s` is the stream's, 0 where it is not known; past `silence_s` without word of it an owner counts as gone.

    `stalled_s` is that of the watchdog (HEADRACE_LEASE_STALL), `lagging_s` HEADRACE_OPS_LAGGING_AFTER.
    """

    retention_s: float
    lagging_s: float = 60.0
    stalled_s: float = 300.0
    silence_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What only the owner of a shard knows, as of now. `held_by` is the sequence number that holds the checkpoint."""

    lag_s: float
    since_progress_s: float
    since_settled_s: float
    open_records: int = 0
    retrying_records: int = 0
    held_by: int | None = None
    halted: Loss | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A word, why it is that one, and what to do about it (empty where there is nothing to do)."""

    state: State
    why: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All there is to judge one shard by.

    `lease` is None for a shard that the stream lists and that has no row; `owner` the row of the worker that the lease
    names, if there is one; `silent_s` how long nothing was heard of that worker, None where that is not known.
    `unread_s` is how long ago the newest moment is up to which everything was settled: the most that may be unread.
    `paused_by` is the operator who wants it read by nobody.
    """

    lease: Lease | None
    owner: WorkerRow | None = None
    silent_s: float | None = None
    figures: Figures | None = None
    unread_s: float | None = None
    paused_by: str | None = None


def judge(facts: Facts, limits: Limits) -> Judged:
    """The word of one shard. The worst that holds is the one that is said."""
    lease = facts.lease
    if lease is not None and lease.done:
        return Judged(State.OK, "Read to its end.")
    if lease is not None and lease.pending:
        waits = ", ".join(sorted(lease.pending))
        return Judged(State.OK, f"Waits until {waits} is read to its end, so that each key keeps its order.")
    return _losing(facts, limits) or _paused(facts) or _unowned(facts, limits) or _owned(facts.figures, limits)


def judge_own(figures: Figures, limits: Limits) -> Judged:
    """The word of a shard as its owner sees it, of which one thing is certain: that it has an owner."""
    return _losing(Facts(None, figures=figures), limits) or _owned(figures, limits)


def _losing(facts: Facts, limits: Limits) -> Judged | None:
    figures = facts.figures
    if figures is not None and figures.halted is not None:
        return Judged(
            State.LOSING_DATA,
            f"Held and not read: {_LOSSES[figures.halted]}.",
            "Decide: HEADRACE_STREAM_ON_LOSS=continue and a restart go on with what is left.",
        )
    behind_s = facts.unread_s if figures is None else figures.lag_s
    if behind_s is None or not limits.retention_s or behind_s <= limits.retention_s * AT_RISK:
        return None
    return Judged(
        State.LOSING_DATA,
        f"{ago(behind_s)} behind, and the stream keeps records for {ago(limits.retention_s)}.",
        "Raise the stream's retention now (up to 365 days), then find out why it is behind.",
    )


def _paused(facts: Facts) -> Judged | None:
    if facts.paused_by is None:
        return None
    return Judged(State.OK, f"Paused by {facts.paused_by}: nobody reads it.", "Resume it when you are done.")


def _unowned(facts: Facts, limits: Limits) -> Judged | None:
    lease, owner = facts.lease, facts.owner
    if lease is None:
        return Judged(State.UNOWNED, "The stream lists it and it has no lease yet.", "A worker makes one in a minute.")
    if lease.owner is None:
        return Judged(State.UNOWNED, "Nobody owns it.", _TAKEN_SOON)
    if owner is None or not is_alive(owner):
        return Judged(State.UNOWNED, f"Its owner {lease.owner} is gone.", _TAKEN_SOON)
    if facts.silent_s is not None and facts.silent_s > limits.silence_s:
        return Judged(
            State.UNOWNED, f"Nothing was heard of its owner {owner.name or lease.owner} for {ago(facts.silent_s)}.", _TAKEN_SOON
        )  # fmt: skip
    return None


def _owned(figures: Figures | None, limits: Limits) -> Judged:
    if figures is None:
        return Judged(State.OK, "Its owner has told nothing of it yet.")
    settled_s = figures.since_settled_s
    if stall.is_stalled(Instant(-settled_s), Instant(0.0), limits.stalled_s):
        waiting = f" while {figures.open_records:,} records wait" if figures.open_records else ""
        return Judged(State.STALLED, f"Nothing settled for {ago(settled_s)}{waiting}.", _stalled_todo(figures))
    if figures.lag_s > limits.lagging_s:
        return _lagging(figures)
    if figures.retrying_records:
        return Judged(State.OK, _retrying(figures))
    return Judged(State.OK, "Up to date.")


def _lagging(figures: Figures) -> Judged:
    why = f"The oldest unsettled record arrived {ago(figures.lag_s)} ago."
    if figures.retrying_records:
        return Judged(
            State.LAGGING,
            f"{why} {_retrying(figures)}",
            "See why the handler fails. Attempts and age limits bury what cannot be handled.",
        )
    return Judged(State.LAGGING, why, "If it does not shrink: more workers, more shards, or a faster handler.")


def _retrying(figures: Figures) -> str:
    """Those behind a record that failed, of its key, wait as it does."""
    return f"{figures.retrying_records:,} records of failing keys wait for another attempt or behind one; other keys go on."


def _stalled_todo(figures: Figures) -> str:
    if figures.retrying_records * 2 > figures.open_records:
        return "Most of it fails: see the handler's errors, and whether what it calls is down."
    return "See whether the handler hangs, and whether the serving table and the dead-letter destination take writes."


_TAKEN_SOON: Final = (
    "Another worker takes it within seconds; if not, start more workers or raise HEADRACE_LEASE_MAXIMUM."
)

_LOSSES: Final = {
    Loss.RECORDS_TRIMMED: "records expired before they were read",
    Loss.SHARD_TRIMMED: "the stream no longer lists it, and it was not read to its end",
    Loss.STREAM_DELETED: "the stream is gone",
    Loss.STREAM_REPLACED: "another stream has taken the name",
    Loss.ORDER: "the stream keeps no order by key",
}


def judge_fleet(
    shards: Mapping[ShardId, Judged], workers: Sequence[WorkerRow], lag_s: Mapping[ShardId, float], paused: int = 0
) -> Judged:
    """The word of the fleet: that of its worst shards, told by the one that is furthest behind.

    `shards` are those that are not finished; `paused` of them are, which is said where nothing is worse.
    """
    if not shards:
        return Judged(State.NOT_KNOWN, "No shard is known yet.", "The first worker that starts makes the leases.")
    worst = max((judged.state for judged in shards.values()), key=lambda state: state.badness)
    if not any(worker.state == LIVE for worker in workers) and worst is State.UNOWNED:
        return Judged(worst, f"No worker is running, and nobody reads {_shards(len(shards))}.", "Start a worker.")
    if worst is State.OK and paused:
        them = "1 shard is" if paused == 1 else f"{paused} shards are"
        return Judged(worst, f"{them} paused by an operator, of {len(shards)}.", "Resume when you are done.")
    if worst is State.OK:
        return Judged(worst, _all_well(len(shards), workers, max(lag_s.values(), default=0.0)))
    count = Counter(judged.state for judged in shards.values())[worst]
    first = max((shard for shard in shards if shards[shard].state is worst), key=lambda s: (lag_s.get(s, 0.0), s))
    where = f"{count} of {len(shards)} shards {'is' if count == 1 else 'are'} {worst.value}. {first}: "
    if len(shards) == 1:
        where = f"The only shard is {worst.value}: "
    return Judged(worst, where + _begin_small(shards[first].why), shards[first].todo)


def _all_well(shards: int, workers: Sequence[WorkerRow], lag_s: float) -> str:
    living = sum(worker.state == LIVE for worker in workers)
    by = "1 worker reads" if living == 1 else f"{living} workers read"
    behind = "nothing waits" if lag_s < 1 else f"at most {ago(lag_s)} behind"
    return f"{by} {_shards(shards)}, {behind}."


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"


def _begin_small(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
