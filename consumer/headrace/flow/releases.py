"""Leases given up together: one call for up to 25 of them, and then a word to the others.

A worker that stops releases each lease when its shard has settled what was in flight; those that come within a moment
share a call. The others are nudged once it was answered, so that they need not wait for their next poll to see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from headrace.errors import AwsError, Unavailable
from headrace.flow.persist import persist
from headrace.ports import Ports
from headrace.rows import MOST_AT_ONCE, Applied, Outcome, UpdateRow
from headrace.tasks import is_set_within

log = structlog.get_logger(__name__)

GATHER_S: Final = 0.01
"""How long the first release waits for others to share its call."""

ANNOUNCE_S: Final = 0.5
"""How long a release waits for the table to know that this worker leaves: until then the plan of the others gives it to
this worker again."""


@dataclass(eq=False, slots=True)
class _Call:
    """One call in the making."""

    requests: list[UpdateRow] = field(default_factory=list)
    outcomes: asyncio.Future[list[Outcome | AwsError]] = field(default_factory=asyncio.Future)


class Releases:
    """Gives up leases for one incarnation; `peers` are the addresses of the workers that may take them."""

    def __init__(self, ports: Ports, peers: Callable[[], Sequence[str]]) -> None:
        self._ports = ports
        self._peers = peers
        self._call: _Call | None = None
        self._announcing: asyncio.Event | None = None

    async def announce(self, leave: UpdateRow) -> None:
        """Make the others leave this worker out of their plans; releases wait for it, though not for long."""
        self._announcing = asyncio.Event()
        try:
            await self._ports.table.apply(leave)
        except AwsError as error:
            log.info("leave_unannounced", error=str(error))  # the next heartbeat says it too
        finally:
            self._announcing.set()

    async def apply(self, request: UpdateRow) -> Outcome:
        """Apply one release, certainly: what gets no answer is tried again, alone."""
        outcome = await self._together(request)
        if not isinstance(outcome, AwsError):
            return outcome
        log.info("release_unanswered", row=request.key.sk, error=str(outcome))
        alone = await persist("release", lambda: self._ports.table.apply(request), self._ports.chance)
        await self._ports.nudge(self._peers())
        return alone

    async def _together(self, request: UpdateRow) -> Outcome | AwsError:
        call = self._call
        if call is not None and len(call.requests) < MOST_AT_ONCE:
            position = len(call.requests)
            call.requests.append(request)
            return (await asyncio.shield(call.outcomes))[position]
        return await self._lead(request)

    async def _lead(self, request: UpdateRow) -> Outcome | AwsError:
        call = self._call = _Call([request])
        try:
            await asyncio.sleep(GATHER_S)
            await self._announced()
            self._close(call)
            outcomes = await self._send(call.requests)
        except BaseException:
            self._close(call)
            call.outcomes.set_result([Unavailable("the call was given up")] * len(call.requests))
            raise
        call.outcomes.set_result(outcomes)
        if any(isinstance(outcome, Applied) for outcome in outcomes):
            await self._ports.nudge(self._peers())
        return outcomes[0]

    def _close(self, call: _Call) -> None:
        """Nobody joins it any more."""
        if self._call is call:
            self._call = None

    async def _send(self, requests: Sequence[UpdateRow]) -> list[Outcome | AwsError]:
        try:
            return await self._ports.table.apply_each(requests)
        except AwsError as error:
            return [error] * len(requests)

    async def _announced(self) -> None:
        if self._announcing is not None and not self._announcing.is_set():
            await is_set_within(self._announcing, ANNOUNCE_S)
