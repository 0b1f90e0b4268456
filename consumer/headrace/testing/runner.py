"""A handler's own test: records in, and out come its writes, its calls and its dead letters. Without AWS, at once.

    from headrace.testing import run

    def test_a_broken_order_is_buried_and_the_next_one_is_written():
        outcome = run(handle, [b"nonsense", {"id": 7, "state": "paid"}])

        assert outcome.items == [{"pk": "7", "state": "paid"}]
        assert [letter.reason for letter in outcome.dead_letters] == ["RetryAttemptsExhausted"]

What runs is the worker itself, on in-memory doubles of the stream, the tables and the clock: attempts, backoff, bisect,
order by key and windows are those of production. Time is virtual, so that a retry after an hour takes none.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeAlias

import msgspec
import structlog

from headrace.core.answers import Reports
from headrace.core.batching import BatchRules
from headrace.core.filters import compile_filters
from headrace.core.portions import Bisect
from headrace.core.tenure import LeaseTiming
from headrace.core.verdict import UNLIMITED, RetryRules
from headrace.core.write_modes import WriteMode
from headrace.errors import SettingsError
from headrace.flow.incarnation import WorkerRules
from headrace.flow.worker import Worker
from headrace.flow.workplace import LaneRules, ShardRules
from headrace.handlers.in_process import in_process
from headrace.model import DeadLetter, Record, ShardId, TrimHorizon
from headrace.operations import Effect
from headrace.ports import BatchContext, BatchHandler, Handler, Ports
from headrace.testing.aside import SameLoop
from headrace.testing.clock import LoopClock
from headrace.testing.dead_letters import MemoryDeadLetters
from headrace.testing.lease_table import MemoryLeaseTable
from headrace.testing.observer import RecordingObserver
from headrace.testing.sink import MemorySink
from headrace.testing.stream import MemoryStream
from headrace.testing.transactions import MemoryTransactions
from headrace.testing.virtual_time import VirtualTimeLoop

SHARD: Final = ShardId("shardId-000000000000")

Given: TypeAlias = bytes | str | Mapping[str, Any] | Sequence[Any] | Record
"""A payload as bytes, text, or something that becomes JSON; a pair of partition key and payload; or a whole record."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that matter to a handler, named as in headrace.toml; `key` names the key attributes of the table."""

    kind: str = "auto"
    timeout: timedelta = timedelta(seconds=60)
    batch_size: int = 100
    parallelization_factor: int = 1
    tumbling_window: timedelta = timedelta(0)
    maximum_attempts: int = 5
    maximum_record_age: timedelta | None = None
    bisect: bool = True
    report_batch_item_failures: str = "auto"
    park_keys: bool = False
    filters: tuple[str, ...] = ()
    key: tuple[str, ...] = ("pk",)
    mode: str = "put"
    """transactional: handlers may return Update, Increment and conditions, as with HEADRACE_SINK_MODE."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the handler: with which records, at which moment of the run, and what it raised, if it did."""

    records: tuple[Record, ...]
    at_s: float
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the records.

    `effects` are the writes in the order they were made, `items` what is in the serving table in the end.
    """

    effects: list[Effect]
    items: list[dict[str, Any]]
    dead_letters: list[DeadLetter]
    calls: list[Call]


@dataclass
class _Run:
    """One run in the making."""

    rules: Rules
    seed: int
    calls: list[Call] = field(default_factory=list)


def run(
    handler: Callable[..., Any],
    records: Iterable[Given],
    rules: Rules | None = None,
    *,
    within: timedelta = timedelta(days=1),
    seed: int = 1,
) -> Outcome:
    """Feed the records, in order, to the handler; return once each is settled or buried.

    A payload given without a partition key gets one of its own. `seed` draws the jitter. Raises TimeoutError when records
    are still being retried after `within` of virtual time, SettingsError for a function that is no handler.
    """
    loop = VirtualTimeLoop()
    try:
        with structlog.testing.capture_logs():
            return loop.run_until_complete(_run(_Run(rules or Rules(), seed), handler, list(records), within))
    finally:
        loop.close()


async def _run(run_: _Run, handler: Callable[..., Any], records: Sequence[Given], within: timedelta) -> Outcome:
    clock = LoopClock()
    stream, table, letters = MemoryStream(clock, 1), MemoryLeaseTable(), MemoryDeadLetters()
    sink, observer = MemorySink(run_.rules.key), _Finish()
    is_transactional = WriteMode(run_.rules.mode) is WriteMode.TRANSACTIONAL
    for number, given in enumerate(records):
        key, data = _key_and_data(number, given)
        stream.put(key, data)
    stream.split(SHARD)  # its end: once it is finished, so is every record and every window
    description = await stream.describe()
    ports = Ports(
        stream=stream,
        table=table,
        sink=sink,
        dead_letters=letters,
        handler=_watched(
            run_, in_process(handler, run_.rules.kind, description.arn, run_.rules.timeout.total_seconds())
        ),
        observer=observer,
        clock=clock,
        chance=random.Random(run_.seed).random,  # noqa: S311 - jitter
        aside=SameLoop(table),
        transactions=MemoryTransactions(sink, table, run_.rules.key) if is_transactional else None,
    )
    if is_transactional and isinstance(ports.handler, BatchHandler):
        problem = "moves the checkpoint with the writes of single records, and this is a batch or Lambda handler"
        raise SettingsError("mode", run_.rules.mode, problem, "Test it with another mode")
    worker = Worker(ports, _worker_rules(run_.rules, description.name))
    stop = asyncio.Event()
    async with asyncio.timeout(within.total_seconds()), asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(stop, description), name="worker")
        await observer.finished.wait()
        stop.set()
    return Outcome(sink.written, list(sink.items.values()), letters.letters, run_.calls)


def _key_and_data(number: int, given: Given) -> tuple[str, bytes]:
    if isinstance(given, Record):
        return given.partition_key, given.data
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):  # noqa: PLR2004 - a pair
        return given[0], _data(given[1])
    return f"key-{number}", _data(given)


def _data(payload: Any) -> bytes:
    if isinstance(payload, bytes):
        return payload
    return payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)


class _Finish(RecordingObserver):
    """Knows when everything of the shard is settled or buried."""

    def __init__(self) -> None:
        super().__init__()
        self.finished = asyncio.Event()

    def lease_changed(self, shard: ShardId, transition: str) -> None:
        """The children of the shard have no records."""
        if (shard, transition) == (SHARD, "finished"):
            self.finished.set()


def _worker_rules(rules: Rules, stream: str) -> WorkerRules:
    age_s = UNLIMITED if rules.maximum_record_age is None else rules.maximum_record_age.total_seconds()
    shard = ShardRules(
        batch=BatchRules(rules.batch_size),
        retry=RetryRules(rules.maximum_attempts, age_s),
        lanes=LaneRules(
            count=rules.parallelization_factor,
            bisect=Bisect.AT_ONCE if rules.bisect else Bisect.OFF,
            reports=Reports(rules.report_batch_item_failures),
            tumbling_s=rules.tumbling_window.total_seconds(),
        ),
        parks_keys=rules.park_keys,
        filters=compile_filters(rules.filters, "drop") if rules.filters else None,
        checkpoint_interval_s=0.1,
    )
    return WorkerRules("test", stream, TrimHorizon(), LeaseTiming.derived(10.0), shard)


# --- calls ------------------------------------------------------------------------------------------------------------


def _watched(run_: _Run, handler: Handler | BatchHandler) -> Handler | BatchHandler:
    if isinstance(handler, BatchHandler):
        return BatchHandler(handler.name, _watched_batch(run_, handler), handler.size_of, handler.overhead)
    if handler.is_async:
        return Handler(handler.name, _watched_async(run_, handler), is_async=True)
    return Handler(handler.name, _watched_plain(run_, handler))


def _note(run_: _Run, records: Sequence[Record], error: BaseException | None = None) -> None:
    run_.calls.append(Call(tuple(records), asyncio.get_running_loop().time(), error))


def _watched_plain(run_: _Run, handler: Handler) -> Callable[[Record], Any]:
    def call(record: Record) -> Any:
        try:
            answer = handler.call(record)
        except BaseException as error:
            _note(run_, [record], error)
            raise
        _note(run_, [record])
        return answer

    return call


def _watched_async(run_: _Run, handler: Handler) -> Callable[[Record], Any]:
    async def call(record: Record) -> Any:
        try:
            answer = await handler.call(record)
        except BaseException as error:
            _note(run_, [record], error)
            raise
        _note(run_, [record])
        return answer

    return call


def _watched_batch(run_: _Run, handler: BatchHandler) -> Callable[[Sequence[Record], BatchContext], Any]:
    async def call(records: Sequence[Record], context: BatchContext) -> Any:
        try:
            answer = await handler.call(records, context)
        except BaseException as error:
            _note(run_, records, error)
            raise
        _note(run_, records)
        return answer

    return call
