"""`headrace status` and `top`: what the page shows, in a terminal or as JSON, read from the lease table alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
from rich.console import Console
from rich.live import Live

from headrace.aws.kinesis import KinesisStream
from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.session import aws_clients
from headrace.cli import parts
from headrace.cli.fleet_text import picture
from headrace.cli.screen import limits_of
from headrace.core.state_words import State
from headrace.errors import NotFound, SettingsError
from headrace.flow.clock import SystemClock
from headrace.ops import shown
from headrace.ops.fleet import FleetReader, Reading, Source
from headrace.settings import Settings

EXIT_CODES: Final = {
    State.NOT_KNOWN: 1,
    State.OK: 0,
    State.LAGGING: 3,
    State.UNOWNED: 4,
    State.STALLED: 5,
    State.LOSING_DATA: 6,
}
"""Of `headrace status`: 1 and 2 are what they are everywhere."""

PIPED_WIDTH: Final = 200
"""Columns of a picture that no terminal bounds."""


def status(settings: Settings, *, as_json: bool) -> int:
    """Print the fleet once; the exit code of its state. Raises SettingsError, AwsError."""
    reading = asyncio.run(_once(settings))
    if as_json:
        sys.stdout.write(_line(reading))
    else:
        _console().print(picture(reading))
    return EXIT_CODES[reading.view.verdict.state]


def top(settings: Settings, every_s: float, *, as_json: bool) -> int:
    """Print it again and again until Ctrl-C; 0. Raises SettingsError, AwsError when it could never be read."""
    if not (as_json or sys.stdout.isatty()):
        mend = "Use `headrace status` for one picture, or `headrace top --json` for a line each"
        raise SettingsError("headrace top", None, "standard output is no terminal", mend)
    with suppress(KeyboardInterrupt):
        asyncio.run(_lines(settings, every_s) if as_json else _live(settings, every_s))
    return 0


async def _once(settings: Settings) -> Reading:
    async with _reader(settings) as reader:
        return await reader.read()


async def _lines(settings: Settings, every_s: float) -> None:
    async for reading in _readings(settings, every_s):
        sys.stdout.write(_line(reading))
        sys.stdout.flush()


async def _live(settings: Settings, every_s: float) -> None:
    console = _console()
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        async for reading in _readings(settings, every_s):
            screen.update(picture(reading, height=console.height), refresh=True)


async def _readings(settings: Settings, every_s: float) -> AsyncIterator[Reading]:
    async with _reader(settings) as reader:
        while True:
            yield await reader.read()
            await asyncio.sleep(every_s)


@asynccontextmanager
async def _reader(settings: Settings) -> AsyncIterator[FleetReader]:
    async with aws_clients() as clients:
        stream = KinesisStream(clients.kinesis, settings.stream.name)
        table = DynamoLeaseTable(clients.dynamodb, settings.lease.table)
        source = Source(table, stream, settings.stream.label, SystemClock())
        reader = FleetReader(source, limits_of(settings))
        try:
            if not (await reader.read()).view.shards:  # nobody has begun to read it, or the name is mistyped
                await parts.describe_stream(stream, settings)
            yield reader
        except NotFound as error:
            mend = "Start a worker, which makes it, or check HEADRACE_APPLICATION, AWS_REGION and the account"
            raise SettingsError("HEADRACE_LEASE_TABLE", settings.lease.table, "there is no such table", mend) from error


def _line(reading: Reading) -> str:
    return msgspec.json.encode(shown.whole(reading)).decode() + "\n"


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
