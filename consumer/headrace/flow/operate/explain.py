"""One record's whole story: the stream, the lease, the worker that has it, the serving table, the dead letters.

Everything is asked that can be; what cannot be asked is said, with the reason. Nothing is changed, and no payload told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from headrace.core.aggregates import expand, hash_of
from headrace.core.story import Letter, Story, Told, Unasked, verdict_of
from headrace.errors import AwsError, NotFound
from headrace.flow.operate.desk import Desk
from headrace.flow.operate.find import find_record
from headrace.model import Checkpoint, DeadLetter, Lease, Record, ShardId

Ask: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[dict[str, Any] | str]]
"""What the worker at an address says to a question, or why it cannot be asked."""

ReadItem: TypeAlias = Callable[[Record], Awaitable[Told]]
"""What the serving table has of a record."""

ReadLetters: TypeAlias = Callable[[], AsyncIterator[DeadLetter]]


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Who is asked beside the lease table and the stream."""

    ask: Ask
    item: ReadItem
    letters: ReadLetters


async def explain_record(desk: Desk, witnesses: Witnesses, at: Checkpoint, shard: ShardId | None) -> Story:
    """The story of the record with this number. Raises ActRefused, AwsError of the lease table."""
    leases = await desk.leases()
    story = Story(str(at.sequence_number), at.sub_sequence_number)
    among = [lease for lease in leases.values() if shard is None or lease.shard_id == shard]
    try:
        found = await find_record(desk, at.sequence_number, among)
    except AwsError as error:
        found, story = None, replace(story, stream=Unasked(str(error)))
    if found is not None:
        records = _inside(found.record, at)
        story = replace(story, shard=found.shard, records=len(records))
        if len(records) == 1:
            story = replace(story, partition_key=records[0].partition_key, arrival_s=found.record.arrival_s)
            story = replace(story, item=await witnesses.item(records[0]))
    story = await _with_letters(story, witnesses, lambda letter: _is_it(letter, at, shard))
    lease = leases.get(ShardId(story.shard or shard or ""))
    question = {"sequence": str(at.sequence_number)}
    return _judged(await _with_owner(desk, witnesses, story, lease, question), lease, await desk.paused_by())


async def explain_key(desk: Desk, witnesses: Witnesses, key: str) -> Story:
    """What is open and what is buried of a partition key. Raises AwsError of the lease table."""
    leases, hash_key = await desk.leases(), hash_of(key)
    owners = [x for x in leases.values() if not x.done and x.first_hash_key <= hash_key <= x.last_hash_key]
    readable = [lease for lease in owners if not lease.pending] or owners
    lease = readable[0] if readable else None
    story = Story(None, partition_key=key, shard=lease.shard_id if lease else None)
    story = await _with_letters(story, witnesses, lambda letter: letter.record.partition_key == key)
    return _judged(await _with_owner(desk, witnesses, story, lease, {"key": key}), lease, await desk.paused_by())


def _judged(story: Story, lease: Lease | None, paused_by: str | None) -> Story:
    if lease is not None:
        story = replace(
            story,
            owner=lease.owner,
            epoch=lease.epoch,
            checkpoint=lease.checkpoint.encode(),
            paused_by=lease.paused_by or paused_by,
            is_passed=story.is_passed_by(lease.checkpoint),
        )
    return replace(story, verdict=verdict_of(story))


async def _with_owner(
    desk: Desk, witnesses: Witnesses, story: Story, lease: Lease | None, question: Mapping[str, str]
) -> Story:
    if lease is None or lease.owner is None:
        return replace(story, worker=Unasked("no worker owns the shard"))
    worker = (await desk.workers()).get(lease.owner)
    if worker is None or not worker.address:
        return replace(story, worker=Unasked(f"{lease.owner} has no address to be asked at"))
    answer = await witnesses.ask(worker.address, question)
    if isinstance(answer, str):
        return replace(story, worker=Unasked(f"{lease.owner} at {worker.address} cannot be asked: {answer}"))
    read_to = answer.get("read_to", {}).get(lease.shard_id)
    is_read = None if story.sequence_number is None or read_to is None else int(read_to) >= int(story.sequence_number)
    return replace(story, worker=None, open=tuple(_open(answer, lease.shard_id)), is_read=is_read)


def _open(answer: Mapping[str, Any], shard: ShardId) -> Sequence[Mapping[str, Any]]:
    return [record for record in answer.get("open", []) if record.get("shard") == shard]


async def _with_letters(story: Story, witnesses: Witnesses, wanted: Callable[[DeadLetter], bool]) -> Story:
    letters: list[Letter] = []
    shard = story.shard
    try:
        async for letter in witnesses.letters():
            if wanted(letter):
                letters.append(Letter.of(letter))
                shard = shard or letter.record.shard_id
    except NotFound:
        letters = []  # the first worker makes the table
    except AwsError as error:
        return replace(story, asked_letters=Unasked(str(error)))
    return replace(story, letters=tuple(letters), shard=shard)


def _is_it(letter: DeadLetter, at: Checkpoint, shard: ShardId | None) -> bool:
    record = letter.record
    is_there = shard is None or record.shard_id == shard
    inside = at.sub_sequence_number < 0 or record.sub_sequence_number == at.sub_sequence_number
    return is_there and inside and record.sequence_number == at.sequence_number


def _inside(record: Record, at: Checkpoint) -> list[Record]:
    """The record itself, or those of the aggregate that are asked about."""
    users = expand(record)
    if users is None:
        return [record]
    return [u.record for u in users if at.sub_sequence_number in (-1, u.record.sub_sequence_number)]
