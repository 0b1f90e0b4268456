"""A shard that gets nowhere, and whether another worker should try.

A heartbeat says that a worker lives, not that its shards move. A shard with work and no progress is reported first; when
that did not help and there is a worker whose own shards move, it is given up to the others. An outage that stops all of
them moves nothing: the shards stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from headrace.core.membership import LIVE
from headrace.model import Instant, WorkerId, WorkerRow

PATIENCE: Final = 1.1
"""Times the limit until a stalled shard is given up: time for the others to tell whether theirs move."""


def is_stalled(last_settled: Instant, now: Instant, limit_s: float) -> bool:
    """Whether nothing came of a shard for this long."""
    return now - last_settled >= limit_s


def is_past_hope(last_settled: Instant, now: Instant, limit_s: float) -> bool:
    """Whether a stalled shard has been reported for a while."""
    return now - last_settled >= limit_s * PATIENCE


def others_fare_better(me: WorkerId, workers: Iterable[WorkerRow]) -> bool:
    """Whether another worker takes part whose shards all move."""
    return any(w.worker_id != me and w.state == LIVE and not w.stalled for w in workers)
