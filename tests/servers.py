"""Local AWS look-alikes as child processes, on free loopback ports, for as long as a test session lasts."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EMULATORS = ROOT / "tools" / "emulators"
REGION = "us-east-1"
ACCOUNT = "000000000000"
"""The 12-digit access key id chooses the account in MiniStack and kinesis-local."""

START_S = 30.0

LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Server:
    """A running server. `services` are those that should be reached through it."""

    endpoint: str
    services: tuple[str, ...]
    process: subprocess.Popen[bytes] = field(compare=False)

    def environment(self) -> dict[str, str]:
        """What botocore's chain needs to reach it."""
        return credentials() | {f"AWS_ENDPOINT_URL_{service.upper()}": self.endpoint for service in self.services}


def credentials() -> dict[str, str]:
    """What botocore's chain needs besides an endpoint, and nothing of this machine's own."""
    return {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }


@contextlib.contextmanager
def ministack() -> Iterator[Server]:
    """Kinesis, DynamoDB, SQS, SNS and S3. Never reshard against it: it deletes the parent with its records."""
    program = EMULATORS / ".venv" / "bin" / "ministack"
    if not program.exists():
        raise RuntimeError("MiniStack is not installed: run `make emulators`")
    port = free_port()
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "kinesis,dynamodb,sqs,sns,s3",
    }
    services = ("kinesis", "dynamodb", "sqs", "sns", "s3")
    with _running([str(program)], environment, port, services) as server:
        yield server


def has_node_servers() -> bool:
    """Whether kinesis-local and the others are installed."""
    return (EMULATORS / "node_modules" / ".bin" / "kinesis-local").exists()


@contextlib.contextmanager
def kinesis_local() -> Iterator[Server]:
    """The one that drains closed shards and names their children. Slow: small data only."""
    port = free_port()
    environment = {
        "KINESIS_MOCK_CERT_PATH": str(EMULATORS / "node_modules" / "kinesis-local" / "server.json"),
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(free_port()),
        "SHARD_LIMIT": "1000",
        "CREATE_STREAM_DURATION": "10ms",
        "DELETE_STREAM_DURATION": "10ms",
        "SPLIT_SHARD_DURATION": "10ms",
        "MERGE_SHARDS_DURATION": "10ms",
        "UPDATE_SHARD_COUNT_DURATION": "10ms",
        "LOG_LEVEL": "ERROR",
    }
    program = [str(EMULATORS / "node_modules" / ".bin" / "kinesis-local")]
    with _running(program, environment, port, ("kinesis",)) as server:
        yield server


@contextlib.contextmanager
def dynalite() -> Iterator[Server]:
    """A second opinion on conditions; no transactions, no TTL, no old rows."""
    port = free_port()
    program = [
        str(EMULATORS / "node_modules" / ".bin" / "dynalite"),
        *("--port", str(port), "--host", "127.0.0.1", "--createTableMs", "5", "--updateTableMs", "5"),
    ]
    with _running(program, {}, port, ("dynamodb",)) as server:
        yield server


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _running(
    program: list[str], environment: Mapping[str, str], port: int, services: tuple[str, ...]
) -> Iterator[Server]:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            program,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads here
        )
        try:
            _await_answer(process, port, program)
            yield Server(f"http://127.0.0.1:{port}", services, process)
        finally:
            _stop(process)


def _await_answer(process: subprocess.Popen[bytes], port: int, program: list[str]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{program[0]} ended with {process.returncode} before it answered")
        if _answers(port):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{program[0]} did not answer within {START_S:g} s")


def _answers(port: int) -> bool:
    """Whether HTTP is spoken there; urllib would ask a proxy where one is set."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _end_with_parent() -> None:
    """Runs in the child: no server outlives a test run that was killed (prctl PR_SET_PDEATHSIG, Linux)."""
    LIBC.prctl(1, signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
