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
from headrace.errors import SettingsError

PACKAGES: Final = ("ministack==1.5.33", "cbor2>=5.6")
"""As in tools/emulators: this version was probed call by call."""

LOOPBACK: Final = "127.0.0.1"
ACCOUNT: Final = "000000000000"
"""The access key id; twelve digits choose MiniStack's account, and every process must use the same."""

REGION: Final = "us-east-1"

START_S: Final = 60.0
LOOK_S: Final = 0.1

SERVICES: Final = "kinesis,dynamodb,sqs,sns,s3"
"""What headrace may use; one that nobody uses costs nothing."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The stream, and the serving table with the names of its key attributes, which are texts."""

    stream: str
    shards: int
    table: str
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack."""

    child: Child
    endpoint: str


async def start_stack(children: Children, folder: Path, port: int = 0) -> Stack:
    """Start MiniStack at this port (0: any free one), installed first if need be, and wait for its first answer.

    Raises DemoError, and SettingsError where another process listens on the port.
    """
    port = _checked(port) if port else free_port()
    program = await _program(children)
    settings = {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "SERVICES": SERVICES,
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


def _checked(port: int) -> int:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that ended a moment ago is no hindrance
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            mend = "Name another, or 0 for any free one"
            raise SettingsError("--port", port, f"cannot be listened on: {error.strerror}", mend) from error
    return port


def environment_for(stack: Stack, folder: Path) -> dict[str, str]:
    """What every process of the demo gets: this stack, and nothing of the user's own AWS or headrace settings."""
    way = way_to(stack, folder)
    return {**_plain_environment(), **way, "HEADRACE_CONFIG": way["AWS_CONFIG_FILE"]}


def way_to(stack: Stack, folder: Path) -> dict[str, str]:
    """The variables by which botocore's chain finds this stack and nothing else; an empty file in `folder` is one's files."""
    nothing = folder / "empty"
    nothing.touch()
    return {
        "AWS_ENDPOINT_URL": stack.endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(nothing),
        "AWS_SHARED_CREDENTIALS_FILE": str(nothing),
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


async def make_resources(wanted: Resources) -> None:
    """The two things that headrace never makes itself. Raises AwsError."""
    key: Any = [
        {"AttributeName": name, "KeyType": kind} for name, kind in zip(wanted.key, ("HASH", "RANGE"), strict=False)
    ]
    types: Any = [{"AttributeName": name, "AttributeType": "S"} for name in wanted.key]
    async with aws_clients() as clients:
        with translated("kinesis", "CreateStream"):
            await clients.kinesis.create_stream(StreamName=wanted.stream, ShardCount=wanted.shards)
            await clients.kinesis.get_waiter("stream_exists").wait(StreamName=wanted.stream)
        with translated("dynamodb", "CreateTable"):
            await clients.dynamodb.create_table(
                TableName=wanted.table, KeySchema=key, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST"
            )
