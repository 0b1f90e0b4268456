"""The nouns: shards, records, positions and leases.

Everything here is a value. Sequence numbers are integers (Kinesis documents up to 129 digits; 56 today), instants are
monotonic seconds from the injected clock, durations in seconds carry the suffix `_s`, and wall-clock times are aware
datetimes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NewType, TypeAlias

import msgspec

ShardId = NewType("ShardId", str)
WorkerId = NewType("WorkerId", str)
"""One incarnation of a worker: made at its start, never reused."""

Instant = NewType("Instant", float)
"""Seconds on the injected monotonic clock; means nothing outside this process."""

Permit: TypeAlias = Callable[[], bool]
"""May a call that changes something outside start now? False once the lease or the trust in it is gone."""

SUB_DIGITS: Final = 8
"""Digits of a sub-sequence number in a checkpoint: a KPL aggregate of at most 10 MiB holds far fewer records."""

_payload = msgspec.json.Decoder(float_hook=Decimal)


class Record(msgspec.Struct, gc=False):
    """One Kinesis record as a handler sees it. Treat it as read-only.

    `data` is the payload, decoded from base64. `partition_key` is "" where the stream delivers none (record
    distribution strategy AUTO). `arrival_s` is the approximate arrival in epoch seconds as Kinesis gives it: not
    accurate, not monotone. `sub_sequence_number` counts from 0 within a KPL aggregate and is -1 for a plain record.
    `attempt` is 1 at the first call of the handler with this record.
    """

    data: bytes
    partition_key: str
    sequence_number: int
    arrival_s: float
    shard_id: str = ""
    sub_sequence_number: int = -1
    attempt: int = 1

    @property
    def arrival(self) -> datetime:
        """The approximate arrival time, aware, in UTC."""
        return datetime.fromtimestamp(self.arrival_s, UTC)

    @property
    def position(self) -> str:
        """What tells it from all other records of the stream: its sequence number, inside an aggregate with `.` and 8 digits."""
        if self.sub_sequence_number < 0:
            return str(self.sequence_number)
        return f"{self.sequence_number}.{self.sub_sequence_number:0{SUB_DIGITS}d}"

    def json(self) -> Any:
        """The payload parsed as JSON; numbers with a fraction or exponent become `Decimal`, exactly.

        Raises `msgspec.DecodeError` when the payload is not JSON, or is nested deeper than Python's own stack.
        """
        try:
            return _payload.decode(self.data)
        except UnicodeDecodeError:
            raise msgspec.DecodeError("not UTF-8") from None
        except RecursionError:
            raise msgspec.DecodeError("nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Page:
    """One GetRecords answer, or one event of a subscription (its `next_iterator` serves only to say that there is more).

    `next_iterator` is None once a closed shard has been read to its end; `children` are filled then. `size` is the
    decoded payload in bytes. `behind_s` is the source's own idea of the distance to the tip; some servers say 0 always.
    """

    records: list[Record]
    next_iterator: str | None
    behind_s: float
    size: int
    children: tuple[Shard, ...] = ()
    continuation: int | None = None
    """The sequence number that a subscription goes on behind, also where no records came; None of GetRecords."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as ListShards or the last page of its parent describes it; `parents` has 0, 1 (split) or 2 (merge)."""

    shard_id: ShardId
    parents: tuple[ShardId, ...] = ()
    first_hash_key: int = 0
    last_hash_key: int = 2**128 - 1


@dataclass(frozen=True, slots=True)
class StreamDescription:
    """What DescribeStreamSummary says. `now_s` is the service's own clock at the answer, in epoch seconds.

    `keeps_key_order` is False where the stream spreads records over its shards whatever their partition keys.
    """

    name: str
    arn: str
    created: datetime
    retention_s: float
    now_s: float
    keeps_key_order: bool = True


@dataclass(frozen=True, slots=True)
class TrimHorizon:
    """Read from the oldest record the stream still holds."""


@dataclass(frozen=True, slots=True)
class Latest:
    """Read what arrives after the application's first start; resolved once to an instant and stored."""


@dataclass(frozen=True, slots=True)
class AtTimestamp:
    """Read from this instant on, by approximate arrival time."""

    instant: datetime


StartPosition: TypeAlias = TrimHorizon | Latest | AtTimestamp


@dataclass(frozen=True, slots=True)
class AtSequence:
    """Read from this record on, the record itself included: where an operator may put a shard."""

    sequence_number: int


ShardStart: TypeAlias = TrimHorizon | AtTimestamp | AtSequence
"""Where a shard begins to be read that has no checkpoint yet."""


def position_text(sequence_number: int, sub_sequence_number: int) -> str:
    """`Checkpoint.encode` of one record, without the object."""
    digits = str(sequence_number)
    sub = "" if sub_sequence_number < 0 else f".{sub_sequence_number:0{SUB_DIGITS}d}"
    return f"{len(digits):03d}{digits}{sub}"


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """All records of a shard up to here are settled or buried.

    Ordered: TRIM_HORIZON, then positions by sequence number and sub-sequence number, then SHARD_END. The text form
    (`encode`) sorts by bytes as the values do, for any length of number: three digits of length, the digits, and for a
    record inside a KPL aggregate `.` and eight digits. `sub_sequence_number` -1 stands for a record that is no aggregate.
    """

    rank: int
    sequence_number: int = 0
    sub_sequence_number: int = -1

    @classmethod
    def at(cls, sequence_number: int, sub_sequence_number: int = -1) -> Checkpoint:
        """The position of one record."""
        return cls(0, sequence_number, sub_sequence_number)

    @classmethod
    def of(cls, record: Record) -> Checkpoint:
        """Its place in its shard."""
        return cls(0, record.sequence_number, record.sub_sequence_number)

    def encode(self) -> str:
        """The text stored in the lease table."""
        if self.rank < 0:
            return "000"
        if self.rank > 0:
            return "~END"
        return position_text(self.sequence_number, self.sub_sequence_number)

    @classmethod
    def decode(cls, text: str) -> Checkpoint:
        """The inverse of `encode`. Raises ValueError on any other text."""
        if text == "000":
            return TRIM_HORIZON
        if text == "~END":
            return SHARD_END
        number, _, sub = text[3:].partition(".")
        parsed = cls.at(int(number), int(sub) if sub else -1)
        if parsed.encode() != text:
            raise ValueError(f"not a checkpoint: {text!r}")
        return parsed


TRIM_HORIZON: Final = Checkpoint(-1)
SHARD_END: Final = Checkpoint(1)


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease row: the right to one shard.

    `owner` is None while unowned. `pending` are the parents not finished yet: the shard may be read once it is empty.
    `start` is where to begin while `checkpoint` is TRIM_HORIZON. `throughput` is in bytes/s. `up_to_s` is a time of day
    (epoch seconds): what arrived before it was settled when the row was written last; 0 where that is not known.
    """

    shard_id: ShardId
    epoch: int
    checkpoint: Checkpoint
    owner: WorkerId | None = None
    pending: frozenset[ShardId] = frozenset()
    parents: tuple[ShardId, ...] = ()
    children: frozenset[ShardId] = frozenset()
    done: bool = False
    done_at_s: float = 0.0
    start: ShardStart = TrimHorizon()
    first_hash_key: int = 0
    last_hash_key: int = 2**128 - 1
    throughput: float = 0.0
    up_to_s: float = 0.0
    wanted_by: WorkerId | None = None
    """The worker that asked for it."""
    shunned_by: WorkerId | None = None
    """The worker that gave it up because it got nowhere with it: others go first."""
    may_have_letters: frozenset[Checkpoint] = frozenset()
    """Records behind the checkpoint of which an owner stored a dead letter, or was about to (`core.redriven`)."""
    generation: int = 0
    """How many times the stream was resharded on the way to this shard: one more than its parents'."""
    paused_by: str | None = None
    """The operator who paused it: its owner gives it up, and nobody takes it."""
    skips: frozenset[str] = frozenset()
    """Records, as the text of their positions, that an operator wants buried without a call."""
    replay: int = 0
    """The first epoch that may be held since an operator put it somewhere else; 0 where nobody did."""
    first_read: Checkpoint | None = None
    """Where it is read again: the first record that was found there. Those before it had been trimmed, or were not meant.

    SHARD_END where none was found up to the tip.
    """


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker row. `state` is live, leaving, fenced or left; `generation` grows with each ownership change it made.

    `address` is where it takes nudges (host:port), empty for nowhere; `deployment` names the rollout it belongs to and
    `began_s` is the time of day of its start; `maximum` is the most leases it may hold, None for any number; `stalled`
    counts those of its shards that make no progress. `drained_by` is the operator who wants it to hold nothing; `word`
    changes when an operator left word somewhere in the table.
    """

    worker_id: WorkerId
    heartbeat: int
    state: str
    name: str = ""
    held: int = 0
    generation: int = 0
    address: str = ""
    deployment: str = ""
    began_s: float = 0.0
    maximum: int | None = None
    stalled: int = 0
    drained_by: str | None = None
    word: str = ""


@dataclass(frozen=True, slots=True)
class WindowCall:
    """One call for a tumbling window: its bounds (epoch seconds), the state so far (JSON), and which call it is."""

    shard_id: ShardId
    start_s: float
    end_s: float
    state: Mapping[str, Any]
    is_final: bool = False
    is_terminated_early: bool = False


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One failed call that a buried record was in: when it ended, with how many records, and the class of the error."""

    at: datetime
    records: int
    error: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A buried record: everything needed to understand it and to deliver it again.

    `reason` is a stable word (`RetryAttemptsExhausted`, `RecordAgeExceeded`, `RecordTooLarge`, `Rejected`, `WriteRefused`,
    `NotJson`, `KeyParked`), `error` the class of the last error, `message` its text and `traceback` where it was raised.
    `attempts` are the failed calls of its budget, `log` the first and last ones. `request_id` is the last call's of a
    Lambda handler; `is_function_error` tells a handler that raised, crashed or ran out of time from one whose answer said
    that the record failed. `handler` names the code that failed. `generation` and `replay` are the shard's.
    """

    stream: str
    record: Record
    reason: str
    error: str
    message: str
    attempts: int
    buried_at: datetime
    worker: WorkerId
    epoch: int
    stream_arn: str = ""
    handler: str = ""
    traceback: str = ""
    request_id: str = ""
    is_function_error: bool = True
    log: tuple[FailedAttempt, ...] = ()
    generation: int = 0
    replay: int = 0
