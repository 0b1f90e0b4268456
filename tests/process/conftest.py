"""`headrace run` as a process of its own, against real local servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock
from uuid import uuid4

import pytest
import servers
import warm

from headrace.aws.session import Clients, aws_clients

HEADRACE = [sys.executable, "-m", "headrace"]
COMMAND_S = 60.0

TRACE_HANDLER = '''
"""Writes one item per record and notes every call in a file, so that repeats can be counted."""
import json, os, time
from headrace import Put, Record

calls = open(os.environ["CALLS"], "ab", buffering=0)

def handle(record: Record) -> Put:
    payload = record.json()
    calls.write(json.dumps([time.time(), os.getpid(), record.shard_id, str(record.sequence_number), record.partition_key, payload["n"]]).encode() + b"\\n")
    return Put({"pk": str(record.sequence_number), "key": record.partition_key, "n": payload["n"]})
'''

SLOW_HANDLER = """
import asyncio
from pathlib import Path
from headrace import Put, Record

async def handle(record: Record) -> Put:
    Path("stuck").touch()
    await asyncio.sleep(3600)
    return Put({"pk": str(record.sequence_number)})
"""


@dataclass
class Call:
    """One line of the trace."""

    at: float
    pid: int
    shard: str
    sequence_number: int
    key: str
    n: int


@dataclass
class Process:
    """A running `headrace`, most often `headrace run`."""

    popen: subprocess.Popen[bytes] | warm.Warm
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def lines(self) -> list[dict[str, Any]]:
        whole, _, _ = self.log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line.get("event") == name]

    async def ready(self) -> None:
        await until(lambda: self.popen.poll() is not None or self.events("worker_started"), 30, self.log.read_text)
        assert self.popen.poll() is None, self.log.read_text()
        url = f"http://127.0.0.1:{self.events('worker_started')[0]['ops_port']}/readyz"
        await until(lambda: _status(url) == 200, 10, self.log.read_text)

    async def exit_code(self, within_s: float) -> int:
        await until(lambda: self.popen.poll() is not None, within_s, self.log.read_text)
        return self.popen.returncode

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except OSError:
        return 0


async def until(condition: Callable[[], Any], within_s: float, explain: Callable[[], str] = str) -> None:
    """Wait for a condition of the outside world; it is what the test is about, and time only bounds it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        if loop.time() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {explain()[-3000:]}")
        await asyncio.sleep(0.02)


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass
class Stage:
    """A stream, a table, and the processes of one test."""

    clients: Clients
    environment: dict[str, str]
    folder: Path
    stream: str
    table: str
    processes: list[Process] = field(default_factory=list)
    files: int = 0

    def start(self, *arguments: str, **environment: str) -> Process:
        """`headrace run`."""
        return self.launch("run", *arguments, **environment)

    def start_cold(self, *arguments: str, **environment: str) -> Process:
        """The same from the very beginning, for tests of what happens until a worker runs."""
        log = self._new("log")
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [*HEADRACE, "run", *arguments],
                env={**self.environment, **environment},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.processes.append(Process(popen, log))
        return self.processes[-1]

    def launch(self, *arguments: str, **environment: str) -> Process:
        """Any command of headrace, to be stopped by the test or after it."""
        log = self._new("log")
        log.touch()
        popen = warm.launch(arguments, {**self.environment, **environment}, self.folder, log, log)
        self.processes.append(Process(popen, log))
        return self.processes[-1]

    async def command(self, *arguments: str, **environment: str) -> Done:
        """Any command of headrace, to its end."""
        out, err = self._new("out"), self._new("err")
        process = warm.launch(arguments, {**self.environment, **environment}, self.folder, out, err)
        await asyncio.to_thread(process.process.join, COMMAND_S)
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.returncode is not None
        return Done(process.returncode, out.read_text(), err.read_text())

    def _new(self, kind: str) -> Path:
        self.files += 1
        return self.folder / f"{self.files}.{kind}"

    async def put(self, first: int, count: int, keys: int = 20) -> None:
        """Records whose payload holds their number; the key is the number modulo `keys`."""
        for start in range(first, first + count, 500):
            numbers = range(start, min(start + 500, first + count))
            await self.clients.kinesis.put_records(
                StreamName=self.stream,
                Records=[{"Data": json.dumps({"n": n}).encode(), "PartitionKey": f"k{n % keys}"} for n in numbers],
            )

    def now(self) -> float:
        """The time of day, as the logs have it."""
        return time.time()

    def calls(self) -> list[Call]:
        trace = self.folder / "calls"
        lines = trace.read_bytes().split(b"\n")[:-1] if trace.exists() else []
        return [Call(at, pid, shard, int(seq), key, n) for at, pid, shard, seq, key, n in map(json.loads, lines)]

    async def written(self) -> set[int]:
        numbers: set[int] = set()
        async for page in self.clients.dynamodb.get_paginator("scan").paginate(TableName=self.table):
            numbers |= {int(item["n"]["N"]) for item in page["Items"] if "n" in item}
        return numbers

    async def leases(self) -> list[dict[str, Any]]:
        rows = []
        name = self.environment["HEADRACE_APPLICATION"]
        async for page in self.clients.dynamodb.get_paginator("scan").paginate(TableName=name):
            rows += [row for row in page["Items"] if row["pk"]["S"].startswith("L#")]
        return rows

    async def all_written(self, count: int, within_s: float = 60) -> None:
        await self.all_written_but(count, set(), within_s)

    async def all_written_but(self, count: int, buried: set[int], within_s: float = 60) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while len(missing := set(range(count)) - buried - await self.written()):
            if loop.time() > deadline:
                logs = "\n".join(p.log.read_text()[-2000:] for p in self.processes)
                raise AssertionError(f"{len(missing)} of {count} missing: {sorted(missing)[:10]}\n{logs}")
            await asyncio.sleep(0.1)


StageMaker = Callable[..., contextlib.AbstractAsyncContextManager[Stage]]


@pytest.fixture
def stage(tmp_path: Path, ministack: servers.Server) -> Iterator[StageMaker]:
    """Makes a stage on MiniStack, or with Kinesis on another server; ends every process of it, whatever happens."""
    (tmp_path / "trace_handler.py").write_text(TRACE_HANDLER)
    (tmp_path / "slow_handler.py").write_text(SLOW_HANDLER)
    stages: list[Stage] = []

    @contextlib.asynccontextmanager
    async def make(
        shards: int, kinesis: servers.Server | None = None, dynamodb: servers.Server | None = None
    ) -> AsyncIterator[Stage]:
        name = f"t{uuid4().hex[:12]}"
        kinesis_url, dynamodb_url = (kinesis or ministack).endpoint, (dynamodb or ministack).endpoint
        base = {k: v for k, v in os.environ.items() if not re.match(r"(AWS|HEADRACE)_", k)}
        environment = {
            **base,
            **ministack.environment(),
            "AWS_ENDPOINT_URL_KINESIS": kinesis_url,
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
            "HEADRACE_APPLICATION": name,
            "HEADRACE_STREAM_NAME": name,
            "HEADRACE_SINK_TABLE": f"{name}-results",
            "HEADRACE_HANDLER": "trace_handler:handle",
            "HEADRACE_OPS_PORT": "0",
            "HEADRACE_LEASE_DURATION": "3s",
            "CALLS": str(tmp_path / "calls"),
        }
        with mock.patch.dict(os.environ, {k: v for k, v in environment.items() if k.startswith("AWS_")}):
            async with aws_clients() as clients:
                stage = Stage(clients, environment, tmp_path, name, f"{name}-results")
                stages.append(stage)
                await _create(stage, shards)
                yield stage

    yield make
    for process in [p for s in stages for p in s.processes]:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.wait()


async def _create(stage: Stage, shards: int) -> None:
    await stage.clients.kinesis.create_stream(StreamName=stage.stream, ShardCount=shards)
    await stage.clients.dynamodb.create_table(
        TableName=stage.table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    while True:
        summary = await stage.clients.kinesis.describe_stream_summary(StreamName=stage.stream)
        if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
            return
        await asyncio.sleep(0.05)
