"""What a measurement runs against: the benchmark's server, MiniStack behind it for all other DynamoDB calls, a table."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.servers import ACCOUNT, REGION, credentials, free_port, ministack

from benchmarks.arrivals import TABLE
from benchmarks.records import ARRIVALS_PER_SECOND, Size, Workload

ROOT: Final = Path(__file__).resolve().parent.parent
START_S: Final = 120.0
"""Rendering 200,000 records takes seconds; this bounds a server that never comes."""
NO_UPSTREAM: Final = 1
"""A port at which nobody answers, and nobody is asked."""
ANSWER_S: Final = 120.0
"""The server answers between two pages; nothing takes it longer."""


class BenchError(Exception):
    """The benchmark can't go on. The message says why."""


@dataclass(slots=True)
class Stage:
    """A running server, seen from the runner."""

    port: int
    workload: Workload
    _connection: http.client.HTTPConnection

    def stats(self) -> dict[str, Any]:
        """What arrived since the last reset."""
        return self._ask("GET", "/stats")

    def intake(self) -> dict[str, Any]:
        """What producers put since the last reset."""
        return self._ask("GET", "/intake")

    def sample(self) -> dict[str, Any]:
        """Some of the items that arrived, by record number."""
        return self._ask("GET", "/sample")

    def reset(self) -> None:
        """Forget what arrived."""
        self._ask("POST", "/reset")

    def environment(self) -> dict[str, str]:
        """For a consumer: everything it needs to find stream and table, and none of the caller's AWS or headrace settings."""
        url = f"http://127.0.0.1:{self.port}"
        own = {name: value for name, value in os.environ.items() if not re.match(r"AWS_|HEADRACE_", name)}
        return {
            **own,
            **credentials(),
            "AWS_ENDPOINT_URL_KINESIS": url,
            "AWS_ENDPOINT_URL_DYNAMODB": url,
        }

    def make_table(self) -> None:
        """The serving table, which headrace expects to find."""
        keys = (("pk", "HASH"), ("sk", "RANGE"))
        table = {
            "TableName": TABLE,
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            "BillingMode": "PAY_PER_REQUEST",
        }
        scope = f"{ACCOUNT}/20260101/{REGION}/dynamodb/aws4_request"
        headers = {
            "X-Amz-Target": "DynamoDB_20120810.CreateTable",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=unchecked",
        }
        self._ask("POST", "/", json.dumps(table), headers)

    def _ask(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, Any]:
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"The benchmark's server does not answer: {type(error).__name__} {error}") from error
        if answer.status != HTTPStatus.OK:
            raise BenchError(f"The benchmark's server refused {method} {path}: {answer.status} {content.decode()}")
        found: dict[str, Any] = json.loads(content)
        return found


@contextlib.contextmanager
def staged(workload: Workload, writes: Mapping[str, float] = MappingProxyType({})) -> Iterator[Stage]:
    """Start the servers and make the table; they end with the block. `writes` are the server's options that say how it takes them."""
    with ministack() as lookalike:
        upstream = int(lookalike.endpoint.rpartition(":")[2])
        with _server(workload, upstream, writes) as stage:
            stage.make_table()
            yield stage


@contextlib.contextmanager
def staged_for_producers(shards: int) -> Iterator[Stage]:
    """The benchmark's server alone, with a stream of so many shards."""
    with _server(workload_until_now(shards, per_shard=1), NO_UPSTREAM) as stage:
        yield stage


def workload_until_now(shards: int, per_shard: int, size: Size = Size.NESTED) -> Workload:
    """Records that came in at the shards' full rate, the last of them just now."""
    now_ms = int(time.time() * 1000)
    return Workload(shards, per_shard, now_ms - per_shard * 1000 // ARRIVALS_PER_SECOND, size)


@contextlib.contextmanager
def _server(workload: Workload, upstream: int, writes: Mapping[str, float] = MappingProxyType({})) -> Iterator[Stage]:
    port = free_port()
    options = {
        "port": port,
        "upstream": upstream,
        "first-arrival": workload.first_arrival_ms,
        "shards": workload.shards,
        "records": workload.per_shard,
        "size": workload.size,
        **writes,
    }
    command = [sys.executable, "-m", "benchmarks.server", *(f"--{name}={value}" for name, value in options.items())]
    # It ends when the pipe does, so it never outlives the runner; a terminal's Ctrl-C is the runner's alone.
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)
    try:
        _await_listening(process, port)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)) as connection:
            yield Stage(port, workload, connection)
    finally:
        process.kill()
        process.communicate()


def _await_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"the benchmark's server ended with exit code {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.connect()
            return
        time.sleep(0.1)
    raise BenchError(f"the benchmark's server did not start within {START_S:g} s")
