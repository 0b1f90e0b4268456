"""Composition of a worker: settings become parts, parts become a worker, the worker runs until it is told to stop.

The only place that sees both the flow and AWS.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import structlog
import uvloop

import headrace
from headrace.aws.batch_write import MOST_WRITES
from headrace.aws.channel import open_channel
from headrace.aws.dead_letters import DeadLetterTable
from headrace.aws.key_schema import KeySchema, describe_keys
from headrace.aws.kinesis import KinesisStream
from headrace.aws.lease_table import DynamoLeaseTable, open_lease_table
from headrace.aws.patience import Patience
from headrace.aws.serving_table import ServingTable
from headrace.aws.session import Clients, aws_clients
from headrace.aws.tables import ensure_table
from headrace.core.batching import BatchRules
from headrace.core.filters import Filters, NonJson, compile_filters
from headrace.core.pacing import PaceRules
from headrace.core.verdict import RetryRules
from headrace.errors import Denied, NotFound, OrderLost, SettingsError, StreamReplaced
from headrace.flow.aside import OwnThread
from headrace.flow.clock import SystemClock
from headrace.flow.incarnation import WorkerRules
from headrace.flow.persist import persist
from headrace.flow.worker import Worker
from headrace.flow.workplace import ShardRules
from headrace.loss import LossPolicy
from headrace.model import StreamDescription
from headrace.ops.endpoints import Answers, serve
from headrace.ops.metrics import Metrics, process_registry
from headrace.ops.nudge import open_nudges, reachable_at
from headrace.ports import Handler, Ports
from headrace.settings import Settings
from headrace.tasks import TaskGroup

log = structlog.get_logger(__name__)

STOPPED_AT_ONCE: Final = 1
"""Exit code after a second signal: nothing is lost, what was in flight comes again."""

ROUNDS: Final = 2
"""Rounds of all the sink's requests that may be filled: one under way, and one ready when it comes back."""

RELEASE_S: Final = 1.0
"""What the release of the leases may take of the shutdown timeout: two calls and a nudge, several times over."""

CHANCE: Final[Callable[[], float]] = random.SystemRandom().random


def run(settings: Settings) -> int:
    """Run a worker until SIGTERM or SIGINT; the exit code. Raises SettingsError for what must be mended first."""
    uvloop.run(_main(settings))
    return 0


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()
    _listen_for_signals(stop, settings.shutdown.timeout.total_seconds())
    handler = _load_handler(settings)
    registry = process_registry()
    clock = SystemClock()
    async with aws_clients() as clients:
        stream = KinesisStream(clients.kinesis, settings.stream.name)
        description = await _describe(stream, settings)
        await _ensure_tables(clients, settings)
        schema = await _serving_schema(clients, settings)
        async with _sink(clients, settings, clock) as sink, open_nudges() as nudges:
            lease_table = settings.lease.table
            ports = Ports(
                stream=stream,
                table=DynamoLeaseTable(clients.leases, lease_table),
                sink=sink,
                dead_letters=DeadLetterTable(clients.leases, settings.dead_letters.table),
                handler=handler or _mapping(settings, schema, description),
                observer=Metrics(registry, clock, description.name),
                clock=clock,
                chance=CHANCE,
                aside=OwnThread(lambda: open_lease_table(clients, lease_table)),
                nudge=nudges.send,
            )
            worker = Worker(ports, _worker_rules(settings, description))
            answers = Answers(worker.alive, worker.ready, _status(worker, settings), registry, worker.nudged)
            async with serve(answers, address=settings.ops.address, port=settings.ops.port) as port:
                log.info("worker_started", version=headrace.__version__, stream=description.arn, ops_port=port)
                worker.address = reachable_at(settings.ops.address, port)
                _settle_down()
                await _work(worker, stop, description, settings)


async def _work(worker: Worker, stop: asyncio.Event, description: StreamDescription, settings: Settings) -> None:
    try:
        await worker.run(stop, description)
    except StreamReplaced as replaced:
        mend = (
            "Set another HEADRACE_APPLICATION for the new stream, or HEADRACE_STREAM_ON_LOSS=continue to go on with it "
            "from its beginning"
        )
        raise SettingsError("HEADRACE_STREAM_NAME", settings.stream.name, str(replaced), mend) from replaced
    except OrderLost as lost:
        mend = (
            "Set the stream's record distribution strategy to USER_PARTITION_KEY, or HEADRACE_STREAM_ON_LOSS=continue "
            "to read it without order"
        )
        raise SettingsError("HEADRACE_STREAM_NAME", settings.stream.name, str(lost), mend) from lost


# --- parts ------------------------------------------------------------------------------------------------------------


async def _describe(stream: KinesisStream, settings: Settings) -> StreamDescription:
    try:
        return await persist("describe_stream", stream.describe, CHANCE, hopeless=(Denied, NotFound))
    except NotFound as error:
        mend = "Create it, or check the name, AWS_REGION and the account of the credentials"
        raise SettingsError("HEADRACE_STREAM_NAME", settings.stream.name, "there is no such stream", mend) from error
    except Denied as error:
        mend = "Allow kinesis:DescribeStreamSummary on it"
        raise SettingsError("HEADRACE_STREAM_NAME", settings.stream.name, str(error), mend) from error


async def _ensure_tables(clients: Clients, settings: Settings) -> None:
    create = settings.create_tables
    await ensure_table(
        clients.dynamodb, settings.lease.table, setting="HEADRACE_LEASE_TABLE", create=create, ttl_attribute="exp"
    )
    await ensure_table(
        clients.dynamodb, settings.dead_letters.table, setting="HEADRACE_DEAD_LETTERS_DESTINATION", create=create
    )


async def _serving_schema(clients: Clients, settings: Settings) -> KeySchema:
    table = settings.serving_table
    try:
        return await describe_keys(clients.dynamodb, table)
    except NotFound as error:
        mend = "Create it, or check the name, AWS_REGION and the account of the credentials"
        raise SettingsError("HEADRACE_SINK_TABLE", table, "there is no such table", mend) from error
    except Denied as error:
        raise SettingsError("HEADRACE_SINK_TABLE", table, str(error), "Allow dynamodb:DescribeTable on it") from error


def _load_handler(settings: Settings) -> Handler | None:
    if settings.handler is None:
        return None
    from headrace.handlers.loading import load  # noqa: PLC0415 - user code is imported only where there is some

    return load(settings.handler)


def _mapping(settings: Settings, schema: KeySchema, description: StreamDescription) -> Handler:
    from headrace.handlers.mapping import ItemRules, item_mapping  # noqa: PLC0415 - likewise

    item = settings.item
    rules = ItemRules(
        key=item.key,
        ttl_attribute=item.ttl_attribute,
        ttl_after_s=item.ttl_after.total_seconds() if item.ttl_after is not None else 0.0,
        sequence_attribute=item.sequence_attribute,
        arrival_attribute=item.arrival_attribute,
    )
    return item_mapping(rules, dict(zip(schema.names, schema.types, strict=True)), description.name)


@asynccontextmanager
async def _sink(clients: Clients, settings: Settings, clock: SystemClock) -> AsyncIterator[ServingTable]:
    """The sink with its writers running; they end after everything that submits to it."""
    depth, timeout_s = settings.sink.depth, settings.timing.call_timeout_s
    async with (
        open_channel(clients.session, clients.dynamodb, clock, connections=depth, timeout_s=timeout_s) as channel,
        TaskGroup() as tasks,
    ):
        sink = ServingTable(channel, clients.dynamodb, settings.serving_table, Patience(clock, CHANCE), depth=depth)
        await sink.check()
        writing = tasks.create_task(sink.run(), name="sink")
        yield sink
        writing.cancel()


def _worker_rules(settings: Settings, description: StreamDescription) -> WorkerRules:
    timing = settings.timing
    return WorkerRules(
        name=settings.lease.worker_id,
        stream=description.name,
        start=settings.stream.starting_position,
        timing=timing,
        shard=ShardRules(
            batch=BatchRules(settings.batch.size, settings.batch.window.total_seconds()),
            retry=RetryRules(
                settings.retry.maximum_attempts,
                _limit_s(settings),
            ),
            filters=_filters(settings),
            pace=PaceRules(settings.stream.poll_interval.total_seconds()),
            checkpoint_interval_s=settings.checkpoint.interval.total_seconds(),
            drain_s=_drain_s(settings),
            call_timeout_s=timing.call_timeout_s,
        ),
        buffer_bytes=settings.fetch.buffer,
        writes_in_flight=ROUNDS * MOST_WRITES * settings.sink.depth,
        maximum_leases=settings.lease.maximum,
        deployment=settings.lease.deployment,
        on_loss=LossPolicy(settings.stream.on_loss),
        stall_s=settings.lease.stall.total_seconds(),
    )


def _filters(settings: Settings) -> Filters | None:
    patterns = settings.filter.patterns
    return compile_filters(patterns, cast("NonJson", settings.filter.non_json)) if patterns else None


def _limit_s(settings: Settings) -> float:
    age_s = settings.retry.maximum_record_age.total_seconds()
    return age_s if age_s > 0 else -1


def _drain_s(settings: Settings) -> float:
    """What of the shutdown timeout is left for batches, after the calls under way and the release."""
    return max(0.0, settings.shutdown.timeout.total_seconds() - settings.timing.call_timeout_s - RELEASE_S)


# --- process ----------------------------------------------------------------------------------------------------------


def _listen_for_signals(stop: asyncio.Event, timeout_s: float) -> None:
    """First signal: stop gracefully, for `timeout_s` at most. Second one: exit at once.

    Neither needs the loop, which a handler may block: Python runs what is set here between two instructions of it.
    """
    loop = asyncio.get_running_loop()
    deadlines: list[threading.Timer] = []

    def on_signal(number: int, _: object) -> None:
        if deadlines:
            os._exit(STOPPED_AT_ONCE)
        deadlines.append(threading.Timer(timeout_s, overdue))
        deadlines[0].daemon = True
        deadlines[0].start()
        loop.call_soon_threadsafe(begin_to_stop, signal.Signals(number).name)

    def begin_to_stop(name: str) -> None:
        log.info("stop_requested", signal=name)
        stop.set()

    def overdue() -> None:
        log.error("stop_overdue", timeout_s=timeout_s)
        os._exit(STOPPED_AT_ONCE)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def _settle_down() -> None:
    """What was imported and built lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _status(worker: Worker, settings: Settings) -> Callable[[], Mapping[str, Any]]:
    def status() -> Mapping[str, Any]:
        return {"application": settings.application, "version": headrace.__version__, **worker.status()}

    return status
