"""The local AWS look-alike: MiniStack, an MIT-licensed server from PyPI, on a free port of this machine alone.

It lives in an environment of its own, because it pulls another botocore than headrace's: in a checkout the one that
`make emulators` made, else one in the user's cache folder, made at the first demo.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import headrace
from headrace.aws.session import aws_clients, translated
from headrace.cli.demo.children import Child, Children

PACKAGES: Final = ("ministack==1.5.33", "cbor2>=5.6")
"""As in tools/emulators: this version was probed call by call."""

LOOPBACK: Final = "127.0.0.1"
ACCOUNT: Final = "000000000000"
"""The access key id; twelve digits choose MiniStack's account, and every process must use the same."""

REGION: Final = "us-east-1"

START_S: Final = 60.0
LOOK_S: Final = 0.1

STREAM: Final = "orders"
TABLE: Final = "order-items"


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack."""

    child: Child
    endpoint: str


async def start_stack(children: Children, folder: Path) -> Stack:
    """Start MiniStack, installed first if need be, and wait for its first answer. Raises DemoError."""
    program = await _program(children)
    port = free_port()
    settings = {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "SERVICES": "kinesis,dynamodb",
        "LOG_LEVEL": "WARNING",
        "STATE_DIR": str(folder / "stack"),
    }
    child = await children.start("local-stack", [str(program)], {**_plain_environment(), **settings})
    await _until_listening(children, child, port)
    return Stack(child, f"http://{LOOPBACK}:{port}")


async def _program(children: Children) -> Path:
    if (ready := _in_checkout()).exists():
        return ready
    home = _cache() / f"{PACKAGES[0].replace('==', '-')}-{sysconfig.get_python_version()}"
    program, finished = home / "bin" / "ministack", home / "installed"
    if not finished.exists():
        sys.stderr.write(f"Installing {PACKAGES[0]} into {home}, once; about half a minute...\n")
        await _install(children, home)
        finished.touch()
    return program


def _in_checkout() -> Path:
    return Path(headrace.__file__).resolve().parents[2] / "tools" / "emulators" / ".venv" / "bin" / "ministack"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"


async def _install(children: Children, home: Path) -> None:
    environment = _plain_environment()
    make = [sys.executable, "-m", "venv", "--clear", str(home)]
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for name, command in (("install-environment", make), ("install-packages", [*pip, *PACKAGES])):
        await children.finish(await children.start(name, command, environment))


async def _until_listening(children: Children, child: Child, port: int) -> None:
    try:
        async with asyncio.timeout(START_S):
            while not await _listens(port):
                children.check([child])
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise child.failure(f"did not answer within {START_S:g} s") from None


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def environment_for(stack: Stack, folder: Path) -> dict[str, str]:
    """What every process of the demo gets: this stack, and nothing of the user's own AWS or headrace settings."""
    nothing = folder / "empty"
    nothing.touch()
    return {
        **_plain_environment(),
        "AWS_ENDPOINT_URL": stack.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(nothing),
        "AWS_SHARED_CREDENTIALS_FILE": str(nothing),
        "HEADRACE_CONFIG": str(nothing),
        "NO_PROXY": LOOPBACK,
    }


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HEADRACE_"))}


@contextmanager
def in_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """This process's own environment, for as long as the context lasts: botocore reads it when clients are made."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def make_stream_and_table(shards: int) -> None:
    """The two things that headrace never makes itself."""
    key: Any = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    types: Any = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    async with aws_clients() as clients:
        with translated("kinesis", "CreateStream"):
            await clients.kinesis.create_stream(StreamName=STREAM, ShardCount=shards)
            await clients.kinesis.get_waiter("stream_exists").wait(StreamName=STREAM)
        with translated("dynamodb", "CreateTable"):
            await clients.dynamodb.create_table(
                TableName=TABLE, KeySchema=key, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST"
            )
