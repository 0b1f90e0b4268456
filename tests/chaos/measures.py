"""What a run is judged by: takeovers after kills, gaps at handoffs and stops, how often leases moved. Pure.

A measurement is clean when nothing else went wrong while it ran; the others are told apart, and are told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from chaos.faults import Played
from chaos.history import History, Tenure
from chaos.plan import Kind

TOLD = 3
"""How many of the longest are shown with their circumstances."""


@dataclass(frozen=True)
class Span:
    """A time in which something was wrong, with its after-effects."""

    fault: Played
    began: float
    ended: float


@dataclass(frozen=True)
class Sample:
    """One measured wait for a shard to be read again. `ended` is None when it never was."""

    shard: str
    worker: str
    began: float
    ended: float | None
    how: str
    beside: tuple[str, ...] = ()
    """What else was wrong meanwhile."""
    opened: float | None = None
    """When the next reader took the lease."""

    @property
    def seconds(self) -> float:
        return math.inf if self.ended is None else self.ended - self.began

    @property
    def until_opened(self) -> Sample:
        """The part of it in which the next owner had no lease: what follows is its first call of the stream."""
        return replace(self, ended=self.opened)


@dataclass(frozen=True)
class Summary:
    """Count and percentiles (nearest rank), in seconds."""

    count: int
    p50: float
    p99: float
    longest: float


def waited(samples: Iterable[Sample]) -> Summary:
    """How long they were."""
    return summary_of(sample.seconds for sample in samples)


def summary_of(seconds: Iterable[float]) -> Summary:
    """Zeros when there are none."""
    ordered = sorted(seconds)
    if not ordered:
        return Summary(0, 0.0, 0.0, 0.0)
    rank = [ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99)]
    return Summary(len(ordered), *rank, ordered[-1])


def spans_of(played: Iterable[Played], lease_s: float, until: float) -> list[Span]:
    """When each fault and its after-effects were over: a worker that was cut off may be fenced a lease later."""
    return [Span(f, f.began, (until if f.ended is None else f.ended) + _after_s(f.kind, lease_s)) for f in played]


def _after_s(kind: Kind, lease_s: float) -> float:
    return {Kind.SCALE: 1.0, Kind.ROLLING: 1.0, Kind.RESHARD: 3.0}.get(kind, lease_s * 1.11 + 1.0)


def takeovers(history: History, spans: Sequence[Span], killed: dict[str, float], until: float) -> list[Sample]:
    """From each kill to the first page of each of the dead worker's shards at its next owner.

    A lease that another worker had taken before (it was fenced, and then killed) is no takeover after a crash.
    """
    samples = []
    for worker, at in killed.items():
        for tenure in history.of_worker(worker):
            after = history.next_reading(tenure)
            ended = after.reading if after else None
            if tenure.end == "killed" and not _was_taken_before(history, tenure, at):
                beside = _beside(spans, at, until if ended is None else ended, worker, {Kind.KILL})
                opened = after.opened if after else None
                samples.append(Sample(tenure.shard, worker, at, ended, "killed", beside, opened))
    return samples


def _was_taken_before(history: History, tenure: Tenure, at: float) -> bool:
    return any(t.epoch > tenure.epoch and t.opened <= at for t in history.tenures[tenure.shard])


def gaps(history: History, spans: Sequence[Span], until: float, *, from_stop: bool = False) -> list[Sample]:
    """From each lease's release or handoff to the next owner's first page; `until` is when the run itself ended.

    With `from_stop` from the moment at which the old owner stopped reading: that long nobody read.
    """
    samples = []
    for tenure in history:
        if not tenure.was_passed_on or tenure.ended is None or tenure.ended >= until:
            continue
        after = history.next_reading(tenure)
        began = (tenure.stopping or tenure.ended) if from_stop else tenure.ended
        ended = after.reading if after else None
        beside = _beside(spans, began, until if ended is None else ended, None, {Kind.SCALE, Kind.ROLLING})
        opened = after.opened if after else None
        samples.append(Sample(tenure.shard, tenure.worker, began, ended, tenure.end or "", beside, opened))
    return samples


def _beside(spans: Iterable[Span], began: float, ended: float, worker: str | None, own: set[Kind]) -> tuple[str, ...]:
    """Faults whose time meets this one, but for the one that is measured."""
    return tuple(
        f"{span.fault.kind} {span.fault.variant} {span.fault.worker or ''}".strip()
        for span in spans
        if span.began < ended and span.ended > began and not _is_own(span.fault, worker, own)
    )


def _is_own(fault: Played, worker: str | None, own: set[Kind]) -> bool:
    return fault.kind in own and (worker is None or fault.worker == worker)


@dataclass(frozen=True)
class Rollout:
    """What a rolling restart did: how many leases moved how often, and how long shards were unread meanwhile."""

    variant: str
    seconds: float
    moves: dict[int, int]
    unread: Summary
    beside: tuple[str, ...]


def rollouts(history: History, played: Iterable[Played], spans: Sequence[Span], settle_s: float) -> list[Rollout]:
    """Each rolling restart, and what followed of it for `settle_s`."""
    return [_rollout(history, fault, spans, settle_s) for fault in played if fault.kind is Kind.ROLLING and fault.ended]


def _rollout(history: History, fault: Played, spans: Sequence[Span], settle_s: float) -> Rollout:
    began, ended = fault.began, (fault.ended or fault.began) + settle_s
    moved = Counter(t.shard for t in history if began <= t.opened <= ended)
    unread = [s for s in gaps(history, spans, ended, from_stop=True) if s.began >= began]
    others = [span for span in spans if span.fault is not fault]
    beside = _beside(others, began, ended, None, set())
    histogram = dict(sorted(Counter(moved.values()).items()))
    return Rollout(fault.variant, (fault.ended or began) - began, histogram, waited(unread), beside)
