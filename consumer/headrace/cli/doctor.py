"""`headrace doctor`: the production readiness checklist, asked of the real resources. Nothing is changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import msgspec

import headrace
from headrace.aws import checkup
from headrace.aws.kinesis import KinesisStream
from headrace.aws.session import Clients, aws_clients
from headrace.cli import parts
from headrace.cli.desk import Manner, open_desk
from headrace.cli.iam import needs_of, place_of
from headrace.core import readiness
from headrace.core.destination import parse
from headrace.core.iam import worker_policy
from headrace.core.readiness import Line, NotTold, StreamFacts, Word
from headrace.errors import AwsError, NotFound, SettingsError
from headrace.flow.clock import SystemClock
from headrace.handlers import templates
from headrace.model import WorkerRow
from headrace.ops.ask import STATUS, ask
from headrace.settings import Settings

MOST_LETTERS: Final = 10_000
"""Dead letters that are counted: reading more takes longer than the answer is worth."""


def doctor(settings: Settings, *, as_json: bool) -> int:
    """Print the checklist; 1 when something fails, else 0. Raises SettingsError without usable credentials."""
    lines = asyncio.run(_examine(settings))
    if as_json:
        sys.stdout.write(msgspec.json.encode([msgspec.to_builtins(line) for line in lines]).decode() + "\n")
    else:
        sys.stdout.writelines(f"{text}\n" for text in _words(lines))
    return 1 if any(line.word is Word.FAIL for line in lines) else 0


async def _examine(settings: Settings) -> list[Line]:
    async with aws_clients() as clients:
        stream = await checkup.stream_facts(clients.kinesis, settings.stream.name)
        lines = list(_stream(stream, settings))
        lines += [line async for line in _tables(clients, settings)]
        lines += _key(settings)
        lines += [line async for line in _letters(clients, settings)]
        lines += [line async for line in _fleet(settings, stream)]
        lines += [line async for line in _machine(clients, settings)]
    return lines


def _stream(facts: StreamFacts | NotTold, settings: Settings) -> Iterator[Line]:
    if isinstance(facts, NotTold):
        yield facts.line("stream")
    else:
        yield from readiness.judge_stream(facts, needs_order=settings.sink.needs_order)


async def _tables(clients: Clients, settings: Settings) -> AsyncIterator[Line]:
    for role, name, ttl, holds_leases in _roles(settings):
        facts = await checkup.table_facts(clients.dynamodb, name)
        if isinstance(facts, NotTold):
            made = facts.is_missing and role != "serving table" and settings.create_tables
            yield (
                Line(role, Word.WARN, f"{name} is not there", "The first worker makes it") if made else facts.line(role)
            )
            continue
        for line in readiness.judge_table(role, facts, ttl=ttl, holds_leases=holds_leases):
            yield line


def _roles(settings: Settings) -> Iterator[tuple[str, str, str | None, bool]]:
    yield "lease table", settings.lease.table, "exp", True
    if settings.sink.table is not None:
        yield "serving table", settings.sink.table, settings.item.ttl_attribute, False
    if settings.dead_letters.table is not None:
        yield "dead-letter table", settings.dead_letters.table, None, False


def _key(settings: Settings) -> Iterator[Line]:
    if settings.handler is not None:
        mend = "See that keys have many values: one partition takes 1,000 writes a second"
        yield Line("key design", Word.UNKNOWN, "your handler makes the keys", mend)
        return
    if settings.item.key is None:
        yield Line("key design", Word.OK, "the payload brings the table's key")
        return
    try:
        attribute, template = next(iter(templates.split(settings.item.key).items()))
        fields = list(templates.fields(template))
    except templates.BadTemplate as error:
        yield Line("key design", Word.FAIL, str(error), "Mend HEADRACE_ITEM_KEY")
        return
    yield readiness.judge_key(fields, attribute)


async def _letters(clients: Clients, settings: Settings) -> AsyncIterator[Line]:
    """The destination, whether it is there, and what waits in it."""
    destination = settings.dead_letters.destination
    try:
        if destination.startswith("sns:"):
            async with parts.open_dead_letters(clients, settings):
                yield Line("dead letters", Word.OK, f"go to {destination}, which keeps none to be counted")
            return
        if destination.startswith("sqs:"):
            for line in await _queue(clients, destination):
                yield line
            return
        count, oldest = 0, None
        async with parts.open_dead_letter_store(clients, settings) as store:
            async for letter in store.read(settings.stream.label):
                count += 1
                oldest = letter.buried_at if oldest is None else min(oldest, letter.buried_at)
                if count >= MOST_LETTERS:
                    break
        age_s = None if oldest is None else (SystemClock().wall() - oldest).total_seconds()
        yield readiness.judge_letters(count, age_s, destination)
    except NotFound:
        yield readiness.judge_letters(0, None, destination)
    except (SettingsError, AwsError) as error:
        yield Line(
            "dead letters", Word.FAIL, str(error), "A record that must be buried holds its shard until it can be"
        )


async def _queue(clients: Clients, destination: str) -> list[Line]:
    where = parse(destination)
    facts = await checkup.queue_facts(clients, where.target, where.region)
    if isinstance(facts, NotTold):
        return [facts.line("dead letters")]
    return list(readiness.judge_queue(*facts, destination))


async def _fleet(settings: Settings, stream: StreamFacts | NotTold) -> AsyncIterator[Line]:
    retention_s = None if isinstance(stream, NotTold) else stream.retention_s
    try:
        async with open_desk(settings, Manner()) as (desk, _):
            workers, leases = await desk.workers(), await desk.leases()
    except (SettingsError, AwsError) as error:
        yield Line("workers", Word.UNKNOWN, str(error), "Start one, and ask again")
        return
    rows: dict[str, WorkerRow] = {str(worker): row for worker, row in workers.items()}
    now_s = SystemClock().wall().timestamp()
    for line in readiness.judge_fleet(leases.values(), rows, now_s, retention_s):
        yield line
    if rows:
        yield readiness.judge_versions({name: await _version(row) for name, row in rows.items()}, headrace.__version__)


async def _version(worker: WorkerRow) -> str | NotTold:
    if not worker.address:
        return NotTold("it has no address")
    answer = await ask(worker.address, STATUS, {})
    return NotTold(answer) if isinstance(answer, str) else str(answer.get("version", "unknown"))


async def _machine(clients: Clients, settings: Settings) -> AsyncIterator[Line]:
    """The clock here against the service's, and the rights of the credentials here."""
    try:
        described = await KinesisStream(clients.kinesis, settings.stream.name).describe()
    except AwsError as error:
        yield Line("clock", Word.UNKNOWN, str(error), "Allow kinesis:DescribeStreamSummary")
    else:
        yield readiness.judge_clock(SystemClock().wall().timestamp() - described.now_s)
    identity = await checkup.account_of(clients)
    if isinstance(identity, NotTold):
        yield readiness.judge_rights(identity)
        return
    account, who = identity
    place = place_of(settings, clients.dynamodb.meta.region_name, account)
    statements: list[dict[str, Any]] = worker_policy(needs_of(settings), place)["Statement"]
    yield readiness.judge_rights(await checkup.denied_actions(clients, who, statements))


def _words(lines: list[Line]) -> Iterator[str]:
    width = max(len(line.check) for line in lines)
    for line in lines:
        yield f"{line.word.value:<8}{line.check:<{width}}  {line.found}"
        if line.mend:
            yield f"{'':<8}{'':<{width}}    {line.mend}"
    counts = {word: sum(line.word is word for line in lines) for word in Word}
    yield ", ".join(f"{count} {word.value}" for word, count in counts.items())
