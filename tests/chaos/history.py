"""From the logs of all workers, the story of every lease: who opened it under which epoch, read it, and how it ended. Pure.

Times are epoch seconds; all processes of a run are on one machine, so they are of one clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.tails import Event

GONE = {"lease_gone": "gone", "lease_lost": "lost", "shard_finished": "finished"}
"""Events that end a tenure other than by passing it on, and what they mean."""


@dataclass(eq=False)
class Tenure:
    """One lease in one worker's hands, under one epoch. What did not happen is None.

    `stopping` is when the worker was told to let it go: by SIGTERM or by another worker's wish.
    """

    worker: str
    shard: str
    epoch: int
    transition: str
    opened: float
    reading: float | None = None
    stopping: float | None = None
    ended: float | None = None
    end: str | None = None

    @property
    def is_open(self) -> bool:
        return self.ended is None

    @property
    def was_passed_on(self) -> bool:
        return self.end in {"released", "handed_over"}

    def stop(self, at: float) -> None:
        """It is to be let go; the first reason counts, and none after its end."""
        if self.is_open and self.stopping is None:
            self.stopping = at

    def close(self, at: float, how: str) -> None:
        """It ended; the first end counts."""
        if self.ended is None:
            self.ended, self.end = at, how


@dataclass
class History:
    """Every tenure of a run, by shard in the order of epochs."""

    tenures: Mapping[str, Sequence[Tenure]]

    def __iter__(self) -> Iterator[Tenure]:
        return (tenure for of_shard in self.tenures.values() for tenure in of_shard)

    def of_worker(self, worker: str) -> list[Tenure]:
        """Those of one process."""
        return [tenure for tenure in self if tenure.worker == worker]

    def next_reading(self, tenure: Tenure) -> Tenure | None:
        """The first tenure under a later epoch in which the shard was read."""
        later = (t for t in self.tenures[tenure.shard] if t.epoch > tenure.epoch and t.reading is not None)
        return min(later, key=lambda t: t.reading or 0.0, default=None)


@dataclass
class _Story:
    """What one worker's log tells, so far."""

    worker: str
    held: dict[str, Tenure] = field(default_factory=dict)
    all: list[Tenure] = field(default_factory=list)

    def take_in(self, event: Event) -> None:
        at, shard = event["at"], event.get("shard", "")
        match event.get("event"):
            case "lease_opened":
                tenure = Tenure(self.worker, shard, event["epoch"], event["transition"], at)
                self.held[shard] = tenure
                self.all.append(tenure)
            case "worker_fenced":
                self._close_all(at, "fenced")
            case "worker_stopping":
                for tenure in self.held.values():
                    tenure.stop(at)
            case _ if (tenure := self._meant(event)) is not None:
                self._tell(tenure, event, at)

    def _meant(self, event: Event) -> Tenure | None:
        tenure = self.held.get(event.get("shard", ""))
        return tenure if tenure is not None and event.get("epoch", tenure.epoch) == tenure.epoch else None

    def _tell(self, tenure: Tenure, event: Event, at: float) -> None:
        match event["event"]:
            case "reading_began":
                tenure.reading = at
            case "lease_asked_for":
                tenure.stop(at)
            case "lease_passed_on":
                tenure.close(at, event["transition"])
            case name if name in GONE:
                tenure.close(at, GONE[name])

    def _close_all(self, at: float, how: str) -> None:
        for tenure in self.held.values():
            tenure.close(at, how)
        self.held.clear()


def history_of(logs: Mapping[str, Iterable[Event]], killed: Mapping[str, float]) -> History:
    """The history told by the logs of these workers, of whom some were killed at these times."""
    by_shard: dict[str, list[Tenure]] = defaultdict(list)
    for worker, events in logs.items():
        story = _Story(worker)
        for event in events:
            story.take_in(event)
        for tenure in story.all:
            if worker in killed:
                tenure.close(killed[worker], "killed")
            by_shard[tenure.shard].append(tenure)
    return History({shard: sorted(tenures, key=lambda t: t.epoch) for shard, tenures in by_shard.items()})
