"""Every setting: its type, default, unit, effect and the reason of its default. One frozen group for each concern.

Each setting has one name in three places: `[batch] size` in headrace.toml is HEADRACE_BATCH_SIZE in the environment and
`--batch.size` on the command line. The docstring under a field is its documentation; docs/settings.md is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainValidator

import headrace
from headrace.core.destination import Kind, parse
from headrace.loss import LossPolicy
from headrace.model import StartPosition, TrimHorizon
from headrace.settings import texts, units

Duration: TypeAlias = Annotated[timedelta, BeforeValidator(units.duration)]
Size: TypeAlias = Annotated[int, BeforeValidator(units.size)]
Text: TypeAlias = Annotated[str, BeforeValidator(texts.text)]
OptionalText: TypeAlias = Annotated[str | None, BeforeValidator(texts.optional_text)]
TableName: TypeAlias = Annotated[str, BeforeValidator(texts.table_name)]

_ms, _s, _m, _d = (timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1))
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Shown:
    """How a default reads in the documentation where its value does not tell."""

    text: str


class Group(BaseModel):
    """Settings of one concern."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamSettings(Group):
    """What is read, from where, how."""

    name: Annotated[str, BeforeValidator(texts.stream_name)]
    """Stream name, or its ARN to read a stream of another account."""

    starting_position: Annotated[StartPosition, PlainValidator(units.start_position)] = TrimHorizon()
    """Where the application begins at its first start: TRIM_HORIZON (oldest record), LATEST (what arrives from then on) or an ISO 8601 instant. Shards that appear later are read from their beginning. Losing nothing is the default."""

    consumer: Annotated[str, BeforeValidator(units.choice("polling", "fan-out"))] = "polling"
    """How shards are read: polling (GetRecords; no charge, 2 MB/s per shard shared by all consumers) or fan-out (SubscribeToShard: 2 MB/s per shard for this application alone and records as they arrive, charged by shard hour and GB). Where it cannot subscribe, fan-out polls meanwhile."""

    consumer_name: Annotated[
        Annotated[str, BeforeValidator(texts.consumer_name)] | None, BeforeValidator(texts.or_none)
    ] = None
    """The stream consumer that fan-out reads as, named after the application unless set. Registered at the start unless it exists, never deregistered; no other reader may share it."""

    on_loss: Annotated[LossPolicy, PlainValidator(units.choice(*LossPolicy))] = LossPolicy.HALT
    """What to do where records or their order may be lost: unread records that outlived the retention, a shard or the stream gone, a stream created anew, or one that ignores partition keys (RecordDistributionStrategy AUTO). halt: such a shard is held and not read, such a stream ends the worker, until somebody decides. continue: it is logged and counted, and the worker goes on with what is left."""

    deaggregate: Annotated[str, BeforeValidator(units.choice("auto", "true", "false"))] = "auto"
    """Whether records that the Kinesis Producer Library aggregated are taken apart, each with its own key and sub-sequence number. auto: yes, but not for a Lambda handler, which gets them as the event source mapping gives them."""

    poll_interval: Annotated[Duration, AfterValidator(units.within(200 * _ms, 60 * _s))] = 500 * _ms
    """Pause between two GetRecords calls of a shard that is read up to its tip; while behind, pages follow back to back. Kinesis takes 5 calls a second per shard from all consumers together; two a second leave room for others."""

    @property
    def label(self) -> str:
        """The stream's name without the rest of an ARN: what metrics and logs show."""
        return self.name.rpartition("/")[2]


class SinkSettings(Group):
    """Where results go."""

    table: Annotated[str | None, BeforeValidator(texts.sink_table), Shown("required")] = None
    """DynamoDB table that results are written to; it must exist. Required, but for Lambda and batch handlers, which may write by themselves."""

    mode: Annotated[str, BeforeValidator(units.choice("put", "insert", "latest", "transactional"))] = "put"
    """How results are written. put: BatchWriteItem, the same record again writes the same item. insert: an item that is there is never touched. latest: an older record never replaces a newer one. These write 25 items a request. transactional: up to 98 writes, increments and conditions among them, and the checkpoint in one transaction, so that each record counts exactly once; for record handlers and the item mapping, at twice the write units."""

    order_by: OptionalText = None
    """In mode latest: a top-level attribute (text or number, such as an event's time) by which items are newer or older; between equal values, and without it, the order of the records decides."""

    order_attribute: Text = "recordOrder"
    """In mode latest: the attribute in which an item keeps the order of the record that wrote it."""

    fold: bool = True
    """Whether several writes of one item that wait at once become one, that of the last (put, latest), of the first (insert), or what they come to together (transactional). false: each is sent, one after the other, for those who follow every change of the table."""

    depth: Annotated[int, AfterValidator(units.within(1, 256))] = 16
    """Write requests in flight, for all shards of the worker together. 16 hide a latency of 10 ms at 40,000 items/s."""

    @property
    def needs_order(self) -> bool:
        """Whether items are compared by the order of their records, which some streams do not keep."""
        return self.mode == "latest" and self.order_by is None


class ItemSettings(Group):
    """How a JSON payload becomes an item. Only without a handler."""

    key: OptionalText = None
    """A template for each key attribute of the table, over payload fields (dotted paths) and partition_key, sequence_number, shard_id, stream and arrival (with a strftime format), e.g. `pk={device_id}#{arrival:%Y-%m-%dT%H} sk={sequence_number}`."""

    ttl_attribute: OptionalText = None
    """Attribute that receives the expiry time in epoch seconds (the table's time-to-live attribute); needs item.ttl_after."""

    ttl_after: Annotated[
        Annotated[Duration, AfterValidator(units.within(1 * _s, 36_500 * _d))] | None, BeforeValidator(texts.or_none)
    ] = None
    """How long after its arrival an item expires; needs item.ttl_attribute."""

    sequence_attribute: OptionalText = "sequenceNumber"
    """Attribute that receives the sequence number as text (56 digits exceed DynamoDB's numbers), of a record inside a KPL aggregate with `.` and the 8 digits of its sub-sequence number; `none` leaves it out."""

    arrival_attribute: OptionalText = "approximateArrivalTimestamp"
    """Attribute that receives the arrival time, ISO 8601 with milliseconds; `none` leaves it out."""


class BatchSettings(Group):
    """How records are grouped, as in the ESM."""

    size: Annotated[int, AfterValidator(units.within(1, 10_000))] = 100
    """Most records in a batch (the ESM's BatchSize and its default)."""

    window: Annotated[Duration, AfterValidator(units.within(0 * _s, 300 * _s))] = 0 * _s
    """Longest wait for a batch to fill, from its first record on (the ESM's MaximumBatchingWindowInSeconds). 0s: a batch is what is there."""

    parallelization_factor: Annotated[int, AfterValidator(units.within(1, 100))] = 1
    """Lanes of a shard: batches in progress at once, each of its own partition keys (the ESM's ParallelizationFactor, there at most 10). For Lambda and batch handlers; a lane whose batch fails holds back its own keys only. Record handlers fail key by key and need none."""

    bytes: Annotated[Size, AfterValidator(units.within(1024, 64 * _MIB)), Shown("6MiB")] = 6 * _MIB
    """Most bytes of an encoded Lambda event, everything counted; a batch is closed before it grows past that. Lambda's own limit is 6,291,456. A record that fits no event goes to the dead letters. Lambda handlers only."""

    tumbling_window: Annotated[Duration, AfterValidator(units.within(0 * _s, 900 * _s))] = 0 * _s
    """Length of the windows over which a Lambda handler carries a state (the ESM's TumblingWindowInSeconds, in whole seconds): every call gets the window and its state, and a last call closes it. 0s: no windows."""


class FilterSettings(Group):
    """Which records are handled, as in the ESM's filter criteria."""

    patterns: Annotated[tuple[str, ...], BeforeValidator(texts.filter_patterns), Shown("none")] = ()
    """A filter pattern, or a JSON array of up to 10: a record is handled when any of them matches, and otherwise settled without a call and counted. Event source mapping patterns on `data` (the payload as JSON), e.g. `{"data": {"type": ["order"]}}`, and beyond them on partitionKey, sequenceNumber, approximateArrivalTimestamp and shardId."""

    non_json: Annotated[str, BeforeValidator(units.choice("drop", "pass", "dead_letter"))] = "drop"
    """What becomes of a record whose payload a filter looks into and that is not JSON: drop (as AWS does, but counted), pass (handle it) or dead_letter."""


class RetrySettings(Group):
    """What happens to a record whose handler fails, as in the ESM."""

    maximum_attempts: Annotated[int, AfterValidator(units.within(0, 10_000, or_no_limit=True))] = 5
    """Retries after the first call: N retries are 1 + N calls; -1 is no limit. The ESM has none by default, which lets one bad record stop a shard until it expires."""

    maximum_record_age: Annotated[
        timedelta,
        BeforeValidator(units.duration_or_no_limit),
        AfterValidator(units.within(60 * _s, 7 * _d, or_no_limit=True)),
    ] = units.NO_LIMIT
    """A record older than this is buried instead of handled; -1 is no limit."""

    bisect: bool = True
    """Whether a failing batch is split in two (the ESM's BisectBatchOnFunctionError). Record handlers and the item mapping fail record by record and need no split, so it makes no difference to them."""

    report_batch_item_failures: Annotated[str, BeforeValidator(units.choice("auto", "true", "false"))] = "auto"
    """Whether the answer of a Lambda or batch handler names the records that failed (the ESM's ReportBatchItemFailures). auto: an object with batchItemFailures does, any other answer is a success. true: an answer that cannot be understood fails the batch, as in the ESM. false: nobody looks at the answer."""

    on_exhausted: Annotated[str, BeforeValidator(units.choice("dead_letter", "park_key"))] = "dead_letter"
    """What follows when a record is buried. dead_letter: later records of its partition key go on. park_key: they follow it into the dead letters, in order, until the key is redriven, so that its order survives the failure."""


class DeadLetterSettings(Group):
    """Where records go that are given up."""

    destination: Annotated[str, BeforeValidator(texts.destination), Shown("dynamodb:<application>-dead-letters")] = ""
    """Where a buried record is stored before its checkpoint passes: dynamodb:TABLE, sqs:QUEUE-URL, sns:TOPIC-ARN or s3://bucket/prefix. A table is made when missing; a queue, topic or bucket must be there. While it cannot be reached the shard waits. Read again by `headrace dead-letters`, except from a topic."""

    spill: Annotated[str | None, BeforeValidator(texts.bucket_or_none)] = None
    """s3://bucket/prefix for payloads too large for a message of SQS or SNS (250,000 bytes with everything); none: they are cut, with a mark, and cannot be delivered again."""

    @property
    def table(self) -> str | None:
        """The table of the destination, if it is one."""
        where = parse(self.destination)
        return where.target if where.kind is Kind.DYNAMODB else None


class LeaseSettings(Group):
    """How workers share the shards."""

    duration: Annotated[Duration, AfterValidator(units.within(2 * _s, 5 * _m))] = 10 * _s
    """Silence after which a worker counts as dead and its shards are taken over. Heartbeats (a fifth of it) and the owner's trust window (shorter than it) follow from it. 10s ride out a short network fault."""

    table: Annotated[TableName, Shown("<application>")] = ""
    """DynamoDB table of the leases, one for each application."""

    maximum: Annotated[
        Annotated[int, AfterValidator(units.within(1, 100_000))] | None, BeforeValidator(texts.or_none)
    ] = None
    """Most leases this worker may hold, for a machine that is smaller than the others; leases that nobody may take stay unread."""

    deployment: Annotated[Text, Shown("headrace's version")] = headrace.__version__
    """Name of the rollout that this worker belongs to, such as the image tag. During a rollout, leases that come free go to the workers of the rollout that began last, so that each moves once."""

    stall: Annotated[Duration, AfterValidator(units.within(10 * _s, 24 * 60 * _m))] = 5 * _m
    """How long a shard may be without progress (nothing settled, and not at its tip) before it is reported; soon after that it is given up to the others, if there is a worker whose own shards all move."""

    worker_id: Annotated[str, BeforeValidator(texts.worker_id), Shown("<host name>-<random>")] = ""
    """Name of this worker: its id in leases and logs is the name and 128 random bits, new at each start."""


class CheckpointSettings(Group):
    """How often progress is stored."""

    interval: Annotated[Duration, AfterValidator(units.within(100 * _ms, 60 * _s))] = 1 * _s
    """Longest time a settled record waits for its checkpoint. After a crash everything behind the checkpoint is repeated: this long, and what came after a record that was still being retried. One write a second and shard is the default."""


class OpsSettings(Group):
    """The worker's own HTTP port: the page, /api/v1, /livez, /readyz, /metrics."""

    port: Annotated[int, AfterValidator(units.within(0, 65_535))] = 8080
    """TCP port; 0 takes any free one (the log names it)."""

    address: Text = "127.0.0.1"
    """Address to listen on. Only this machine by default; a container needs 0.0.0.0."""

    lagging_after: Annotated[Duration, AfterValidator(units.within(1 * _s, 7 * _d))] = 60 * _s
    """Age of a shard's oldest unsettled record from which on its state is LAGGING, on the page, in `headrace status` and in metrics."""


class ShutdownSettings(Group):
    """How the worker stops on SIGTERM."""

    timeout: Annotated[Duration, AfterValidator(units.within(0 * _s, 60 * _m))] = 25 * _s
    """Longest time to finish what is in flight before leases are given up. Kubernetes kills after 30s unless told otherwise."""


class FetchSettings(Group):
    """What is read ahead."""

    buffer: Annotated[Size, AfterValidator(units.within(_MIB, 16 * 1024 * _MIB)), Shown("64MiB")] = 64 * _MIB
    """Bytes of records read and not settled, for all shards of the worker together; past it fetching waits. Each shard may hold 1 MiB whatever the others do, so with many shards it is 1 MiB for each."""


class LogSettings(Group):
    """What the worker says on standard output."""

    level: Annotated[str, BeforeValidator(units.choice("debug", "info", "warning", "error"))] = "info"
    """Least severe level that is written: debug, info, warning or error."""

    format: Annotated[str, BeforeValidator(units.choice("auto", "json", "console"))] = "auto"
    """json (one object a line), console (for people), or auto: console on a terminal, else json."""


class TracesSettings(Group):
    """Traces by OpenTelemetry. Where they go and how many is told by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, ...)."""

    enabled: bool = False
    """Whether each batch is traced through handler and writes, and sent over OTLP. Needs headrace[otel]; the image has it."""

    field: Annotated[str, BeforeValidator(texts.text)] = "traceparent"
    """Where a JSON payload holds the W3C trace context of its producer: the name of a field, or names joined by dots. A batch is linked to what it finds there."""
