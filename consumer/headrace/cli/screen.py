"""What a process tells and shows, made from the settings: its reports, the fleet's reader, dead letters, token, actions."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias, cast

from prometheus_client.registry import CollectorRegistry

from headrace.core.destination import Kind, parse
from headrace.core.state_words import Limits
from headrace.flow.worker import Worker
from headrace.ops.actions import Action, AdminToken
from headrace.ops.api import Screen
from headrace.ops.event_log import EventLog
from headrace.ops.fleet import FleetReader, Source
from headrace.ops.letter_shelf import LetterShelf
from headrace.ops.reporting import EventWriter, Reporter
from headrace.ops.tally import Tally
from headrace.ports import Clock, DeadLetters, DeadLetterStore, Ports
from headrace.settings import Settings

Counts: TypeAlias = Callable[[], Mapping[str, int]]
Nudge: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]

READABLE: Final = frozenset({Kind.DYNAMODB, Kind.S3})
"""Destinations that may be read by just looking: a message of a queue is out of sight for a minute once it was read."""

SILENT_DURATIONS: Final = 1.5
"""Lease durations without a report after which an owner is shown as silent; 15 s with the default."""


def limits_of(settings: Settings, retention_s: float = 0.0) -> Limits:
    """What states go by."""
    duration_s = settings.lease.duration.total_seconds()
    return Limits(
        retention_s=retention_s,
        lagging_s=settings.ops.lagging_after.total_seconds(),
        stalled_s=settings.lease.stall.total_seconds(),
        silence_s=max(15.0, duration_s * SILENT_DURATIONS),
    )


def fresh_process(settings: Settings) -> str:
    """A name for the rows of one process that no other has."""
    return f"{settings.lease.worker_id}-{os.urandom(8).hex()}"


def tally_of(
    settings: Settings, registry: CollectorRegistry, clock: Clock, limits: Limits, stream: str, counts: Counts
) -> Tally:
    """The observer of a worker whose figures are shown."""
    return Tally(registry, clock, stream, counts, limits, events=EventLog(settings.lease.worker_id, clock))


def shown_worker(
    settings: Settings, ports: Ports, tally: Tally, worker: Worker, limits: Limits
) -> tuple[Reporter, Screen]:
    """What a worker tells of itself, and its page."""
    process = fresh_process(settings)
    tally.fleet = worker.fleet
    audit = EventWriter(ports.table, ports.clock, tally.events, process)
    reporter = Reporter(ports.table, ports.clock, tally, audit, process, lambda: worker.me)
    source = Source(ports.table, ports.stream, settings.stream.label, ports.clock)
    reader = FleetReader(source, limits, reporter)
    return reporter, screen_of(settings, source, ports.dead_letters, reader, ports.nudge)


def shown_fleet(settings: Settings, source: Source, letters: DeadLetters, nudge: Nudge) -> Screen:
    """The page of a process that is no worker itself."""
    return screen_of(settings, source, letters, FleetReader(source, limits_of(settings)), nudge)


def screen_of(settings: Settings, source: Source, letters: DeadLetters, reader: FleetReader, nudge: Nudge) -> Screen:
    """All of it."""
    shelf = _shelf(settings, letters, source.name, source.clock)
    return Screen(
        application=settings.application,
        stream=source.name,
        fleet=reader,
        letters=shelf,
        token=AdminToken(None if settings.admin_token is None else settings.admin_token.get_secret_value()),
        actions=_actions(settings, source, nudge, shelf),
    )


def _actions(settings: Settings, source: Source, nudge: Nudge, shelf: LetterShelf) -> tuple[Action, ...]:
    if settings.admin_token is None:
        return ()
    from headrace.cli.page_actions import operator_actions  # noqa: PLC0415 - a twelfth of a worker's start

    return operator_actions(settings, source, nudge, shelf)


def _shelf(settings: Settings, letters: DeadLetters, stream: str, clock: Clock) -> LetterShelf:
    destination = settings.dead_letters.destination
    if parse(destination).kind in READABLE:
        return LetterShelf(cast("DeadLetterStore", letters), stream, clock)
    instead = f"They go to {destination}, which cannot be looked at from here without taking messages out of sight."
    if parse(destination).kind is Kind.SNS:
        instead = f"They go to {destination}, which keeps nothing to be read: see what subscribes to it."
    return LetterShelf(None, stream, clock, instead)
