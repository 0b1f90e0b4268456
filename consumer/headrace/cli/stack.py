"""`headrace stack`: the demo's local AWS look-alike by itself, with a stream and a table, until Ctrl-C.

How other terminals reach it stands in a file for them to read in, so that nobody copies six variables by hand.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from headrace.cli.demo.children import Children
from headrace.cli.demo.stack import (
    Resources,
    Stack,
    environment_for,
    in_environment,
    make_resources,
    start_stack,
    way_to,
)
from headrace.errors import SettingsError
from headrace.tasks import unless_stopped

FOLDER: Final = Path(".stack")
"""In the working directory: what the server said, and the file for other terminals."""

MOST_KEYS: Final = 2
"""Key attributes of a DynamoDB table: partition key and sort key."""

HEAD: Final = (
    "# Made by `headrace stack`: with these, a shell talks to the local stack and to nothing of your AWS account.\n"
)


def stack(wanted: Resources, port: int) -> int:
    """Run it until SIGINT, SIGTERM or SIGHUP; 0. Raises SettingsError, DemoError, AwsError."""
    if len(set(wanted.key)) != len(wanted.key) or len(wanted.key) > MOST_KEYS:
        raise SettingsError(
            "--key", " ".join(wanted.key), "is no table's key", "Name one attribute, or two different ones"
        )
    return asyncio.run(_guarded(wanted, port))


async def _guarded(wanted: Resources, port: int) -> int:
    """The stack, with everything that it started ended behind it."""
    folder = _folder()
    children, stop, file = Children(folder), asyncio.Event(), folder / "environment"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await unless_stopped(stop, _run(wanted, port, children, file), "stack")
    finally:
        file.unlink(missing_ok=True)  # a terminal that reads it later must not go to a port where nobody is
        await children.stop_all()
    _say("Stopped.")
    return 0


async def _run(wanted: Resources, port: int, children: Children, file: Path) -> None:
    """Everything up, and then nothing but a look whether it still is. Raises DemoError when it is not."""
    stack = await start_stack(children, file.parent, port)
    with in_environment(environment_for(stack, file.parent)):
        await make_resources(wanted)
    _hand_out(stack, wanted, file)
    await stack.child.process.wait()
    children.check([stack.child])


def environment_file(way: Mapping[str, str], present: Iterable[str]) -> str:
    """A shell script that sets the `way` to the stack, and takes away what else of AWS is set or `present` here."""
    others = sorted({*ALSO_ASKED, *(name for name in present if name.startswith("AWS_"))} - way.keys())
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in way.items()]
    return HEAD + f"unset {' '.join(others)}\n" + "".join(lines)


ALSO_ASKED: Final = (
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_KINESIS",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SNS",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
)
"""What botocore's chain asks for before, or beside, the variables of the way."""


def _folder() -> Path:
    try:
        FOLDER.mkdir(exist_ok=True)
    except OSError as error:
        mend = "Change to a folder where you may write"
        raise SettingsError(str(FOLDER), None, f"cannot be made here: {error.strerror}", mend) from error
    return FOLDER.resolve()


def _hand_out(stack: Stack, wanted: Resources, file: Path) -> None:
    file.write_text(environment_file(way_to(stack, file.parent), os.environ), encoding="utf-8")
    shards = f"{wanted.shards} shard{'' if wanted.shards == 1 else 's'}"
    _say(
        f"The local stack is at {stack.endpoint}, with stream {wanted.stream} ({shards}) "
        f"and table {wanted.table} (key {', '.join(wanted.key)}).",
        "In the other terminals, here:",
        "",
        f"    . {_short(file)}",
        "",
        "Ctrl-C ends it, and all that it holds.",
    )


def _short(file: Path) -> str:
    here = Path.cwd()
    return shlex.quote(str(file.relative_to(here) if file.is_relative_to(here) else file))


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
