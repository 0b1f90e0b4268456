"""Puts records into the stream several at a time, each where a consumer will look for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from headrace.errors import Denied, Rejected, Retryable, SettingsError
from headrace.model import Shard
from headrace_producer.aggregates import Parcel, Routes, packed
from headrace_producer.outbox import MAX_RECORDS
from headrace_producer.put import Answer, Placed
from headrace_producer.workload import Draft

STRAYED: Final = "WrongShard"
"""What became of a record whose aggregate went to a shard that it does not belong to: consumers drop it there."""

NOT_SENT: Final = "NoRoomInCall"
"""What became of a record whose aggregate was one too many for a call."""

log = structlog.get_logger(__name__)

ListShards = Callable[[], Awaitable[Sequence[Shard]]]


class EntryWriter(Protocol):
    """One PutRecords call of what is ready to be sent."""

    async def put_entries(self, entries: Sequence[tuple[bytes, str]]) -> Sequence[Answer]:
        """An answer for each pair of data and partition key. Raises as `put.Writer`."""


class AggregatingWriter:
    """Writes aggregates of at most `most_bytes`.

    Where a key belongs is predicted. After a reshard the answer names another shard than was foreseen: then the shards
    are listed anew, and the records for which it is the wrong one count as refused and are sent again, as by the Kinesis
    Producer Library.
    """

    def __init__(self, writer: EntryWriter, list_shards: ListShards, most_bytes: int) -> None:
        self._writer = writer
        self._list_shards = list_shards
        self._most_bytes = most_bytes
        self._routes = Routes(())

    async def check(self) -> None:
        """List the shards. Raises SettingsError where that is not allowed, Throttled, Unavailable."""
        try:
            self._routes = Routes(await self._list_shards())
        except (Denied, Rejected) as error:
            raise SettingsError("--aggregate", True, str(error), "It needs kinesis:ListShards") from error

    async def put(self, drafts: Sequence[Draft]) -> Sequence[Answer]:
        """One PutRecords call; an answer for each record, in their order. Raises as `put.Writer`."""
        parcels = packed(drafts, self._routes, self._most_bytes)[:MAX_RECORDS]
        placed = await self._writer.put_entries([(parcel.data(), parcel.key) for parcel in parcels])
        if any(_is_surprise(parcel, answer) for parcel, answer in zip(parcels, placed, strict=True)):
            await self._learn()
        answers: list[Answer] = [NOT_SENT] * len(drafts)
        for parcel, answer in zip(parcels, placed, strict=True):
            for place, one in zip(parcel.places, self._of_each(parcel, answer), strict=True):
                answers[place] = one
        return answers

    async def _learn(self) -> None:
        try:
            self._routes = Routes(await self._list_shards())
        except Retryable as error:  # what was put stays put: the records of unknown places are sent again
            log.warning("shards_not_listed", error=str(error))
            return
        log.info("shards_listed_anew")

    def _of_each(self, parcel: Parcel, answer: Answer) -> list[Answer]:
        """What became of each of its records."""
        if not isinstance(answer, Placed) or len(parcel.drafts) == 1:
            return [answer] * len(parcel.drafts)
        shard, number, _ = answer
        inside: list[Answer] = [Placed(shard, number, sub) for sub in range(len(parcel.drafts))]
        if not _is_surprise(parcel, answer):
            return inside
        belongs = self._routes.belongs
        return [one if belongs(draft.key, shard) else STRAYED for draft, one in zip(parcel.drafts, inside, strict=True)]


def _is_surprise(parcel: Parcel, answer: Answer) -> bool:
    """Whether an aggregate went to another shard than was foreseen. A plain record is always where it belongs."""
    return isinstance(answer, Placed) and answer.shard != parcel.shard and len(parcel.drafts) > 1
