"""`headrace explain`: one record's whole story, for people and for programs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from headrace.aws.get_item import get_item
from headrace.aws.session import Clients
from headrace.cli import parts
from headrace.cli.desk import Manner, open_desk, shard_of
from headrace.core.effects import effects_of
from headrace.core.seeking import moment
from headrace.core.story import Item, Story, Told, Unasked, Verdict
from headrace.errors import AwsError, Reject, SettingsError
from headrace.flow.operate.explain import ReadLetters, Witnesses, explain_key, explain_record
from headrace.model import Checkpoint, DeadLetter, Record
from headrace.operations import Put
from headrace.ops.ask import ask_about
from headrace.ports import Handler
from headrace.settings import Settings

EXIT_CODES: Final = {
    Verdict.WRITTEN: 0,
    Verdict.IDLE: 0,
    Verdict.UNKNOWN: 1,
    Verdict.RETRYING: 3,
    Verdict.BURIED: 4,
    Verdict.NEVER_SEEN: 5,
    Verdict.WAITING: 6,
}

SHORTEST_NUMBER: Final = 15
"""Digits from which on a bare number is taken for a sequence number, not for a key."""

WHOLE: Final = 56
"""Digits of AWS's sequence numbers."""

SHORTENED: Final = "\N{HORIZONTAL ELLIPSIS}"
"""What `dead-letters list` puts before the last digits of a number."""


def explain(settings: Settings, about: str | None, key: str | None, shard: str | None, *, as_json: bool) -> int:
    """Print the story; the exit code is its verdict. Raises SettingsError."""
    if (about is None) == (key is None):
        raise SettingsError("SEQUENCE", about, "is missing", "Write a sequence number or a partition key")
    if not (about or key):
        raise SettingsError("SEQUENCE", "", "is empty", "Write a sequence number or a partition key")
    story = asyncio.run(_explain(settings, about, key, shard))
    if as_json:
        sys.stdout.write(msgspec.json.encode(msgspec.to_builtins(story, enc_hook=str)).decode() + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _words(story))
    return EXIT_CODES[story.verdict]


async def _explain(settings: Settings, about: str | None, key: str | None, shard: str | None) -> Story:
    async with open_desk(settings, Manner()) as (desk, clients):
        witnesses = Witnesses(ask_about, await _item_reader(clients, settings), _letter_reader(clients, settings))
        at = None if about is None or key is not None else _number(about)
        if at is None:
            return await explain_key(desk, witnesses, key or about or "")
        at = await _whole(at, witnesses.letters)
        return await explain_record(desk, witnesses, at, None if shard is None else shard_of(shard))


def _number(text: str) -> Checkpoint | None:
    """A sequence number, or NUMBER.SUB inside an aggregate; None for what is a key."""
    number, _, sub = text.removeprefix(SHORTENED).partition(".")
    if not number.isdecimal() or len(number) < SHORTEST_NUMBER or (sub and not sub.isdecimal()):
        return None
    return Checkpoint.at(int(number), int(sub) if sub else -1)


async def _whole(at: Checkpoint, letters: ReadLetters) -> Checkpoint:
    """The number of the one dead letter that ends with these digits; what was written where there is no such one."""
    digits, found = str(at.sequence_number), set()
    if len(digits) >= WHOLE:
        return at
    with suppress(AwsError):  # who cannot be asked is said in the story
        async for letter in letters():
            if str(letter.record.sequence_number).endswith(digits):
                found.add(letter.record.sequence_number)
    if len(found) > 1 and at.sequence_number not in found:
        raise SettingsError(
            "SEQUENCE", digits, f"{len(found)} records with dead letters end with it", "Write all digits"
        )
    return Checkpoint.at(found.pop(), at.sub_sequence_number) if len(found) == 1 else at


class _Letters:
    """Reads the dead letters, if they can be read."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients = clients
        self._settings = settings

    async def __call__(self) -> AsyncIterator[DeadLetter]:
        async with parts.open_dead_letter_store(self._clients, self._settings) as store:
            async for letter in store.read(self._settings.stream.label):
                yield letter


def _letter_reader(clients: Clients, settings: Settings) -> _Letters:
    return _Letters(clients, settings)


class _Items:
    """Reads the item that the mapping makes of a record."""

    def __init__(self, clients: Clients, settings: Settings, mapping: Handler, key: tuple[str, ...]) -> None:
        self._client = clients.dynamodb
        self._table = settings.serving_table
        self._sequence = settings.item.sequence_attribute
        self._mapping = mapping
        self._key = key

    async def __call__(self, record: Record) -> Told:
        try:
            (effect,) = effects_of(self._mapping.call(record))
        except (Reject, ValueError) as error:
            return Unasked(f"the item mapping makes nothing of it: {error}")
        if not isinstance(effect, Put):
            return Unasked("the item mapping makes no item of it")
        key = {name: effect.item[name] for name in self._key}
        try:
            found = await get_item(self._client, self._table, key)
        except AwsError as error:
            return Unasked(str(error))
        named = None if found is None or self._sequence is None else found.get(self._sequence)
        is_own = None if named is None else str(named) == record.position
        return Item(self._table, {name: str(value) for name, value in key.items()}, found is not None, is_own)


async def _item_reader(clients: Clients, settings: Settings) -> Any:
    if settings.handler is not None:
        return _nobody
    schema = await parts.serving_schema(clients, settings)
    return _Items(clients, settings, parts.item_mapping_of(settings, schema), schema.names)


async def _nobody(_: Record) -> Told:
    return Unasked("your handler makes the keys, and is not called to find out")


# --- words ------------------------------------------------------------------------------------------------------------


def _words(story: Story) -> Iterator[str]:
    what = f"partition key {story.partition_key}" if story.sequence_number is None else f"record {_position(story)}"
    yield f"{what}: {story.verdict.value.upper()}"
    if story.sequence_number is not None:
        yield _line("stream", _stream(story))
    if story.partition_key is not None and story.sequence_number is not None:
        yield _line("partition key", story.partition_key)
    if story.shard is not None:
        yield _line("lease", _lease(story))
    yield from (_line("worker", text) for text in _worker(story))
    if story.sequence_number is not None:
        yield _line("item", _item(story.item))
    yield from (_line("dead letter", text) for text in _letters(story))
    if story.verdict is Verdict.IDLE:
        yield _line("taken as", _key_hint(story.partition_key or ""))


def _line(name: str, text: str) -> str:
    return f"  {name:<14} {text}"


def _key_hint(key: str) -> str:
    digits = "; a sequence number is written with all of its digits" if key.isdecimal() else ""
    return f"a partition key, of which nothing is open or buried, be it settled or unknown{digits}"


def _position(story: Story) -> str:
    sub = "" if story.sub_sequence_number < 0 else f".{story.sub_sequence_number}"
    return f"{story.sequence_number}{sub}"


def _stream(story: Story) -> str:
    if story.stream is not None:
        return f"unknown: {story.stream.why}"
    if not story.records:
        return "no shard holds it: it was never put, or has outlived the retention"
    if story.records > 1:
        return f"an aggregate of {story.records} records in {story.shard}; ask for one as {story.sequence_number}.0"
    arrival = "" if story.arrival_s is None else f", arrived {moment(story.arrival_s)}"
    return f"in {story.shard}{arrival}"


def _lease(story: Story) -> str:
    if story.epoch is None:
        return f"{story.shard} has none any more: it was finished"
    owner = story.owner or "nobody"
    passed = {True: "; the checkpoint has passed it", False: "; the checkpoint has not passed it", None: ""}
    paused = "" if story.paused_by is None else f"; paused by {story.paused_by}"
    return f"{story.shard}, owned by {owner} under epoch {story.epoch}{passed[story.is_passed]}{paused}"


def _worker(story: Story) -> Iterator[str]:
    if story.worker is not None:
        yield f"unknown: {story.worker.why}"
    elif not story.open:
        yield "has nothing of it open" if story.is_passed or not story.is_read else _ahead(story)
    for record in story.open:
        failed = (
            f", {record['attempts']} failed attempts, the last with {record['error']}" if record["attempts"] else ""
        )
        due = record.get("next_attempt_s")
        after = "" if due is None else f", the next one in {due:g} s"
        yield f"{record['state']}: {record['sequence_number']}{failed}{after}"


def _ahead(story: Story) -> str:
    return f"has read it: its writes are under way, or settled ahead of the checkpoint of {story.shard}"


def _item(item: Told | None) -> str:
    match item:
        case None:
            return "not looked for"
        case Unasked(why):
            return f"unknown: {why}"
        case Item(table, key, is_there, is_its_own):
            named = {True: "written by this record", False: "written by another record", None: "there"}
            shown = ", ".join(f"{name}={value}" for name, value in key.items())
            return f"{table} {shown}: {named[is_its_own] if is_there else 'not there'}"


def _letters(story: Story) -> Iterator[str]:
    if story.asked_letters is not None:
        yield f"unknown: {story.asked_letters.why}"
    elif not story.letters:
        yield "none"
    for letter in story.letters:
        error = f", {letter.error}" if letter.error else ""
        at = letter.buried_at.isoformat(timespec="seconds")
        yield f"{letter.sequence_number}: {letter.reason}{error}, {letter.attempts} failed attempts, buried {at}"
