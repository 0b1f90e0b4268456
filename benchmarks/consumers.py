"""The consumers that are compared: how each is started, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from benchmarks.fake_kinesis import STREAM
from benchmarks.stage import ROOT, Stage
from benchmarks.tally import TABLE


@dataclass(frozen=True, slots=True)
class Consumer:
    """A command line and its environment. One that does not end by itself gets SIGTERM once every record is written."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    ends_by_itself: bool = False


def transactional(stage: Stage, folder: Path) -> Consumer:
    """The same worker in mode `transactional`."""
    ours = headrace(stage, folder)
    return replace(ours, name="transactional", environment={**ours.environment, "HEADRACE_SINK_MODE": "transactional"})


def headrace(stage: Stage, folder: Path, launcher: tuple[str, ...] = ()) -> Consumer:
    """`headrace run` as a user starts it: all from the environment, items by settings, a fresh application."""
    settings = {
        "HEADRACE_APPLICATION": f"bench-{uuid4().hex[:12]}",
        "HEADRACE_STREAM_NAME": STREAM,
        "HEADRACE_SINK_TABLE": TABLE,
        "HEADRACE_ITEM_KEY": "pk={device_id} sk={reading_id}",
        "HEADRACE_OPS_PORT": "0",
    }
    command = launcher or (str(Path(sys.executable).parent / "headrace"),)
    return Consumer("headrace", (*command, "run"), {**environment(stage, folder), **settings}, folder)


def stock(stage: Stage, folder: Path) -> Consumer:
    """The stock loop; see `stock.py`."""
    command = (sys.executable, "-m", "benchmarks.stock", STREAM, TABLE)
    return Consumer("stock loop", command, environment(stage, folder), folder, ends_by_itself=True)


def compile_all(stage: Stage, folder: Path) -> None:
    """Have the byte code of all consumers' and the producer's modules cached, as it is in an image: compiling is no part of a start."""
    for modules in (
        "headrace.cli.app, headrace.cli.run, headrace.handlers.mapping",
        "benchmarks.stock",
        "headrace_producer.cli, aiobotocore.httpsession",
    ):
        command = [sys.executable, "-c", f"import {modules}"]
        subprocess.run(command, env=environment(stage, folder), check=False, stderr=subprocess.DEVNULL)


def environment(stage: Stage, folder: Path) -> dict[str, str]:
    own = {name: value for name, value in stage.environment().items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, (str(ROOT), own.get("PYTHONPATH"))))
    return {**own, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(folder / "byte-code")}
