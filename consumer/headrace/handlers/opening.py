"""From the settings of a handler to something the worker can call, kept ready for as long as a block lasts."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, assert_never

from headrace.core.lambda_event import WINDOW_ROOM, EventEncoder
from headrace.core.write_modes import WriteMode
from headrace.errors import CallFailed, Reject, Retry, SettingsError
from headrace.handlers.batch_function import read_batch, writes_in
from headrace.handlers.function import HandlerFunction
from headrace.handlers.kinds import HandlerKind, kind_by_name, kind_by_signature
from headrace.handlers.loading import (
    SETTING,
    annotation_of,
    batch_reader,
    find,
    is_async_function,
    look_here,
    record_handler,
)
from headrace.handlers.outcomes import (
    Answer,
    Crashed,
    Raised,
    Returned,
    TimedOut,
    Unserializable,
    Wrote,
    error_of,
)
from headrace.handlers.pool import HandlerPool, PoolRules, open_pool
from headrace.handlers.processors import processors
from headrace.handlers.returned import MODE_SETTING, check_operations
from headrace.handlers.source import takes_event_and_context
from headrace.model import Record
from headrace.ports import BatchContext, BatchHandler, Handler


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """What the settings say of the handler: `kind` is None where it is to be found out, `processes` 0 for one per CPU.

    `name` is the function's name towards a Lambda handler, `stream_arn` the stream it is called for; `has_windows` tells
    that its calls carry the state of tumbling windows, `mode` how what it returns is written.
    """

    spec: str
    name: str
    stream_arn: str
    kind: HandlerKind | None = None
    timeout_s: float = 60.0
    processes: int = 0
    threads: int = 0
    memory_mb: int = 128
    has_windows: bool = False
    mode: WriteMode = WriteMode.PUT

    def function(self, *, takes_batches: bool) -> HandlerFunction:
        """As the pool of processes knows it."""
        return HandlerFunction(
            self.spec, self.name, self.stream_arn, self.timeout_s, self.memory_mb, takes_batches=takes_batches
        )

    @property
    def pool(self) -> PoolRules:
        """How many processes it has."""
        return PoolRules(self.processes or processors())


@asynccontextmanager
async def open_handler(wanted: HandlerSpec, chance: Callable[[], float]) -> AsyncIterator[Handler | BatchHandler]:
    """The handler, ready to be called; `chance` gives random numbers in [0, 1). Open it on the main thread.

    Raises SettingsError for whatever is wrong with it, its kind or its first process.
    """
    kind, target = _kind(wanted)
    match kind:
        case HandlerKind.RECORD:
            handler = record_handler(target if target is not None else find(wanted.spec), wanted.spec)
            if handler.is_async or not wanted.threads:
                yield handler
            else:
                async with _in_threads(handler, wanted.threads) as threaded:
                    yield threaded
        case HandlerKind.BATCH:
            target = target if target is not None else find(wanted.spec)
            if is_async_function(target):
                yield _on_the_loop(target, wanted)
            else:
                batch_reader(target, wanted.spec)
                async with open_pool(wanted.function(takes_batches=True), wanted.pool, chance) as pool:
                    yield _in_processes(pool, wanted)
        case HandlerKind.LAMBDA:
            async with open_pool(wanted.function(takes_batches=False), wanted.pool, chance) as pool:
                yield _as_in_lambda(pool, wanted)
        case _:
            assert_never(kind)


def check(wanted: HandlerSpec) -> tuple[HandlerKind, bool]:
    """Import what runs in this process, and see whether it can be called: its kind, and whether it is async.

    Raises SettingsError.
    """
    kind, target = _kind(wanted)
    if wanted.has_windows and kind is not HandlerKind.LAMBDA:
        problem, mend = f"is for Lambda handlers, and {wanted.spec} is a {kind} handler", "Leave it out"
        raise SettingsError("HEADRACE_BATCH_TUMBLING_WINDOW", None, problem, mend)
    if kind is not HandlerKind.RECORD and wanted.mode is WriteMode.TRANSACTIONAL:
        problem = f"moves the checkpoint with the writes of single records, and {wanted.spec} is a {kind} handler"
        mend = "Write a record handler, which returns its writes, or choose another mode"
        raise SettingsError(MODE_SETTING, wanted.mode.value, problem, mend)
    if kind is HandlerKind.LAMBDA:
        return kind, False
    target = target if target is not None else find(wanted.spec)
    if kind is HandlerKind.RECORD:
        record_handler(target, wanted.spec)
    else:
        batch_reader(target, wanted.spec)
    check_operations(target, wanted.spec, wanted.mode)
    return kind, is_async_function(target)


def _kind(wanted: HandlerSpec) -> tuple[HandlerKind, Any]:
    """The kind, and the function where it had to be imported to know."""
    by_name = kind_by_name(wanted.spec)
    if by_name is not None or wanted.kind is HandlerKind.LAMBDA:
        if wanted.kind not in {None, HandlerKind.LAMBDA}:
            mend = "Write it as module:function, or set HEADRACE_HANDLER_KIND to lambda"
            raise SettingsError(SETTING, wanted.spec, f"is no name of a {wanted.kind} handler", mend)
        return HandlerKind.LAMBDA, None
    if wanted.kind is not None:
        return wanted.kind, None
    look_here()
    if takes_event_and_context(wanted.spec):
        return HandlerKind.LAMBDA, None
    target = find(wanted.spec)
    if not callable(target) or isinstance(target, type):
        return HandlerKind.RECORD, target  # which says what is wrong with it
    return kind_by_signature(target, annotation_of(target, wanted.spec), wanted.spec, SETTING), target


# --- record handlers in threads ---------------------------------------------------------------------------------------


@asynccontextmanager
async def _in_threads(handler: Handler, threads: int) -> AsyncIterator[Handler]:
    executor = ThreadPoolExecutor(threads, thread_name_prefix="handler")

    async def call(record: Record) -> Any:
        return await asyncio.get_running_loop().run_in_executor(executor, _called, handler.call, record)

    try:
        yield Handler(handler.name, call, is_async=True)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _called(call: Callable[[Record], Any], record: Record) -> Any:
    try:
        return call(record)
    except StopIteration as error:  # no future can carry it
        raise RuntimeError("the handler raised StopIteration") from error


# --- batch handlers ---------------------------------------------------------------------------------------------------


def _on_the_loop(target: Callable[[Any], Any], wanted: HandlerSpec) -> BatchHandler:
    read = batch_reader(target, wanted.spec)

    async def call(records: Sequence[Record], _: BatchContext) -> Any:
        deadline = asyncio.timeout(wanted.timeout_s)
        try:
            async with deadline:
                returned = await target(read_batch(records, read))
        except TimeoutError:
            if deadline.expired():
                raise CallFailed(*error_of(TimedOut(wanted.timeout_s))) from None
            raise
        found = writes_in(returned)
        return returned if found is None else found

    return BatchHandler(wanted.spec, call)


def _in_processes(pool: HandlerPool, wanted: HandlerSpec) -> BatchHandler:
    async def call(records: Sequence[Record], context: BatchContext) -> Any:
        return _returned(await pool.call_batch(pickle.dumps(list(records)), context.request_id))

    return BatchHandler(wanted.spec, call)


def _as_in_lambda(pool: HandlerPool, wanted: HandlerSpec) -> BatchHandler:
    _, partition, _, _, account, *_ = wanted.stream_arn.split(":")
    encoder = EventEncoder(wanted.stream_arn, f"arn:{partition}:iam::{account}:role/{wanted.name}")

    async def call(records: Sequence[Record], context: BatchContext) -> Any:
        return _returned(await pool.call(encoder.encode(records, context.window), context.request_id))

    overhead = encoder.overhead + (WINDOW_ROOM if wanted.has_windows else 0)
    return BatchHandler(wanted.spec, call, encoder.size_of, overhead)


def _returned(answer: Answer) -> Any:
    """What the handler returned. Raises CallFailed, or the Reject or Retry that it raised."""
    match answer:
        case Returned():
            return answer.value_json
        case Wrote():
            return _effects(answer)
        case Raised(asks="reject"):
            raise Reject(answer.message)
        case Raised(asks="retry"):
            raise Retry(answer.after_s)
        case Raised():
            raise CallFailed(answer.error_type, answer.message, answer.traceback)
        case TimedOut() | Crashed() | Unserializable():
            raise CallFailed(*error_of(answer))
        case _:
            assert_never(answer)


def _effects(answer: Wrote) -> Any:
    try:
        return pickle.loads(answer.effects)  # noqa: S301 - from our own process, which runs the user's own code
    except Exception as error:
        message = f"a write holds what cannot be read outside of the handler's process: {error}"
        raise CallFailed(type(error).__name__, message) from error
