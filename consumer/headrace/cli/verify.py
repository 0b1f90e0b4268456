"""`headrace verify`: was anything that the stream acknowledged lost, and was any key's last state overtaken?

Reads the producer's ledger, the serving table (all of it, in parallel) and the dead letters; `core.verification` judges.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from headrace.aws.key_schema import describe_keys
from headrace.aws.scan import scan
from headrace.aws.session import Clients, aws_clients
from headrace.cli import parts
from headrace.cli import report as report_of
from headrace.core.ledger import LedgerError, Position, read_header, read_records
from headrace.core.verification import DIGEST_ATTRIBUTE, KEY_ATTRIBUTE, Design, Report, Verification, trace_of
from headrace.errors import NotFound, SettingsError
from headrace.settings import Settings
from headrace.tasks import all_of

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

SEGMENTS: Final = 4
"""Parallel readers of the serving table: a scan page is at most 1 MB, so one reader mostly waits."""

Advance: TypeAlias = Callable[[int], None]
"""Tell that so many more items were read."""


def verify(settings: Settings, *, ledger: Path, as_json: bool) -> int:
    """Print the result; 0 when nothing is missing, damaged or overtaken, else 1.

    Raises SettingsError for a ledger that cannot be read or is of another stream, and for a table that is not there.
    """
    report = asyncio.run(examine(settings, ledger))
    sys.stdout.write(report_of.as_json(report) if as_json else report_of.as_text(report))
    return 0 if report.holds else 1


async def examine(settings: Settings, ledger: Path, design: Design | None = None) -> Report:
    """Collect the evidence and judge it, for this design of the serving table or for the one seen."""
    verification = _read_ledger(settings, ledger)
    async with aws_clients() as clients:
        with _progress(verification.produced) as advance:
            await _see_items(clients.dynamodb, settings, verification, advance)
        await _see_dead_letters(clients, settings, verification)
    return verification.report(design)


def _read_ledger(settings: Settings, path: Path) -> Verification:
    try:
        with path.open("rb") as lines:
            header = read_header(lines.readline())
            if header.stream != settings.stream.label:
                problem = f"is of stream {header.stream}, not of {settings.stream.label}"
                raise SettingsError("--ledger", str(path), problem, "Name the ledger, or set HEADRACE_STREAM_NAME")
            return Verification(read_records(lines))
    except LedgerError as error:
        mend = "Name a ledger that headrace-producer wrote"
        raise SettingsError("--ledger", str(path), str(error), mend) from error
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise SettingsError("--ledger", str(path), problem, "Name a ledger") from error


@contextmanager
def _progress(expected: int) -> Iterator[Advance]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("items read", total=expected)
        yield lambda items: progress.advance(bar, items)


async def _see_items(client: DynamoDBClient, settings: Settings, verification: Verification, advance: Advance) -> None:
    table, sequence = settings.serving_table, settings.item.sequence_attribute
    if sequence is None:
        mend = "Items are told apart by the sequence number: leave it on"
        raise SettingsError("HEADRACE_ITEM_SEQUENCE_ATTRIBUTE", "none", "leaves nothing to compare with", mend)
    try:
        keys = (await describe_keys(client, table)).names
    except NotFound as error:
        raise SettingsError("HEADRACE_SINK_TABLE", table, "there is no such table", "Name the serving table") from error

    attributes = sorted({*keys, sequence, KEY_ATTRIBUTE, DIGEST_ATTRIBUTE})
    items = traced = 0

    async def read(segment: int) -> None:
        nonlocal items, traced
        async for item in scan(client, table, attributes=attributes, segment=segment, segments=SEGMENTS):
            if (trace := trace_of(_texts(item), keys, sequence)) is not None:
                verification.see(trace)
                traced += 1
            items += 1
            advance(1)

    async with all_of() as readers:
        for segment in range(SEGMENTS):
            readers.create_task(read(segment), name=f"scan-{segment}")
    if items and not traced:
        problem = f"no item of {table} carries this attribute, so records cannot be found in it"
        mend = "Have the handler write it: the record's position"
        raise SettingsError("HEADRACE_ITEM_SEQUENCE_ATTRIBUTE", sequence, problem, mend)


def _texts(item: Mapping[str, Any]) -> dict[str, str]:
    """The strings and numbers of an item, as text."""
    numbers = {name: format(value, "f") for name, value in item.items() if isinstance(value, Decimal)}
    return numbers | {name: value for name, value in item.items() if isinstance(value, str)}


async def _see_dead_letters(clients: Clients, settings: Settings, verification: Verification) -> None:
    try:
        async with parts.open_dead_letter_store(clients, settings) as store:
            async for letter in store.read():
                verification.bury(Position(letter.record.sequence_number, letter.record.sub_sequence_number))
    except NotFound:
        return  # the table is made when the first worker starts; without it nothing was buried
