"""Records that a shard's owner has read and not settled, for whoever asks about one of them. Neither payload nor key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from headrace.flow.delivery.consignment import Waiting
from headrace.model import Record

Wanted: TypeAlias = Callable[[Record], bool]
"""Whether a record is asked about."""

RETRYING: Final = "retrying"
"""Its last attempt failed, and another one will follow."""

BEHIND: Final = "waits behind a retry"
"""An earlier record of its key, or of its batch, is being tried again."""

UNDER_WAY: Final = "under way"
"""The handler has it, or its writes are on their way."""

WAITING: Final = "waits for the handler"
"""It was read and is in no batch yet."""


@dataclass(frozen=True, slots=True)
class OpenRecord:
    """What its owner does with a record. `attempts` are the failed ones, `next_attempt_s` is in how many seconds."""

    sequence_number: str
    sub_sequence_number: int
    state: str
    attempts: int = 0
    error: str = ""
    next_attempt_s: float | None = None


def told(
    record: Record, state: str, attempts: int = 0, error: str = "", next_attempt_s: float | None = None
) -> OpenRecord:
    """A record in one of the states above."""
    return OpenRecord(
        str(record.sequence_number),
        record.sub_sequence_number,
        state,
        attempts,
        error,
        None if next_attempt_s is None else round(max(0.0, next_attempt_s), 3),
    )


def of_queue(queue: Sequence[Waiting], wanted: Wanted, next_attempt_s: float | None = None) -> Iterator[OpenRecord]:
    """Records of one key in their order; the first one has been tried, or is."""
    for place, one in enumerate(queue):
        if not wanted(one.record):
            continue
        if place == 0 and one.attempts:
            yield told(one.record, RETRYING, one.attempts, one.log[-1].error, next_attempt_s)
        else:
            yield told(one.record, BEHIND if queue[0].attempts else UNDER_WAY)


def waiting(records: Iterable[Record], wanted: Wanted) -> Iterator[OpenRecord]:
    """Records that are in no batch yet."""
    return (told(record, WAITING) for record in records if wanted(record))
