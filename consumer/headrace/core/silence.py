"""Who has not been heard of for too long?

Silence is judged by the observer's own clock: a worker is silent when its counter has stood still since the observer
received the first read that showed it, for the lease duration, with the observer able to see all that time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from headrace.core.membership import is_alive
from headrace.model import Instant, WorkerId, WorkerRow


@dataclass(frozen=True, slots=True)
class Sighting:
    """A heartbeat counter, and when the first read that showed it was received."""

    counter: int
    since: Instant


@dataclass(frozen=True, slots=True)
class Watch:
    """What an observer remembers between two reads of the worker rows."""

    sightings: Mapping[WorkerId, Sighting]
    last_read: Instant | None = None

    def observe(self, workers: Iterable[WorkerRow], received: Instant, longest_gap_s: float) -> Watch:
        """Take in one read of the worker rows.

        A counter lower than the one known comes from a stale replica and is ignored. Where the reads themselves paused
        for more than `longest_gap_s`, every anchor starts anew: an outage of the table is not the silence of a worker.
        """
        blind = self.last_read is None or received - self.last_read > longest_gap_s
        seen: dict[WorkerId, Sighting] = {}
        for worker in workers:
            known = self.sightings.get(worker.worker_id)
            if known is None or worker.heartbeat > known.counter:
                seen[worker.worker_id] = Sighting(worker.heartbeat, received)
            else:
                seen[worker.worker_id] = Sighting(known.counter, received) if blind else known
        return Watch(seen, received)

    def silent(
        self, workers: Iterable[WorkerRow], now: Instant, duration_s: float, longest_gap_s: float
    ) -> dict[WorkerId, int]:
        """The workers that could still heartbeat and have not for the lease duration, with the last counter of each.

        Nobody is silent to an observer whose own last read is longer ago than `longest_gap_s`.
        """
        if self.last_read is None or now - self.last_read > longest_gap_s:
            return {}
        known = ((w.worker_id, self.sightings[w.worker_id]) for w in workers if is_alive(w))
        return {worker: seen.counter for worker, seen in known if now - seen.since >= duration_s}

    def next_silence(self, workers: Iterable[WorkerRow], duration_s: float) -> Instant | None:
        """When the first of the living would have been silent long enough; None without any."""
        anchors = [self.sightings[w.worker_id].since for w in workers if is_alive(w)]
        return Instant(min(anchors) + duration_s) if anchors else None

    def has_moved(self, worker: WorkerId, now: Instant, within_s: float) -> bool:
        """Whether its counter was first seen so lately."""
        sighting = self.sightings.get(worker)
        return sighting is not None and now - sighting.since <= within_s
