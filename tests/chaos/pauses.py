"""What a worker did that was stopped for longer than its lease and went on: nothing, and then it joined anew. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaos.proxy import SinkWrite
from chaos.tails import Event
from chaos.trace import Call


@dataclass(frozen=True)
class Pause:
    """One pause, and what came after it. `rejoined_after_s` is None when the worker never registered again.

    `calls` and `writes` count what it did between going on and opening a lease under its new identity: calls of the
    handler, and requests to the serving table that left it.
    """

    worker: str
    seconds: float
    fenced: bool
    rejoined_after_s: float | None
    calls: int
    writes: int


def pause_of(
    worker: str,
    stopped: float,
    resumed: float,
    *,
    until: float,
    log: Sequence[Event],
    calls: Iterable[Call],
    writes: Iterable[SinkWrite],
) -> Pause:
    """Judge one pause by what happened before `until` (the next fault of this worker, or its end).

    A worker that nobody fenced while it was stopped finds its row as it left it, and goes on with a new heartbeat.
    """
    after = [event for event in log if resumed <= event["at"] < until]
    fenced = any(event["event"] == "worker_fenced" for event in after)
    rejoined = _first(after, "worker_registered")
    opened = min(_first(after, "lease_opened", since=rejoined), until) if fenced else resumed
    return Pause(
        worker,
        resumed - stopped,
        fenced,
        None if math.isinf(rejoined) else rejoined - resumed,
        sum(resumed < call.at < opened for call in calls),
        sum(resumed < write.sent < opened for write in writes),
    )


def _first(events: Iterable[Event], name: str, since: float = -math.inf) -> float:
    return next((event["at"] for event in events if event["event"] == name and event["at"] >= since), math.inf)
