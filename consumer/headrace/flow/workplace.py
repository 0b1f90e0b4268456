"""What all shards of a worker go by, and what they share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from headrace.core.answers import Reports
from headrace.core.batching import BatchRules
from headrace.core.filters import Filters
from headrace.core.pacing import PaceRules
from headrace.core.portions import Bisect
from headrace.core.verdict import RetryRules
from headrace.flow.budget import Budget
from headrace.flow.in_flight import InFlight
from headrace.flow.losses import Losses
from headrace.flow.releases import Releases
from headrace.model import Shard, WorkerId
from headrace.ports import Ports

Discover: TypeAlias = Callable[[], Awaitable[list[Shard]]]
"""Lists the shards of the stream."""


@dataclass(frozen=True, slots=True)
class LaneRules:
    """How batches go to a batch or Lambda handler: `count` lanes of a shard, events of at most `bytes`.

    `tumbling_s` is the length of the windows that carry a state, 0 for none.
    """

    count: int = 1
    bytes: int = 6 * 2**20
    bisect: Bisect = Bisect.AT_ONCE
    reports: Reports = Reports.AUTO
    tumbling_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ShardRules:
    """How every shard of this worker is run.

    `folds` tells that writes of one item may become one in a transaction,
    `parks_keys` that later records of a key whose record was buried follow it into the dead letters,
    `expands_aggregates` that records of the Kinesis Producer Library are taken apart.
    `checkpoint_interval_s` is how long a settled record may wait for its checkpoint, `drain_s` how long a stop may wait
    for what is in flight, `call_timeout_s` the longest a call to the sink can be under way.
    """

    batch: BatchRules = BatchRules()
    retry: RetryRules = RetryRules()
    lanes: LaneRules = LaneRules()
    parks_keys: bool = False
    expands_aggregates: bool = True
    folds: bool = True
    filters: Filters | None = None
    pace: PaceRules = PaceRules()
    checkpoint_interval_s: float = 1.0
    drain_s: float = 20.0
    call_timeout_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Workplace:
    """What the shards of one incarnation share. `label` is the name under which the lease rows of `stream` stand."""

    me: WorkerId
    stream: str
    label: str
    ports: Ports
    budget: Budget
    in_flight: InFlight
    rules: ShardRules
    discover: Discover
    releases: Releases
    losses: Losses
