"""Telling other workers that leases came free, so that they look at once instead of with their next poll.

Only ever a hint: it carries nothing, changes nothing but when a worker reads its table, and may be lost. A worker that
cannot be reached finds out by itself a poll period later.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import structlog

from headrace.tasks import TaskGroup

log = structlog.get_logger(__name__)

PATH: Final = "/nudge"

PATIENCE_S: Final = 0.25
"""How long an answer is waited for: peers are near, and a stop must not wait for a dead one."""

WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - what a socket may be bound to
ELSEWHERE: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849): the way there shows this machine's own address; nothing is sent."""


class Nudges:
    """Nudges peers over one HTTP client."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def send(self, addresses: Sequence[str]) -> None:
        """Nudge all of them at once; never raises."""
        async with TaskGroup() as tasks:
            for address in addresses:
                tasks.create_task(self._nudge(address), name=f"nudge-{address}")

    async def _nudge(self, address: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S), self._http.post(f"http://{address}{PATH}"):
                return
        except (aiohttp.ClientError, OSError, ValueError) as error:
            log.debug("nudge_unanswered", peer=address, error=str(error) or type(error).__name__)


@asynccontextmanager
async def open_nudges() -> AsyncIterator[Nudges]:
    """Ready to nudge for as long as the context lasts. Peers are reached directly, whatever proxy is set for AWS."""
    async with aiohttp.ClientSession(trust_env=False) as http:
        yield Nudges(http)


def reachable_at(bound: str, port: int) -> str:
    """Where others reach what is bound to this address here, as host:port; empty where that cannot be told."""
    host = _own_address(bound) if bound in WILDCARDS else bound
    if not host:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _own_address(bound: str) -> str:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((ELSEWHERE[family], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""
