"""The records: the real producer with a ledger while faults go on, and afterwards the wait until all of them are through."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from chaos.fleet import Fleet, spawn, until
from chaos.stage import NAME, Stage
from chaos.tails import Tail

DRAIN_S = 120.0
"""From the end of production to the last record's last write; far more than it should take."""

LOOK_S = 0.25
STOP_S = 30.0
"""From SIGTERM to the producer's exit: its calls under way have to be answered."""

CALM_LOOKS = 4
"""Looks in a row that must find nothing left to do: a lease may be between two workers."""


class Producer:
    """`headrace-producer`, until it is told to stop."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._said = stage.folder / "producer.log"
        size = stage.size
        options = {
            "--stream": NAME,
            "--rate": size.rate,
            "--keys": size.keys,
            "--poison-rate": size.poison_rate,
            "--seed": seed,
            "--ledger": stage.ledger,
        }
        words = [str(word) for option in options.items() for word in option]
        self._popen = spawn(["headrace_producer", *words, "--json"], stage.environment, self._said)

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    async def stop(self) -> dict[str, Any]:
        """Its summary, with its exit code."""
        if not self.has_ended:
            self._popen.send_signal(signal.SIGTERM)
        await until(lambda: self.has_ended, STOP_S)
        self.kill()
        lines = self._said.read_text().splitlines()
        summary = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        return {**summary, "exit_code": self._popen.returncode}

    def kill(self) -> None:
        """At once."""
        if not self.has_ended:
            self._popen.kill()
        self._popen.wait()


class Count:
    """Distinct sequence numbers in a file that grows: a ledger's second field, a trace's fourth."""

    def __init__(self, path: Path, column: int) -> None:
        self.numbers: set[int] = set()
        self.lines = 0
        self._tail = Tail(path)
        self._column = column

    def look(self) -> None:
        """Take in what is new."""
        for line in self._tail.lines():
            if line.startswith(b"["):
                self.lines += 1
                self.numbers.add(int(msgspec.json.decode(line)[self._column]))


class Flow:
    """What was acknowledged, and what of it reached a handler."""

    def __init__(self, stage: Stage, fleet: Fleet) -> None:
        self.produced = Count(stage.ledger, 1)
        self.handled = Count(stage.trace, 3)
        self._stage = stage
        self._fleet = fleet

    def look(self) -> None:
        """Take in what is new."""
        self.produced.look()
        self.handled.look()

    @property
    def behind(self) -> int:
        """Records that no handler has seen yet."""
        return len(self.produced.numbers - self.handled.numbers)

    async def drain(self) -> str | None:
        """Wait until every record is settled or buried; what is left after DRAIN_S, or None."""
        deadline, calm = time.monotonic() + DRAIN_S, 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while calm < CALM_LOOKS:
                left = await self._left(http)
                calm = 0 if left else calm + 1
                if time.monotonic() > deadline:
                    return left or "it never came to rest"
                await asyncio.sleep(LOOK_S)
        return None

    async def _left(self, http: aiohttp.ClientSession) -> str | None:
        self.look()
        if self.behind:
            return f"{self.behind} records that no handler has seen"
        unowned = [row["sk"]["S"] for row in await self._stage.leases() if "own" not in row and "done" not in row]
        if unowned:
            return f"leases that nobody owns: {', '.join(unowned)}"
        statuses = [await _status(http, worker.log.events("worker_started")) for worker in self._fleet.running]
        working = sum(shard["open_records"] + shard["retrying_records"] for shard in _shards(statuses))
        return f"{working} records on their way" if working else None


def _shards(statuses: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
    unanswered = [{"open_records": 1, "retrying_records": 0}]
    return [shard for status in statuses for shard in (unanswered if status is None else status["shards"])]


async def _status(http: aiohttp.ClientSession, started: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not started:
        return None
    try:
        async with http.get(f"http://127.0.0.1:{started[0]['ops_port']}/api/v1/status") as answer:
            return dict(await answer.json())
    except (aiohttp.ClientError, TimeoutError):
        return None
