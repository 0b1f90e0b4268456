"""Composition of a worker: settings become parts, parts become a worker, the worker runs until it is told to stop.

`cli/` is the only package that sees both the flow and AWS.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import structlog
import uvloop

import headrace
from headrace.aws.batch_write import MOST_WRITES
from headrace.aws.kinesis import KinesisStream
from headrace.aws.lease_table import DynamoLeaseTable, open_lease_table
from headrace.aws.request_hooks import CallHooks, TimedCalls, TracedCalls
from headrace.aws.session import aws_clients
from headrace.cli import parts, screen
from headrace.cli.child import ORPHANED, stop_with_parent
from headrace.cli.fan_out import open_fan_out
from headrace.cli.parts import CHANCE
from headrace.cli.tracing import open_traces
from headrace.core.answers import Reports
from headrace.core.batching import BatchRules
from headrace.core.filters import Filters, NonJson, compile_filters
from headrace.core.pacing import PaceRules
from headrace.core.portions import Bisect
from headrace.core.verdict import UNLIMITED, RetryRules
from headrace.errors import OrderLost, SettingsError, StreamReplaced
from headrace.flow.clock import SystemClock
from headrace.flow.incarnation import WorkerRules
from headrace.flow.leasing.own_thread import OwnThread
from headrace.flow.worker import Worker
from headrace.flow.workplace import LaneRules, ShardRules
from headrace.loss import LossPolicy
from headrace.model import StreamDescription
from headrace.ops import catalogue
from headrace.ops.catalogue import Metric
from headrace.ops.endpoints import Answers, serve
from headrace.ops.fleet_gauges import FleetGauges
from headrace.ops.metrics import NO_NATIVE, process_registry
from headrace.ops.nudge import open_nudges, reachable_at
from headrace.ops.request_times import RequestTimes
from headrace.ports import BatchHandler, Handler, Ports
from headrace.settings import Settings
from headrace.settings.without_effect import without_effect
from headrace.traces import FLUSH_S, Traces

log = structlog.get_logger(__name__)

STOPPED_AT_ONCE: Final = 1
"""Exit code after a second signal: nothing is lost, what was in flight comes again."""

ROUNDS: Final = 2
"""Rounds of all the sink's requests that may be filled: one under way, and one ready when it comes back."""

RELEASE_S: Final = 1.0
"""What the release of the leases may take of the shutdown timeout: two calls and a nudge, several times over."""


def run(settings: Settings, report_to: int | None = None) -> int:
    """Run a worker until SIGTERM or SIGINT; the exit code. Raises SettingsError for what must be mended first.

    As one of several it tells the process that supervises it, on the descriptor `report_to`, at which port its endpoints
    are, and stops when that process is gone.
    """
    if report_to is not None:
        stop_with_parent()
    with open_traces(settings) as traces, suppress(asyncio.CancelledError):  # a stop before there was anything to stop
        uvloop.run(_main(settings, report_to, traces))
    return 0


class Stop(asyncio.Event):
    """A stop that was asked for. While the worker `is_starting` nobody waits for it: what is under way is given up."""

    def __init__(self) -> None:
        super().__init__()
        self.is_starting = True
        self._starting = asyncio.current_task()

    def set(self) -> None:
        """Ask for it."""
        super().set()
        if self.is_starting and self._starting is not None:
            self._starting.cancel()


async def _main(settings: Settings, report_to: int | None, traces: Traces | None) -> None:
    stop = Stop()
    _listen_for_signals(stop, settings.shutdown.timeout.total_seconds())
    for idle in without_effect(settings, parts.check_handler(settings)):
        log.warning("setting_without_effect", setting=idle.name.env, reason=idle.reason)
    native = parts.native_of(settings)
    registry = process_registry(NO_NATIVE if native is None else native.version)
    clock = SystemClock()
    times = RequestTimes(registry, settings.stream.label)
    hooks: list[CallHooks] = [TimedCalls(times.took, clock)]
    if traces is not None:
        hooks.append(TracedCalls(traces))
    async with aws_clients(*hooks) as clients:
        stream = KinesisStream(clients.kinesis, settings.stream.name, native)
        description = await parts.describe_stream(stream, settings)
        await parts.ensure_tables(clients, settings)
        async with (
            parts.open_handler(clients, settings, description) as handler,
            parts.open_sink(clients, settings, clock, times.took, traces) as sink,
            parts.open_transactions(clients, settings, clock, times.took) as transactions,
            parts.open_dead_letters(clients, settings) as dead_letters,
            open_nudges() as nudges,
            open_fan_out(clients, settings, stream, description.arn) as fan_out,
        ):
            lease_table, limits = settings.lease.table, screen.limits_of(settings, description.retention_s)
            tally = screen.tally_of(
                settings, registry, clock, limits, description.name, lambda: parts.counts_of(transactions or sink)
            )
            ports = Ports(
                stream=stream,
                table=DynamoLeaseTable(clients.leases, lease_table),
                sink=sink,
                dead_letters=dead_letters,
                handler=handler,
                observer=tally,
                clock=clock,
                chance=CHANCE,
                aside=OwnThread(lambda: open_lease_table(clients, lease_table)),
                nudge=nudges.send,
                fan_out=fan_out,
                transactions=transactions,
                traces=traces,
            )
            worker = Worker(ports, _worker_rules(settings, description, handler))
            registry.register(FleetGauges(description.name, worker.fleet, _limits(settings, handler)))
            answers = Answers(
                worker.alive, worker.ready, _status(worker, settings), registry, worker.nudged, worker.explain
            )
            reporter, page = screen.shown_worker(settings, ports, tally, worker, limits)
            async with serve(answers, address=settings.ops.address, port=settings.ops.port, screen=page) as port:
                log.info(
                    "worker_started",
                    version=headrace.__version__,
                    native=NO_NATIVE if native is None else native.version,
                    stream=description.arn,
                    ops_port=port,
                )
                worker.address = reachable_at(settings.ops.address, port)
                _settle_down()
                stop.is_starting = False
                if report_to is not None:
                    os.write(report_to, b"%d\n" % port)
                    os.close(report_to)
                await reporter.beside(_work(worker, stop, description, settings))


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
        mend = "Set the stream's record distribution strategy to USER_PARTITION_KEY, or " + (
            "compare items by an attribute of theirs (HEADRACE_SINK_ORDER_BY)"
            if settings.sink.needs_order
            else "HEADRACE_STREAM_ON_LOSS=continue to read it without order"
        )
        raise SettingsError("HEADRACE_STREAM_NAME", settings.stream.name, str(lost), mend) from lost


# --- rules ------------------------------------------------------------------------------------------------------------


def _worker_rules(settings: Settings, description: StreamDescription, handler: Handler | BatchHandler) -> WorkerRules:
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
            lanes=_lane_rules(settings),
            expands_aggregates=_expands(settings, handler),
            parks_keys=settings.retry.on_exhausted == "park_key",
            folds=settings.sink.fold,
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
        needs_order=settings.sink.needs_order,
        stall_s=settings.lease.stall.total_seconds(),
    )


def _limits(settings: Settings, handler: Handler | BatchHandler) -> dict[Metric, float]:
    """What alerts compare with."""
    limits = {catalogue.LEASE_DURATION: settings.lease.duration.total_seconds()}
    if isinstance(handler, BatchHandler):
        limits[catalogue.HANDLER_TIMEOUT] = settings.handler_timeout.total_seconds()
    return limits


def _lane_rules(settings: Settings) -> LaneRules:
    batch = settings.batch
    return LaneRules(
        count=batch.parallelization_factor,
        bytes=batch.bytes,
        bisect=Bisect.AT_ONCE if settings.retry.bisect else Bisect.OFF,
        reports=Reports(settings.retry.report_batch_item_failures),
        tumbling_s=batch.tumbling_window.total_seconds(),
    )


def _expands(settings: Settings, handler: Handler | BatchHandler) -> bool:
    if settings.stream.deaggregate == "auto":
        return isinstance(handler, Handler) or not handler.takes_events
    return settings.stream.deaggregate == "true"


def _filters(settings: Settings) -> Filters | None:
    patterns = settings.filter.patterns
    return compile_filters(patterns, cast("NonJson", settings.filter.non_json)) if patterns else None


def _limit_s(settings: Settings) -> float:
    age_s = settings.retry.maximum_record_age.total_seconds()
    return age_s if age_s > 0 else UNLIMITED


def _drain_s(settings: Settings) -> float:
    """What of the shutdown timeout is left for batches, after the calls under way, the release and the last spans."""
    spans_s = FLUSH_S if settings.traces.enabled else 0.0
    return max(0.0, settings.shutdown.timeout.total_seconds() - settings.timing.call_timeout_s - RELEASE_S - spans_s)


# --- process ----------------------------------------------------------------------------------------------------------


def _listen_for_signals(stop: asyncio.Event, timeout_s: float) -> None:
    """First signal: stop gracefully, for `timeout_s` at most. Second one: exit at once.

    Neither needs the loop, which a handler may block: Python runs what is set here between two instructions of it.
    """
    loop = asyncio.get_running_loop()
    deadlines: list[threading.Timer] = []

    def on_signal(number: int, _: object) -> None:
        if deadlines and number == ORPHANED:
            return
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

    for number in (signal.SIGTERM, signal.SIGINT, ORPHANED):
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
