"""Metrics that also remember what a person sees: rates, the last hour, the last events, and how lag moves.

Kept in plain numbers beside the counters, sampled every few seconds; nothing here is asked on the way of a record.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from prometheus_client.registry import CollectorRegistry

import headrace
from headrace.core.fleet_status import FleetStatus
from headrace.core.history import History, Totals
from headrace.core.reports import Rates, Report, ShardFigures
from headrace.core.state_words import Limits
from headrace.loss import Loss
from headrace.model import Instant, ShardId
from headrace.ops.event_log import EventLog
from headrace.ops.metrics import UNKNOWN, Metrics, figures_of, lag_s
from headrace.ports import Clock, ShardStatus

SAMPLES: Final = 7
"""Samples that a rate is taken over: half a minute of them."""


HOUR_S: Final = 3600.0


class Tally(Metrics):
    """The Observer of a worker whose figures are shown."""

    def __init__(
        self,
        registry: CollectorRegistry,
        clock: Clock,
        stream: str,
        sink_counts: Callable[[], Mapping[str, int]] = dict,
        limits: Limits = UNKNOWN,
        *,
        events: EventLog,
    ) -> None:
        super().__init__(registry, clock, stream, sink_counts, limits)
        self.fleet: Callable[[], FleetStatus | None] = _unseen
        """What this worker sees of the whole fleet; set once there is a worker."""
        self.events = events
        self.history = History()
        self._sampled_buried = 0
        self._read = self._settled = self._failed = self._buried = 0
        self._samples: deque[tuple[Instant, Totals, float]] = deque(maxlen=SAMPLES)
        self._lags: dict[ShardId, deque[tuple[Instant, float]]] = {}

    def limits(self) -> Limits:
        """With the retention as the stream has it now: to raise it is what an operator does about records at risk."""
        seen = self.fleet()
        return self._limits if seen is None else replace(self._limits, retention_s=seen.retention_s)

    # --- what is counted ----------------------------------------------------------------------------------------------

    def page_fetched(self, shard: ShardId, records: int, size: int) -> None:
        """Count a page."""
        super().page_fetched(shard, records, size)
        self._read += records

    def records_settled(self, shard: ShardId, records: int, oldest_arrival_s: float) -> None:
        """Count settled records."""
        super().records_settled(shard, records, oldest_arrival_s)
        self._settled += records

    def records_filtered(self, shard: ShardId, records: int, not_json: int) -> None:
        """Those that no filter matched are settled, too."""
        super().records_filtered(shard, records, not_json)
        self._settled += records

    def record_retried(self, shard: ShardId) -> None:
        """Count a failure."""
        super().record_retried(shard)
        self._failed += 1

    def records_buried(self, shard: ShardId, records: int, reason: str) -> None:
        """Their last attempts failed."""
        super().records_buried(shard, records, reason)
        self._failed += records
        self._buried += records

    # --- what happened ------------------------------------------------------------------------------------------------

    def lease_changed(self, shard: ShardId, transition: str) -> None:
        """A lease came or went."""
        super().lease_changed(shard, transition)
        self.events.note(f"lease_{transition}", shard)

    def shard_stalled(self, shard: ShardId) -> None:
        """Nothing comes of a shard."""
        super().shard_stalled(shard)
        self.events.note("shard_stalled", shard)

    def loss_found(self, loss: Loss) -> None:
        """Records, or their order, may be lost."""
        super().loss_found(loss)
        self.events.note("loss_found", text=loss.value)

    def worker_fenced(self) -> None:
        """This worker was declared dead."""
        super().worker_fenced()
        self.events.note("worker_fenced")

    def peer_fenced(self) -> None:
        """This one declared another dead."""
        super().peer_fenced()
        self.events.note("peer_fenced")

    # --- what is told -------------------------------------------------------------------------------------------------

    def sample(self) -> None:
        """Look at all of it once, every few seconds."""
        now, wall_s = self._clock.now(), self._clock.wall().timestamp()
        statuses = {shard: status() for shard, status in self._shards.items()}
        lags = {shard: lag_s(status, wall_s) for shard, status in statuses.items()}
        retrying = sum(status.retrying_records for status in statuses.values())
        self.history.add(wall_s, self._totals, max(lags.values(), default=0.0), retrying, self._unowned)
        self._sampled_buried = self._buried
        self._samples.append((now, self._totals, time.process_time()))
        self._lags = {shard: self._lags.get(shard, deque(maxlen=SAMPLES)) for shard in lags}
        for shard, lag in lags.items():
            self._lags[shard].append((now, lag))

    def report(self) -> Report:
        """What there is to tell now."""
        now, wall_s = self._clock.now(), self._clock.wall().timestamp()
        shards = [self._figures(shard, status(), now, wall_s) for shard, status in sorted(self._shards.items())]
        return Report(
            round(wall_s, 3), headrace.__version__, self._rates(now), tuple(shards), self._buried_lately(wall_s)
        )

    def _buried_lately(self, wall_s: float) -> int:
        return self.history.buried_since(wall_s - HOUR_S) + self._buried - self._sampled_buried

    @property
    def _unowned(self) -> int:
        seen = self.fleet()
        return 0 if seen is None else seen.unowned

    @property
    def _totals(self) -> Totals:
        return Totals(self._read, self._settled, self._failed, self._buried)

    def _rates(self, now: Instant) -> Rates:
        if not self._samples:
            return Rates()
        then, earlier, used_s = self._samples[0]
        new, passed_s = self._totals.since(earlier), max(now - then, 1.0)
        return Rates(
            round(new.read / passed_s, 2),
            round(new.settled / passed_s, 2),
            round(new.failed / passed_s, 2),
            round(new.buried / passed_s, 2),
            round((time.process_time() - used_s) / passed_s, 3),
        )

    def _figures(self, shard: ShardId, status: ShardStatus, now: Instant, wall_s: float) -> ShardFigures:
        figures = figures_of(status, now, wall_s)
        return ShardFigures(
            shard,
            round(figures.lag_s, 1),
            round(figures.since_progress_s, 1),
            round(figures.since_settled_s, 1),
            figures.open_records,
            figures.retrying_records,
            round(self._gain(shard, now, figures.lag_s), 2),
            "" if figures.held_by is None else str(figures.held_by),
            "" if figures.halted is None else figures.halted.value,
        )

    def _gain(self, shard: ShardId, now: Instant, lag: float) -> float:
        samples = self._lags.get(shard)
        if not samples or now - samples[0][0] < 1:
            return 0.0
        return (samples[0][1] - lag) / (now - samples[0][0])


def _unseen() -> None:
    """There is no worker yet."""
