"""The Protocols the flow needs from the outside. Each method names the errors it may raise.

Implementations: `aws/` against AWS, `testing/` in memory; both pass one conformance suite.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from headrace.errors import AwsError
from headrace.loss import Loss
from headrace.model import (
    AtTimestamp,
    Checkpoint,
    DeadLetter,
    Instant,
    Page,
    Permit,
    Record,
    Shard,
    ShardId,
    StreamDescription,
    TrimHorizon,
    WindowCall,
)
from headrace.operations import Effect
from headrace.rows import Key, Outcome, Request, Row, TransactionOutcome, UpdateRow
from headrace.traces import Traces
from headrace.transactions import CommitOutcome, Transaction


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> Instant:
        """Monotonic seconds that go on while the machine is suspended (CLOCK_BOOTTIME)."""

    def wall(self) -> datetime:
        """The time of day, aware, UTC: only for what is stored or shown."""


class Stream(Protocol):
    """One Kinesis stream. Every method may raise Throttled, Unavailable, Denied or NotFound."""

    async def describe(self) -> StreamDescription:
        """What the stream is, and the service's own clock."""

    async def list_shards(self) -> list[Shard]:
        """Every shard that is still listed, open or closed."""

    async def iterator(self, shard: ShardId, after: Checkpoint | TrimHorizon | AtTimestamp) -> str:
        """An iterator just behind `after` (a position), or at a start position."""

    async def get_records(self, iterator: str, limit: int, shard: ShardId) -> Page:
        """At most `limit` (1 to 10,000) records. Raises IteratorExpired when the iterator is older than 5 minutes."""


class FanOut(Protocol):
    """Enhanced fan-out: the shards of one stream as one registered consumer is sent them."""

    @property
    def is_open(self) -> bool:
        """Whether the consumer is registered and active; until then there is nothing to subscribe as."""

    def subscribe(
        self, shard: ShardId, after: Checkpoint | TrimHorizon | AtTimestamp
    ) -> AbstractAsyncContextManager[AsyncIterator[Page]]:
        """A subscription of at most 5 minutes from just behind `after` on; leaving the context closes it at once.

        Entering raises SubscriptionTaken within 5 s of another subscription's success (SubscribeToShard, API reference),
        Throttled, Unavailable, Denied or NotFound. The pages end when the service ends the subscription, and a page
        without `next_iterator` is the last of the shard. The next page raises Unavailable when none comes in time
        (the service sends an empty one about every 5 s), and SubscriptionTaken when another subscription took over.
        """


class LeaseTable(Protocol):
    """Conditional rows in one table. Throttled: certainly not applied. Unavailable: may have been, or may yet be."""

    async def apply(self, request: Request) -> Outcome:
        """One conditional write. Raises Throttled, Unavailable, Denied, NotFound."""

    async def apply_each(self, requests: Sequence[UpdateRow]) -> list[Outcome | AwsError]:
        """Up to `rows.MOST_AT_ONCE` updates of different rows in one call, each by itself: an outcome or an error for each.

        The row of an update that took place is not told. Raises Throttled, Unavailable, Denied, NotFound for all of them.
        """

    async def transact(self, requests: Sequence[Request], token: str) -> TransactionOutcome:
        """All or none. `token` (at most 36 characters) makes a repeat of the same call harmless.

        Raises Throttled also for a conflict with another transaction; Unavailable, Denied, NotFound.
        """

    async def query(self, pk: str, *, consistent: bool = False) -> list[Row]:
        """Every row of one partition, eventually consistent unless it is to be `consistent`. Raises Throttled, Unavailable, Denied, NotFound."""

    async def get(self, key: Key) -> Row | None:
        """One row, strongly consistent. Raises Throttled, Unavailable, Denied, NotFound."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """DynamoDB will never take this write as it is (too large, wrong key type, not a number...)."""

    reason: str


OrderOf: TypeAlias = Callable[[int], str]
"""The place of the record with an index among all records of its key: greater is newer."""


def unordered(index: int) -> str:
    """Of writes that no write mode compares. Raises LookupError where one does."""
    raise LookupError(f"nobody told the place of record {index}")


class Sink(Protocol):
    """Where results go. One per worker, shared by its shards."""

    def submit(
        self, writes: Sequence[tuple[int, Effect]], permit: Permit, order: OrderOf = unordered
    ) -> asyncio.Future[Mapping[int, Refusal]]:
        """Queue the writes; resolves when every one is durable, superseded by a newer one, or refused.

        Each write carries the caller's index of the record it belongs to, those of a record beside each other; refusals
        come back under that index, and `order` tells the record's place (`core.record_order`) while this is called.
        Writes to one item key take effect in the order of submission. Throttling and outages are retried inside for as long
        as `permit()` holds; once it does not, nothing more is sent and the future raises LeaseLost. Cancelling the
        future drops what was not sent yet.
        """

    async def calls_ended(self, permit: Permit) -> None:
        """Wait until no request with writes under this permit is under way, which is over: no further one begins."""


class Transactions(Protocol):
    """Where results go together with the checkpoint that passes them."""

    def key(self, effect: Effect) -> Hashable:
        """Equal for effects on one item. Raises ItemError when it has no key, UnknownTableError where `learn` has to come first."""

    async def learn(self, table: str | None) -> None:
        """Find out a table's key. Raises Throttled, Unavailable, Denied, NotFound."""

    async def commit(self, transaction: Transaction, permit: Permit) -> CommitOutcome:
        """Once; `permit` is asked right before it is sent.

        Raises LeaseLost without the permit; Throttled, also for a conflict with another write of the same items;
        Unavailable: it may have been applied, or may yet be; Denied, NotFound, and AwsError for what nobody has heard of.
        """


class DeadLetters(Protocol):
    """Where buried records go."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Durable when it returns; the same letter again changes nothing. Raises Throttled, Unavailable, Denied, NotFound."""


class DeadLetterStore(DeadLetters, Protocol):
    """A destination that can be read again."""

    def read(self, stream: str | None = None, shard: ShardId | None = None) -> AsyncIterator[DeadLetter]:
        """Every letter, those of a stream, or those of one shard of it. Raises Throttled, Unavailable, Denied, NotFound."""

    async def remove(self, letters: Sequence[DeadLetter]) -> None:
        """They are gone when it returns; one that is gone already is no error. Raises as `read` does."""


@dataclass(frozen=True, slots=True)
class Handler:
    """User code (or the item mapping), ready to be called with one record.

    `call` returns what `model.Effects` allows; with `is_async` it returns an awaitable of that. Anything it raises
    counts as a failure of the record, except that `Reject` buries at once and `Retry` names its own delay.
    """

    name: str
    call: Callable[[Record], Any]
    is_async: bool = False


@dataclass(frozen=True, slots=True)
class BatchHandler:
    """User code that takes a batch: a batch handler, or a Lambda handler in a process of its own.

    `call` is given the records of one shard, in order, and returns what the handler returned: for a Lambda handler the
    JSON text as bytes, for a batch handler a value. It raises CallFailed for what happened in another process, NotCalled
    when the handler was not run at all, Reject, Retry or anything else for what the handler itself raised here.
    `size_of` gives the bytes that a record takes in one call (the comma between two included) and `overhead` what a call
    takes beside its records; None where records are handed over as they are, and nothing limits a batch but its count.
    """

    name: str
    call: Callable[[Sequence[Record], BatchContext], Awaitable[Any]]
    size_of: Callable[[Record], int] | None = None
    overhead: int = 0

    @property
    def takes_events(self) -> bool:
        """Whether it is a Lambda handler: what it gets is encoded, and limited in bytes."""
        return self.size_of is not None


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What a call of a batch handler is told beside its records.

    `request_id` names the call, in the handler's context and in dead letters. `window` is there with tumbling windows.
    """

    request_id: str
    window: WindowCall | None = None


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """What a running shard can tell at a moment.

    `held_by` is the sequence number of the record that holds the checkpoint: the oldest one read and not settled.
    `oldest_open_arrival_s` is the arrival (epoch seconds) of the oldest record read and not settled, None when there is
    none; `behind_s` the last page's distance to the tip as the source gave it. `last_progress` is when the checkpoint's
    mark last moved, or the shard was found to be at its tip with nothing open; `last_settled` when any record was settled
    last, or the same.
    """

    shard_id: ShardId
    epoch: int
    checkpoint: str
    open_records: int
    retrying_records: int
    oldest_open_arrival_s: float | None
    behind_s: float
    last_progress: Instant
    last_settled: Instant
    held_by: int | None = None
    halted: Loss | None = None
    """Why it is held and not read, if it is."""


class Observer(Protocol):
    """What the flow tells about itself: at most a few calls a batch, never one per record on the good path."""

    def shard_opened(self, shard: ShardId, status: Callable[[], ShardStatus]) -> None:
        """A shard's run began; `status` may be asked at any moment while it lasts, so that a stuck shard shows."""

    def shard_closed(self, shard: ShardId) -> None:
        """A shard's run ended: whatever is shown per shard must go."""

    def page_fetched(self, shard: ShardId, records: int, size: int) -> None:
        """A GetRecords answer came, maybe an empty one."""

    def fetch_failed(self, shard: ShardId, reason: str) -> None:
        """A GetRecords call failed; reason is throttled, expired or error."""

    def batch_handled(self, records: int, seconds: float) -> None:
        """The handler ran over a batch."""

    def records_settled(self, shard: ShardId, records: int, oldest_arrival_s: float) -> None:
        """Their effects are durable."""

    def records_filtered(self, shard: ShardId, records: int, not_json: int) -> None:
        """So many were settled without a call because no filter matched them; `not_json` could not be looked into."""

    def records_foreign(self, shard: ShardId, records: int) -> None:
        """So many of aggregates belong to other shards: their producer sends them again."""

    def record_retried(self, shard: ShardId) -> None:
        """An attempt failed and another will follow."""

    def records_buried(self, shard: ShardId, records: int, reason: str) -> None:
        """Their dead letters are durable."""

    def checkpoint_written(self, shard: ShardId) -> None:
        """The lease row was brought up to date."""

    def destination_failed(self, shard: ShardId) -> None:
        """A dead letter could not be stored; it is being tried again and the shard waits."""

    def lease_changed(self, shard: ShardId, transition: str) -> None:
        """Transition is claimed, taken, adopted, received, handed_over, released, lost or finished."""

    def shard_stalled(self, shard: ShardId) -> None:
        """Nothing was settled for the stall limit, and it is not at its tip, though the worker lives."""

    def loss_found(self, loss: Loss) -> None:
        """Records, or their order, may be lost."""

    def heartbeat_sent(self, seconds: float) -> None:
        """A heartbeat was acknowledged after this long. Called from the heartbeat's thread."""

    def loop_delayed(self, seconds: float) -> None:
        """The main loop woke this much later than it was asked to: something kept it busy."""

    def worker_fenced(self) -> None:
        """This incarnation was declared dead by another worker."""

    def peer_fenced(self) -> None:
        """This worker declared a silent one dead."""


class Aside(Protocol):
    """Where the heartbeat runs, so that what keeps the main loop busy does not hold it up."""

    async def run(self, work: Callable[[LeaseTable], Awaitable[None]]) -> None:
        """Run `work` on an event loop and with a connection to the lease table of its own, until it ends.

        Cancelling this cancels the work; what the work raises is raised here.
        """


async def nobody(_: Sequence[str]) -> None:
    """Nudges nobody."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything one worker reaches or is told by, together.

    `chance` gives random numbers in [0, 1). `nudge` tells the workers at these addresses that leases came free: a hint
    that only makes them look sooner, never raises, and may be lost.
    """

    stream: Stream
    table: LeaseTable
    sink: Sink
    dead_letters: DeadLetters
    handler: Handler | BatchHandler
    observer: Observer
    clock: Clock
    chance: Callable[[], float]
    aside: Aside
    nudge: Callable[[Sequence[str]], Awaitable[None]] = nobody
    fan_out: FanOut | None = None
    """None: shards are polled."""
    transactions: Transactions | None = None
    """Takes the sink's place where results and checkpoint go together."""
    traces: Traces | None = None
    """None: nothing is traced."""
