"""Parts of a worker and of a redrive, made from the settings: what has to be there is looked at before anything starts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from headrace.aws.channel import open_channel
from headrace.aws.destinations import open_destination, open_store
from headrace.aws.key_schema import KeySchema, describe_keys
from headrace.aws.kinesis import KinesisStream
from headrace.aws.patience import Patience
from headrace.aws.request_hooks import Took
from headrace.aws.serving_table import ServingTable, SinkRules
from headrace.aws.session import Clients
from headrace.aws.tables import ensure_table
from headrace.aws.timed_channel import TimedChannel
from headrace.aws.transactions import DynamoTransactions
from headrace.core.guarded import Guard
from headrace.core.native import Native, installed
from headrace.core.shapes import Layout
from headrace.core.write_modes import WriteMode
from headrace.errors import Denied, NotFound, SettingsError
from headrace.flow.clock import SystemClock
from headrace.flow.persist import persist
from headrace.model import Permit, StreamDescription
from headrace.operations import Effect
from headrace.ports import (
    BatchHandler,
    DeadLetters,
    DeadLetterStore,
    Handler,
    OrderOf,
    Refusal,
    Sink,
    Transactions,
    unordered,
)
from headrace.settings import Settings
from headrace.settings.groups import SinkSettings
from headrace.settings.without_effect import Called
from headrace.tasks import TaskGroup
from headrace.traces import Traces

if TYPE_CHECKING:
    from headrace.handlers.opening import HandlerSpec

CHANCE: Final[Callable[[], float]] = random.SystemRandom().random

MIB: Final = 2**20


def nobody_asks(service: str, operation: str, seconds: float) -> None:
    """How long a request took, where it is not shown."""


async def describe_stream(stream: KinesisStream, settings: Settings) -> StreamDescription:
    """The stream as it is. Raises SettingsError where there is none, or where it may not be looked at."""
    try:
        return await persist("describe_stream", stream.describe, CHANCE, hopeless=(Denied, NotFound))
    except NotFound as error:
        mend = "Create it, or check the name, AWS_REGION and the account of the credentials"
        raise SettingsError("HEADRACE_STREAM_NAME", settings.stream.name, "there is no such stream", mend) from error
    except Denied as error:
        mend = "Allow kinesis:DescribeStreamSummary on it"
        raise SettingsError("HEADRACE_STREAM_NAME", settings.stream.name, str(error), mend) from error


async def ensure_tables(clients: Clients, settings: Settings) -> None:
    """Make the lease table and the dead-letter table, unless they are there. Raises SettingsError."""
    create = settings.create_tables
    await ensure_table(
        clients.dynamodb, settings.lease.table, setting="HEADRACE_LEASE_TABLE", create=create, ttl_attribute="exp"
    )
    if (table := settings.dead_letters.table) is not None:
        await ensure_table(clients.dynamodb, table, setting="HEADRACE_DEAD_LETTERS_DESTINATION", create=create)


async def serving_schema(clients: Clients, settings: Settings) -> KeySchema:
    """The keys of the serving table. Raises SettingsError where there is none, or where it may not be looked at."""
    table = settings.serving_table
    try:
        return await describe_keys(clients.dynamodb, table)
    except NotFound as error:
        mend = "Create it, or check the name, AWS_REGION and the account of the credentials"
        raise SettingsError("HEADRACE_SINK_TABLE", table, "there is no such table", mend) from error
    except Denied as error:
        raise SettingsError("HEADRACE_SINK_TABLE", table, str(error), "Allow dynamodb:DescribeTable on it") from error


def open_dead_letters(clients: Clients, settings: Settings) -> AbstractAsyncContextManager[DeadLetters]:
    """Where buried records go. Raises SettingsError."""
    where = settings.dead_letters
    return open_destination(clients, where.destination, where.spill, settings.application)


def open_dead_letter_store(clients: Clients, settings: Settings) -> AbstractAsyncContextManager[DeadLetterStore]:
    """Where they are read again. Raises SettingsError, also where they cannot be."""
    where = settings.dead_letters
    return open_store(clients, where.destination, where.spill, settings.application)


def check_handler(settings: Settings) -> Called:
    """Import a handler that the worker itself runs: it need not be on its way to AWS to find that it cannot."""
    if settings.handler is None:
        return Called.MAPPING
    from headrace.handlers.kinds import HandlerKind  # noqa: PLC0415 - user code is imported only where there is some
    from headrace.handlers.opening import check  # noqa: PLC0415 - likewise

    kind, is_async = check(_spec(settings, ""))
    match kind:
        case HandlerKind.RECORD:
            return Called.ASYNC_RECORD if is_async else Called.RECORD
        case HandlerKind.BATCH:
            return Called.ASYNC_BATCH if is_async else Called.BATCH
        case HandlerKind.LAMBDA:
            return Called.LAMBDA
        case _:
            assert_never(kind)


@asynccontextmanager
async def open_handler(
    clients: Clients, settings: Settings, description: StreamDescription
) -> AsyncIterator[Handler | BatchHandler]:
    """The user's handler, or the item mapping that stands in for it. Raises SettingsError."""
    if settings.handler is None:
        yield item_mapping_of(settings, await serving_schema(clients, settings), renders=True)
        return
    from headrace.handlers import opening  # noqa: PLC0415 - likewise

    async with opening.open_handler(_spec(settings, description.arn), CHANCE) as handler:
        if isinstance(handler, BatchHandler):
            yield handler
        else:
            yield _early(handler, await serving_schema(clients, settings), settings)


def _early(handler: Handler, schema: KeySchema, settings: Settings) -> Handler:
    """With items that are text as soon as they are returned, where that is how they are written."""
    from headrace.handlers.early_items import early  # noqa: PLC0415 - likewise

    native = native_of(settings)
    if native is None or handler.is_async or settings.sink.mode != WriteMode.PUT:
        return handler
    return replace(handler, call=early(handler.call, schema.names, native))


def _spec(settings: Settings, stream_arn: str) -> HandlerSpec:
    from headrace.handlers.kinds import HandlerKind  # noqa: PLC0415 - likewise
    from headrace.handlers.opening import HandlerSpec  # noqa: PLC0415 - likewise

    return HandlerSpec(
        spec=settings.handler or "",
        name=settings.handler_name or settings.application,
        stream_arn=stream_arn,
        kind=None if settings.handler_kind == "auto" else HandlerKind(settings.handler_kind),
        timeout_s=settings.handler_timeout.total_seconds(),
        processes=settings.handler_processes,
        threads=settings.handler_threads,
        memory_mb=max(1, settings.handler_memory // MIB),
        has_windows=settings.batch.tumbling_window > timedelta(0),
        mode=WriteMode(settings.sink.mode),
    )


def item_mapping_of(settings: Settings, schema: KeySchema, *, renders: bool = False) -> Handler:
    """What stands in for a handler. Raises SettingsError for templates that do not give the table's key."""
    from headrace.handlers.mapping import ItemRules, item_mapping  # noqa: PLC0415 - likewise

    item = settings.item
    rules = ItemRules(
        key=item.key,
        ttl_attribute=item.ttl_attribute,
        ttl_after_s=item.ttl_after.total_seconds() if item.ttl_after is not None else 0.0,
        sequence_attribute=item.sequence_attribute,
        arrival_attribute=item.arrival_attribute,
    )
    key_types = dict(zip(schema.names, schema.types, strict=True))
    layout = None
    if renders:
        layout = Layout.ITEM if settings.sink.mode in WHOLE_ITEMS else Layout.VALUES
    return item_mapping(
        rules,
        key_types,
        settings.stream.label,
        layout=layout,
        order_by=settings.sink.order_by,
        native=native_of(settings),
    )


def native_of(settings: Settings) -> Native | None:
    """The compiled transcoder, where it is installed and not turned off."""
    return None if settings.native == "off" else installed()


WHOLE_ITEMS: Final = frozenset({WriteMode.PUT, WriteMode.TRANSACTIONAL})
"""Modes whose requests take an item whole; the others' statements take its values."""


@asynccontextmanager
async def open_sink(
    clients: Clients, settings: Settings, clock: SystemClock, took: Took = nobody_asks, traces: Traces | None = None
) -> AsyncIterator[Sink]:
    """The sink with its writers running; they end after everything that submits to it."""
    if settings.sink.table is None or is_transactional(settings):
        yield NoTable()
        return
    depth, timeout_s = settings.sink.depth, settings.timing.call_timeout_s
    async with (
        open_channel(clients.session, clients.dynamodb, clock, connections=depth, timeout_s=timeout_s) as channel,
        TaskGroup() as tasks,
    ):
        rules = replace(sink_rules(settings.sink), native=native_of(settings))
        patience = Patience(clock, CHANCE)
        timed = TimedChannel(channel, took, clock)
        sink = ServingTable(
            timed, clients.dynamodb, rules, patience, depth=depth, longest_call_s=timeout_s, traces=traces
        )
        await sink.check()
        writing = tasks.create_task(sink.run(), name="sink")
        yield sink
        writing.cancel()


@asynccontextmanager
async def open_transactions(
    clients: Clients, settings: Settings, clock: SystemClock, took: Took = nobody_asks
) -> AsyncIterator[DynamoTransactions | None]:
    """What takes the sink's place in mode `transactional`, and None in every other. Raises SettingsError."""
    if not is_transactional(settings):
        yield None
        return
    depth, timeout_s = settings.sink.depth, settings.timing.call_timeout_s
    async with open_channel(
        clients.session, clients.dynamodb, clock, connections=depth, timeout_s=timeout_s
    ) as channel:
        timed = TimedChannel(channel, took, clock)
        made = DynamoTransactions(
            timed, clients.dynamodb, settings.serving_table, settings.lease.table, native_of(settings)
        )
        await made.check()
        yield made


def is_transactional(settings: Settings) -> bool:
    """Whether results and checkpoints go together."""
    return settings.sink.mode == WriteMode.TRANSACTIONAL


def sink_rules(settings: SinkSettings) -> SinkRules:
    """How the sink's table is written. There has to be one."""
    guard = Guard(settings.order_attribute, settings.order_by)
    return SinkRules(settings.table or "", WriteMode(settings.mode), settings.fold, guard)


def counts_of(sink: Sink | Transactions | None) -> dict[str, int]:
    """What has been written, by the names of a sink's own counts; empty for one that keeps none."""
    return asdict(sink.counts) if isinstance(sink, ServingTable | DynamoTransactions) else {}


class NoTable:
    """Implements `ports.Sink` where no table is named: whatever is to be written is refused, and its record buried."""

    def submit(
        self,
        writes: Sequence[tuple[int, Effect]],
        permit: Permit,  # noqa: ARG002 - the port's
        order: OrderOf = unordered,  # noqa: ARG002 - the port's
    ) -> asyncio.Future[Mapping[int, Refusal]]:
        """Refuse them all."""
        answer: asyncio.Future[Mapping[int, Refusal]] = asyncio.get_running_loop().create_future()
        answer.set_result(
            {
                index: Refusal("the handler returned writes, and HEADRACE_SINK_TABLE names no table")
                for index, _ in writes
            }
        )
        return answer

    async def calls_ended(self, permit: Permit) -> None:
        """There are none."""
