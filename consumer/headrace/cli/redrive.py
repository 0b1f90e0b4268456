"""`headrace dead-letters redrive` and `purge`: what changes the dead letters, with a question, a bar and a summary."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from headrace.aws.kinesis import KinesisStream
from headrace.aws.lease_table import DynamoLeaseTable
from headrace.aws.session import Clients, aws_clients
from headrace.cli import parts
from headrace.cli.dead_letters import Wanted, emptied, read
from headrace.core import leases
from headrace.core.answers import Reports
from headrace.core.lease_rows import remembered_label
from headrace.core.letter_selection import FirstLetters, Gathering, Selection
from headrace.errors import NotFound, SettingsError
from headrace.flow.clock import SystemClock
from headrace.flow.redrive.parts import RedrivePorts, RedriveRules, Result, Watch, read_parked_keys
from headrace.flow.redrive.passes import Redrive
from headrace.flow.redrive.redelivery import Redelivery
from headrace.flow.redrive.turn import own_turn
from headrace.flow.redrive.writing import Once, ThroughSink
from headrace.model import DeadLetter
from headrace.settings import Settings

STOPPED_AT_ONCE: Final = 1
"""Exit code after a second signal: what was under way comes again with the next redrive."""

PURGED_AT_ONCE: Final = 25
"""Letters of one call to remove."""

NONE_OF_THEM: Final = Selection(sequence_number=-1)


def redrive(settings: Settings, wanted: Wanted, rate: float | None, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Redrive and tell; 0 when everything that was selected went through. Raises SettingsError, RedriveBusy."""
    if settings.batch.tumbling_window > timedelta(0):
        problem = "a letter belongs to no window any more"
        mend = "Set it to 0s for the redrive: the handler is called with neither window nor state"
        raise SettingsError("HEADRACE_BATCH_TUMBLING_WINDOW", settings.batch.tumbling_window, problem, mend)
    if dry_run or (not yes and _is_terminal()):
        plan = asyncio.run(_plan(settings, wanted))
        if dry_run:
            return _tell(plan, _plan_in_words(plan), as_json=as_json)
        if not plan["letters"] and not plan["parked_keys"]:
            return _tell(plan, "No dead letters.", as_json=as_json)
        _ask(f"Redrive {plan['letters']:,} letters of {plan['keys']:,} keys?")
    result = asyncio.run(_redrive(settings, wanted, rate))
    _tell(msgspec.to_builtins(result), _result_in_words(result), as_json=as_json)
    return 1 if result.failed or result.kept_back or result.stopped else 0


def purge(settings: Settings, wanted: Wanted, *, yes: bool, as_json: bool) -> int:
    """Delete and tell; 0. Raises SettingsError where it would have to ask and cannot."""
    if not yes and not _is_terminal():
        raise SettingsError("--yes", None, "is missing", "Deleting dead letters for good takes it off a terminal")
    if not yes:
        plan = asyncio.run(_plan(settings, wanted))
        _ask(f"Delete {plan['letters'] + plan['kept_back']:,} letters for good?")
    purged, released = asyncio.run(_purge(settings, wanted))
    words = f"{purged:,} letters deleted." + (f" {released:,} parked keys with none left released." if released else "")
    return _tell({"purged": purged, "released": released}, words, as_json=as_json)


# --- acts -------------------------------------------------------------------------------------------------------------


async def _plan(settings: Settings, wanted: Wanted) -> dict[str, Any]:
    """What a redrive would try, as far as can be told without trying."""
    gathering = Gathering(wanted.selection, FirstLetters(wanted.limit))
    async with aws_clients() as clients, _ports(clients, settings) as ports:
        rows = await read_parked_keys(ports)
        async for letter in read(ports.letters, settings, Selection()):
            gathering.see(emptied(letter))
    keys = gathering.by_key()
    letters = sum(map(len, keys.values()))
    return {"letters": letters, "keys": len(keys), "kept_back": gathering.kept_back, "parked_keys": len(rows)}


async def _redrive(settings: Settings, wanted: Wanted, rate: float | None) -> Result:
    stop = asyncio.Event()
    _listen_for_signals(stop)
    parts.check_handler(settings)
    clock = SystemClock()
    async with aws_clients() as clients:
        description = await parts.describe_stream(KinesisStream(clients.kinesis, settings.stream.name), settings)
        async with (
            parts.open_handler(clients, settings, description) as handler,
            parts.open_sink(clients, settings, clock) as sink,
            parts.open_transactions(clients, settings, clock) as transactions,
            _ports(clients, settings) as ports,
            own_turn(ports, settings.lease.worker_id, stop, _tell_wait) as permit,
        ):
            writing = (
                ThroughSink(sink)
                if transactions is None
                else Once(transactions, ports.table, ports.label, clock, ports.chance)
            )
            redelivery = Redelivery(handler, writing, clock, permit, Reports(settings.retry.report_batch_item_failures))
            rules = RedriveRules(rate=rate, most=wanted.limit)
            with _progress() as watch:
                return await Redrive(ports, redelivery.deliver, wanted.selection, rules, stop, watch).run()


async def _purge(settings: Settings, wanted: Wanted) -> tuple[int, int]:
    """Delete them, and release the keys that have none left; how many of both."""
    stop, purged = asyncio.Event(), 0
    _listen_for_signals(stop)
    async with (
        aws_clients() as clients,
        _ports(clients, settings) as ports,
        own_turn(ports, settings.lease.worker_id, stop, _tell_wait),
    ):
        first = FirstLetters(wanted.limit)
        async for letter in read(ports.letters, settings, wanted.selection):
            first.add(emptied(letter))
        letters = first.in_order()
        with _progress() as watch:
            watch.found(len(letters))
            while letters and not stop.is_set():
                some, letters = letters[:PURGED_AT_ONCE], letters[PURGED_AT_ONCE:]
                await ports.letters.remove(some)
                purged += len(some)
                for letter in some:
                    watch.done(letter, True)
        return purged, (await Redrive(ports, _never, NONE_OF_THEM, RedriveRules(), stop).run()).released


# --- parts ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _ports(clients: Clients, settings: Settings) -> AsyncIterator[RedrivePorts]:
    table, stream = DynamoLeaseTable(clients.leases, settings.lease.table), settings.stream.label
    try:
        meta = await table.get(leases.meta_key(stream))
    except NotFound as error:
        mend = "Name the application, or the lease table, of the workers that buried the letters"
        raise SettingsError("HEADRACE_LEASE_TABLE", settings.lease.table, "there is no such table", mend) from error
    label = stream if meta is None else remembered_label(meta)
    async with parts.open_dead_letter_store(clients, settings) as store:
        yield RedrivePorts(stream, label, store, table, SystemClock(), parts.CHANCE)


async def _never(letter: DeadLetter, _reading: int) -> DeadLetter | None:
    raise AssertionError(f"{letter.record.sequence_number} was not selected")


def _listen_for_signals(stop: asyncio.Event) -> None:
    """First signal: stop after the calls under way. Second one: at once."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(STOPPED_AT_ONCE)
        stop.set()
        sys.stderr.write("Stopping after the calls under way; once more to stop at once.\n")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)


# --- words ------------------------------------------------------------------------------------------------------------


@contextmanager
def _progress() -> Iterator[Watch]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("letters", total=0)

        def found(letters: int) -> None:
            progress.update(bar, total=progress.tasks[0].completed + letters)

        yield Watch(found, lambda _letter, _redriven: progress.advance(bar))


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str) -> None:
    import typer  # noqa: PLC0415 - only a person is asked

    typer.confirm(question, abort=True, err=True)


def _tell_wait(seconds: float) -> None:
    sys.stderr.write(f"Another redrive may be at work: watching it for {seconds:g} s.\n")


def _tell(document: Any, words: str, *, as_json: bool) -> int:
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n" if as_json else words + "\n")
    return 0


def _plan_in_words(plan: dict[str, Any]) -> str:
    words = f"{plan['letters']:,} letters of {plan['keys']:,} keys would be redriven"
    if plan["kept_back"]:
        words += f", {plan['kept_back']:,} kept back: earlier letters of their keys are not selected"
    return words + (f"; {plan['parked_keys']:,} keys are parked." if plan["parked_keys"] else ".")


def _result_in_words(result: Result) -> str:
    words = f"{result.redriven:,} redriven, {result.failed:,} failed again, {result.kept_back:,} kept back"
    if result.released or result.still_parked:
        words += f"; {result.released:,} parked keys released, {result.still_parked:,} still parked"
    return words + ("; stopped before the end." if result.stopped else ".")
