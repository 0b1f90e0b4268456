"""One worker, from its start to its stop, through as many incarnations as it takes."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

from headrace.core.fleet_status import FleetStatus
from headrace.errors import Fenced, StreamReplaced
from headrace.flow.incarnation import Incarnation, WorkerRules
from headrace.flow.leasing.discovery import Discovery
from headrace.flow.losses import Losses
from headrace.flow.persist import persist
from headrace.model import StreamDescription, WorkerId
from headrace.ports import Ports
from headrace.tasks import unless_stopped

log = structlog.get_logger(__name__)

BEATS_MISSED: Final = 3
"""Lease durations without a single try of a heartbeat: then its loop is stuck, whatever AWS does."""


class Worker:
    """A worker of the fleet."""

    def __init__(self, ports: Ports, rules: WorkerRules) -> None:
        self.incarnation: Incarnation | None = None
        """The one that is alive, for health and status."""
        self.address = ""
        """Where it takes nudges (host:port), once that is known."""
        self._ports = ports
        self._rules = rules
        self._longest_rest_s = BEATS_MISSED * rules.timing.duration_s

    async def run(self, stop: asyncio.Event, description: StreamDescription) -> None:
        """Work on the described stream until `stop` is set.

        Raises StreamReplaced when the leases belong to another stream of that name, OrderLost when the stream keeps no
        order by key; unless it is to go on with what is left.
        """
        while not stop.is_set():
            losses = Losses(self._ports, description, self._rules.on_loss, needs_order=self._rules.needs_order)
            losses.accept(description)
            discovery = Discovery(self._ports, self._rules.stream, losses)
            if not await unless_stopped(stop, discovery.open(description, self._rules.start), "open"):
                return
            try:
                await self._live(stop, discovery, losses)
            except StreamReplaced as replaced:
                if not losses.continues:
                    raise
                log.warning("stream_replaced", reason=str(replaced))
                if (again := await self._described(stop)) is None:
                    return
                description = again

    async def _described(self, stop: asyncio.Event) -> StreamDescription | None:
        """The stream as it is now; None when a stop was asked for first."""
        found: list[StreamDescription] = []

        async def describe() -> None:
            found.append(await persist("describe_stream", self._ports.stream.describe, self._ports.chance))

        return found[0] if await unless_stopped(stop, describe(), "describe") else None

    async def _live(self, stop: asyncio.Event, discovery: Discovery, losses: Losses) -> None:
        while not stop.is_set():
            self.incarnation = Incarnation(self._ports, self._rules, discovery, losses, self.address)
            try:
                await self.incarnation.live(stop)
            except Fenced as fenced:
                log.warning("worker_fenced", worker=self.incarnation.me, reason=str(fenced))
                self._ports.observer.worker_fenced()

    @property
    def me(self) -> WorkerId | None:
        """The id of the incarnation that is alive."""
        return None if self.incarnation is None else self.incarnation.me

    def nudged(self) -> None:
        """Another worker says that leases came free."""
        if self.incarnation is not None:
            self.incarnation.look_again()

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether the heartbeat still tries: the loop that answers this runs, so the rest is AWS's health, not ours."""
        since = None if self.incarnation is None else self.incarnation.since_last_try_s()
        return since is None or since < self._longest_rest_s, {"since_heartbeat_try_s": since}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether there is a registered incarnation with a running lease loop."""
        incarnation = self.incarnation
        is_ready = incarnation is not None and incarnation.ready
        return is_ready, {"worker": None if incarnation is None else incarnation.me}

    def explain(self, number: int | None, key: str | None) -> dict[str, Any]:
        """What it does with the record of this sequence number, or with those of this partition key."""
        incarnation = self.incarnation
        if incarnation is None:
            return {"worker": None, "open": [], "read_to": {}}
        found = incarnation.find(lambda record: record.sequence_number == number or record.partition_key == key)
        return {"worker": incarnation.me, "open": found, "read_to": incarnation.read_to()}

    def fleet(self) -> FleetStatus | None:
        """What this worker sees of the whole fleet; None until it has looked."""
        return None if self.incarnation is None else self.incarnation.fleet()

    def status(self) -> dict[str, Any]:
        """What this worker is doing: its id, its trust, its shards."""
        incarnation = self.incarnation
        if incarnation is None:
            return {"stream": self._rules.stream, "worker": None, "shards": []}
        return {"stream": self._rules.stream, **incarnation.status()}
