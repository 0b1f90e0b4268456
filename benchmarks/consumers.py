"""The consumers that are compared: how each is started, and how it ends."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from benchmarks.stage import ROOT, STREAM, TABLE, Stage


@dataclass(frozen=True, slots=True)
class Consumer:
    """A command line and its environment. One that does not end by itself gets SIGTERM once every record is written."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    ends_by_itself: bool = False


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
    return Consumer("headrace", (*command, "run"), {**stage.environment(), **settings}, folder)


def stock(stage: Stage) -> Consumer:
    """The stock loop; see `stock.py`."""
    command = (sys.executable, "-m", "benchmarks.stock", STREAM, TABLE)
    return Consumer("stock loop", command, stage.environment(), ROOT, ends_by_itself=True)
