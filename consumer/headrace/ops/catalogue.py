"""Every metric of a worker: name, kind, labels, meaning. Base units; names follow the Prometheus naming practice.

What must not be lost when a shard moves away (records settled, dead letters) has no shard label: a series that is removed
between two scrapes takes its last counts with it. Series with a shard label go when the shard's run ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headrace.core import verdict
from headrace.core.state_words import SHARD_STATES, State
from headrace.loss import Loss


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric. `kind` is counter, gauge or histogram; `buckets` are upper bounds in the metric's unit.

    `values` are the known values of the last label, which start at 0 so that the first event is an increase.
    """

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ("stream",)
    buckets: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    is_asked_for: bool = False
    """A counter that is kept elsewhere and read at each scrape, by the names in `values`."""


_SHARD: Final = ("stream", "shard")

BUILD_INFO = Metric(
    "headrace_build_info",
    "gauge",
    "Always 1; what runs. `native`: the compiled transcoder's version, or none.",
    ("version", "python", "native"),
)

SHARD_LAG = Metric(
    "headrace_shard_lag_seconds",
    "gauge",
    "Age of the oldest record read and not settled, at the time of the scrape; the source's lag while nothing is open.",
    _SHARD,
)
SHARD_SOURCE_LAG = Metric(
    "headrace_shard_source_lag_seconds", "gauge", "Distance of the last page to the tip, as the stream said.", _SHARD
)
SHARD_PROGRESS = Metric(
    "headrace_shard_last_progress_timestamp_seconds",
    "gauge",
    "When the shard's mark last moved, or the shard was last seen at its tip.",
    _SHARD,
)
SHARD_OPEN = Metric("headrace_shard_open_records", "gauge", "Records read and not settled.", _SHARD)
SHARD_RETRYING = Metric(
    "headrace_shard_retrying_records",
    "gauge",
    "Records that wait for another attempt, and those of the same key behind them.",
    _SHARD,
)
SHARD_EPOCH = Metric("headrace_shard_epoch", "gauge", "Epoch of the lease: grows with each change of owner.", _SHARD)
SHARD_HALTED = Metric(
    "headrace_shard_halted", "gauge", "1 while the shard is held because records may be lost, and not read.", _SHARD
)
SHARD_STATE = Metric(
    "headrace_shard_state",
    "gauge",
    "1 for the word that the shard's owner has for it, else 0. A shard without an owner has no series.",
    (*_SHARD, "state"),
    values=tuple(state.value for state in SHARD_STATES if state is not State.UNOWNED),
)
SHARDS_HELD = Metric("headrace_leases_held", "gauge", "Shards that this worker runs.")

STREAM_SHARDS = Metric(
    "headrace_stream_shards",
    "gauge",
    "Shards of the stream as this worker sees the fleet: with a living owner, to be read and without one, waiting for their parents, paused by an operator.",
    ("stream", "state"),
    values=("owned", "unowned", "waiting", "paused"),
)
UNOWNED_LAG = Metric(
    "headrace_stream_unowned_lag_seconds",
    "gauge",
    "Age of the oldest record that may wait in a shard without an owner; 0 while each has one.",
)
RETENTION = Metric("headrace_stream_retention_seconds", "gauge", "How long the stream keeps a record.")
WORKERS = Metric("headrace_workers", "gauge", "Workers that take part, as this one sees the fleet.")
LEAVING = Metric(
    "headrace_worker_leaving", "gauge", "1 while this worker finishes what is in flight and releases its leases."
)
LEASE_DURATION = Metric(
    "headrace_lease_duration_seconds", "gauge", "HEADRACE_LEASE_DURATION: silence after which a worker counts as dead."
)
HANDLER_TIMEOUT = Metric(
    "headrace_handler_timeout_seconds",
    "gauge",
    "HEADRACE_HANDLER_TIMEOUT, with a Lambda or batch handler: the longest that one call may take.",
)

FETCHES = Metric(
    "headrace_fetch_total",
    "counter",
    "GetRecords calls by result.",
    (*_SHARD, "result"),
    values=("ok", "empty", "throttled", "expired", "error"),
)
FETCHED_RECORDS = Metric("headrace_records_fetched_total", "counter", "Records read.", _SHARD)
FETCHED_BYTES = Metric("headrace_bytes_fetched_total", "counter", "Payload bytes read.", _SHARD)

RECORDS = Metric(
    "headrace_records_total",
    "counter",
    "Records done with: settled (effects durable), buried (dead letter durable) or filtered (no filter matched).",
    ("stream", "outcome"),
    values=("settled", "buried", "filtered"),
)
DEAD_LETTERS = Metric(
    "headrace_dead_letters_total",
    "counter",
    "Records buried, by reason.",
    ("stream", "reason"),
    values=(
        verdict.RETRY_ATTEMPTS_EXHAUSTED,
        verdict.RECORD_AGE_EXCEEDED,
        verdict.REJECTED,
        verdict.WRITE_REFUSED,
        verdict.NOT_JSON,
        verdict.RECORD_TOO_LARGE,
        verdict.KEY_PARKED,
        verdict.SKIPPED_BY_OPERATOR,
    ),
)
NOT_JSON = Metric(
    "headrace_filter_not_json_total", "counter", "Records whose payload a filter looks into and that are not JSON."
)
FOREIGN = Metric(
    "headrace_aggregate_records_foreign_total",
    "counter",
    "User records of aggregates left out because they belong to other shards, where their producer sends them again.",
)
RETRIES = Metric("headrace_record_retries_total", "counter", "Failed attempts that another will follow.")
DESTINATION_FAILURES = Metric(
    "headrace_destination_failures_total", "counter", "Tries to store a dead letter that failed; the shard waits."
)
CHECKPOINTS = Metric("headrace_checkpoints_total", "counter", "Checkpoints written.")
TRANSITIONS = Metric(
    "headrace_lease_transitions_total",
    "counter",
    "Leases that came or went, by way.",
    ("stream", "transition"),
    values=("claimed", "taken", "adopted", "received", "handed_over", "released", "lost", "finished"),
)
STALLS = Metric("headrace_shard_stalls_total", "counter", "Times that a shard made no progress for the stall limit.")
LOSSES = Metric(
    "headrace_losses_total",
    "counter",
    "Times that records, or their order, may have been lost, by reason.",
    ("stream", "loss"),
    values=tuple(Loss),
)
FENCED = Metric("headrace_worker_fenced_total", "counter", "Times that another worker declared this one dead.")
PEERS_FENCED = Metric("headrace_peers_fenced_total", "counter", "Silent workers that this one declared dead.")

SINK_REQUESTS = Metric(
    "headrace_sink_requests_total",
    "counter",
    "Write requests to the serving table: sent, of these throttled as a whole, and failed for another reason.",
    ("stream", "result"),
    values=("requests", "throttled", "failed"),
    is_asked_for=True,
)
SINK_WRITES = Metric(
    "headrace_sink_writes_total",
    "counter",
    "Single writes: settled (durable, or one of the next three), not sent because another write of the item stood for them, there already, overtaken by a newer one; refused for good; left unprocessed, which are sent again.",
    ("stream", "result"),
    values=("written", "folded", "duplicates", "stale", "refused", "unprocessed"),
    is_asked_for=True,
)

HANDLER_SECONDS = Metric(
    "headrace_handler_seconds",
    "histogram",
    "Time the handler took over a batch.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
BATCH_RECORDS = Metric(
    "headrace_batch_records",
    "histogram",
    "Records in a batch.",
    buckets=(1, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000),
)
END_TO_END_SECONDS = Metric(
    "headrace_end_to_end_seconds",
    "histogram",
    "From arrival in the stream to durable in the sink, of the oldest record of each batch.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400),
)
HEARTBEAT_SECONDS = Metric(
    "headrace_heartbeat_seconds",
    "histogram",
    "Time until a heartbeat was acknowledged.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
LOOP_DELAY_SECONDS = Metric(
    "headrace_event_loop_delay_seconds",
    "histogram",
    "How much later than asked for the main loop woke up: what keeps it busy delays everything.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

AWS_REQUEST_SECONDS = Metric(
    "headrace_aws_request_seconds",
    "histogram",
    "Time that a call to AWS took, answered or not, with the tries that the client makes by itself; cancelled ones left out.",
    ("stream", "service", "operation"),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

CATALOGUE: Final = tuple(value for value in list(vars().values()) if isinstance(value, Metric))
"""All of the above, in their order."""
