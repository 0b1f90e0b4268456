"""What the commands for operators share: their desk on the real lease table, their question, and how they tell.

Exit codes: 0 done, 1 refused or failed, 2 bad settings or options, 3 done and not taken up by any worker in time.
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from headrace.aws.kinesis import KinesisStream
from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.session import Clients, aws_clients
from headrace.cli.parts import CHANCE
from headrace.core import leases
from headrace.core.lease_rows import remembered_label
from headrace.errors import NotFound, SettingsError
from headrace.flow.clock import SystemClock
from headrace.flow.operate.desk import ActRefused, Desk
from headrace.model import Lease, ShardId
from headrace.ops.nudge import open_nudges
from headrace.settings import Settings

NOT_TAKEN_UP: Final = 3
"""Exit code where the row says what was asked for, and no worker acts on it yet."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a command is carried out: who asks and why, whether it asks back, and how it tells."""

    by: str | None = None
    why: str = ""
    yes: bool = False
    dry_run: bool = False
    as_json: bool = False


@asynccontextmanager
async def open_desk(settings: Settings, manner: Manner) -> AsyncIterator[tuple[Desk, Clients]]:
    """On the application's lease table. Raises SettingsError where it has none yet."""
    async with aws_clients() as clients, open_nudges() as nudges:
        table = DynamoLeaseTable(clients.leases, settings.lease.table)
        yield (
            Desk(
                table=table,
                stream=KinesisStream(clients.kinesis, settings.stream.name),
                stream_name=settings.stream.label,
                label=await _label(table, settings),
                by=manner.by or operator(),
                why=manner.why,
                clock=SystemClock(),
                chance=CHANCE,
                nudge=nudges.send,
            ),
            clients,
        )


async def _label(table: DynamoLeaseTable, settings: Settings) -> str:
    name, mend = settings.lease.table, "Name the application, or the lease table, of the workers; they make it"
    try:
        meta = await table.get(leases.meta_key(settings.stream.label))
    except NotFound as error:
        raise SettingsError("HEADRACE_LEASE_TABLE", name, "there is no such table", mend) from error
    if meta is None:
        raise SettingsError("HEADRACE_LEASE_TABLE", name, f"no worker has read {settings.stream.label} with it", mend)
    return remembered_label(meta)


def operator() -> str:
    """Who asks, as this machine knows it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def confirm(manner: Manner, word: str, question: str) -> None:
    """Have the operator type what is at stake. Raises SettingsError where nobody can be asked."""
    if manner.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SettingsError("--yes", None, "is missing", "Without a terminal nobody can be asked")
    import typer  # noqa: PLC0415 - only a person is asked

    typed = typer.prompt(f"{question}\nType {word} to go on", err=True)
    if typed.strip() != word:
        raise ActRefused("not confirmed: nothing was done")


def shard_of(text: str) -> ShardId:
    """A bare number is the number in the id, as AWS writes it: shardId- and twelve digits."""
    return ShardId(f"shardId-{text:0>12}" if text.isdecimal() else text)


async def chosen(desk: Desk, shard: str | None, *, every: bool) -> list[Lease]:
    """The lease that was named, or all of them. Raises SettingsError unless it is one of the two."""
    if (shard is None) != every:
        problem = "both are given" if every else "neither is given"
        raise SettingsError("--shard, --all", None, problem, "Name one shard, or say --all")
    return list((await desk.leases()).values()) if shard is None else [await desk.lease(shard_of(shard))]


def tell(document: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """One JSON document, or lines for people."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines)
