"""The sink in the modes `put`, `insert` and `latest`: 25 writes a request, several in flight, no task or await per record.

`submit` only computes keys and queues. A fixed number of writer tasks take chunks of distinct keys, encode each chunk once
and send it. What DynamoDB leaves undone (UnprocessedItems, throttling, an outage, a missing right or table) is sent again
for as long as the submitter's permit holds; what it refuses is narrowed down to the one item. What a repeat does is the
mode's: `batch_write`, `insert_statements`, `guarded_statements`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Final, TypeAlias

from headrace.aws.batch_write import MOST_WRITES, BatchWrites
from headrace.aws.channel import Poster
from headrace.aws.chunk_writer import ChunkWriter
from headrace.aws.guarded_statements import GuardedStatements
from headrace.aws.insert_statements import InsertStatements
from headrace.aws.key_schema import describe_keys, serving_key
from headrace.aws.patience import Patience
from headrace.aws.submission import Submission, Write
from headrace.aws.traced_chunks import TracedChunkWriter
from headrace.aws.under_way import UnderWay
from headrace.aws.write_counts import WriteCounts
from headrace.aws.write_request import TableKeys, WriteRequest
from headrace.core.guarded import Guard
from headrace.core.items import ItemError
from headrace.core.native import Native
from headrace.core.record_order import nth
from headrace.core.write_modes import NotCarried, WriteMode
from headrace.core.write_queue import WriteQueue
from headrace.errors import AwsError
from headrace.model import Permit
from headrace.operations import Effect
from headrace.ports import OrderOf, Refusal, unordered
from headrace.tasks import TaskGroup
from headrace.traces import Traces
from headrace.transactions import UnknownTableError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

DEPTH: Final = 16
"""Requests in flight: enough to keep one core busy at 5 ms a request."""

LONGEST_CALL_S: Final = 5.0
"""After which a request without an answer takes effect no more, where nothing else is said."""

OWN_ORDER: Final = Guard("recordOrder")

Stranger: TypeAlias = tuple[int, Effect, Submission, str]


@dataclass(frozen=True, slots=True)
class SinkRules:
    """The serving table and how it is written. `guard` is for mode `latest`."""

    table: str
    mode: WriteMode = WriteMode.PUT
    folds: bool = True
    guard: Guard = OWN_ORDER
    native: Native | None = None
    """The compiled transcoder, where there is one."""


def request_of(rules: SinkRules, keys: TableKeys, counts: WriteCounts) -> WriteRequest:
    """How the mode speaks to DynamoDB."""
    match rules.mode:
        case WriteMode.INSERT:
            return InsertStatements(keys, counts, rules.native)
        case WriteMode.LATEST:
            return GuardedStatements(keys, counts, rules.guard, rules.native)
        case _:
            return BatchWrites(keys, rules.native)


class ServingTable:
    """A Sink over one table; effects may name other tables. Nothing is written unless `run` is running."""

    def __init__(
        self,
        channel: Poster,
        client: DynamoDBClient,
        rules: SinkRules,
        patience: Patience,
        *,
        depth: int = DEPTH,
        longest_call_s: float = LONGEST_CALL_S,
        traces: Traces | None = None,
    ) -> None:
        self.counts = WriteCounts()
        self._client = client
        self._patience = patience
        self._depth = depth
        self._keys = TableKeys(rules.table)
        self._request = request_of(rules, self._keys, self.counts)
        self._queue: WriteQueue[Write] = WriteQueue(folds=rules.folds)
        self._under_way = UnderWay(longest_call_s)
        self._traces = traces
        parts = (channel, self._request, patience, self.counts, self._release, self._under_way)
        self._writer = ChunkWriter(*parts) if traces is None else TracedChunkWriter(traces, *parts)
        self._idle: deque[asyncio.Future[None]] = deque()
        self._strangers: list[Stranger] = []
        """Writes to tables whose keys are not known yet, in order."""
        self._stranger_came = asyncio.Event()
        self._open: set[Submission] = set()
        self._closed = False

    async def check(self) -> None:
        """Learn the table's key. Raises SettingsError when it is not there, not readable or not ready; Throttled, Unavailable."""
        self._keys[self._keys.default] = await serving_key(self._client, self._keys.default)

    def submit(
        self, writes: Sequence[tuple[int, Effect]], permit: Permit, order: OrderOf = unordered
    ) -> asyncio.Future[Mapping[int, Refusal]]:
        """Queue the writes; see `ports.Sink`."""
        submission = Submission(len(writes), permit)
        if self._traces is not None:
            submission.trace = self._traces.current()
        if self._closed:
            submission.lose("the sink has stopped")
            return submission.future
        self._open.add(submission)
        submission.future.add_done_callback(lambda _: self._open.discard(submission))
        orders = _orders(writes, order) if self._request.is_ordered else repeat("")
        for (index, effect), place in zip(writes, orders, strict=False):
            self._queue_up(index, effect, submission, place)
        self._wake()
        return submission.future

    async def calls_ended(self, permit: Permit) -> None:
        """See `ports.Sink`."""
        await self._under_way.ended(permit)

    async def run(self) -> None:
        """Write until cancelled; then whoever still waits gets LeaseLost."""
        try:
            async with TaskGroup() as tasks:
                for number in range(self._depth):
                    tasks.create_task(self._write_on(), name=f"sink-writer-{number}")
                tasks.create_task(self._learn_on(), name="sink-table-keys")
        finally:
            self._closed = True
            for submission in tuple(self._open):
                submission.lose("the sink has stopped")

    # --- queue ---------------------------------------------------------------------------------------------------------

    def _queue_up(self, index: int, effect: Effect, submission: Submission, order: str) -> None:
        try:
            self._queue.push(self._request.write(index, effect, submission, order))
        except UnknownTableError:
            self._strangers.append((index, effect, submission, order))
            self._stranger_came.set()
        except (ItemError, NotCarried) as error:
            self.counts.refused += 1
            submission.refuse(index, str(error))

    def _release(self, keys: Iterable[Hashable]) -> None:
        self._queue.release(keys)
        if self._queue:
            self._wake()

    def _wake(self) -> None:
        """Set one idle writer to work; it wakes the next one if there is more."""
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return

    # --- write ---------------------------------------------------------------------------------------------------------

    async def _write_on(self) -> None:
        while True:
            await self._write_next()

    async def _write_next(self) -> None:
        chunk = self._queue.take(MOST_WRITES)
        if self._queue:
            self._wake()
        if chunk:
            await self._writer.write(chunk)
        else:
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle

    # --- tables that only effects name ---------------------------------------------------------------------------------

    async def _learn_on(self) -> None:
        failures = 0
        while True:
            await self._stranger_came.wait()
            if await self._learn():
                failures = 0
            else:
                failures += 1
                await self._patience.wait(failures)

    async def _learn(self) -> bool:
        """Learn the keys of the tables that are waited for and let their writes go on; False if some could not be."""
        learned: dict[str, tuple[str, ...]] = {}
        for table in {effect.table or self._keys.default for _, effect, _, _ in self._strangers}:
            try:
                learned[table] = (await describe_keys(self._client, table)).names
            except AwsError as error:
                self._patience.complain(error)
        # No await from here on: a newer write to a table just learned must not come before those held here.
        self._keys.update(learned)
        self._stranger_came.clear()
        held, self._strangers = self._strangers, []
        for index, effect, submission, order in held:
            if submission.may_write():
                self._queue_up(index, effect, submission, order)
        self._wake()
        return not self._strangers


def _orders(writes: Sequence[tuple[int, Effect]], order: OrderOf) -> Iterator[str]:
    """The place of each write: its record's, and among the writes of one record, which follow each other, its own."""
    before, number, place = -1, 0, ""
    for index, _ in writes:
        if index == before:
            number += 1
            yield nth(place, number)
        else:
            before, number, place = index, 0, order(index)
            yield place
