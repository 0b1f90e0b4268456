"""The consumers that are compared: how each is started, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.arrivals import ORDER, TABLE
from benchmarks.fake_kinesis import STREAM
from benchmarks.stage import ROOT, Stage
from headrace.core.native import installed


@dataclass(frozen=True, slots=True)
class Consumer:
    """A command line and its environment. One that does not end by itself gets SIGTERM once every record is written."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    ends_by_itself: bool = False
    differs: frozenset[str] = frozenset()
    """Attributes that its items have otherwise than the others' or have beside them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A way of running a consumer; `settings` are headrace's, beside those that all have."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    """Further words of the command line."""
    differs: frozenset[str] = frozenset()


PUT: Final = Kind("put")
PUT_PYTHON: Final = Kind("put, Python", {"HEADRACE_NATIVE": "off"})
"""Without the compiled transcoder, which the others have where it is installed."""
INSERT: Final = Kind("insert", {"HEADRACE_SINK_MODE": "insert"})
_STATES: Final = {
    # 1,250 items a shard, each written 20 times; without folding every record is a write, as in the other rows.
    "HEADRACE_ITEM_KEY": "pk={device_id} sk={kind}",
    "HEADRACE_SINK_FOLD": "false",
}
PUT_STATES: Final = Kind("put, few keys", _STATES, differs=frozenset({"sk"}))
LATEST: Final = Kind("latest, few keys", {**_STATES, "HEADRACE_SINK_MODE": "latest"}, differs=frozenset({"sk", ORDER}))
TRANSACTIONAL: Final = Kind("transactional", {"HEADRACE_SINK_MODE": "transactional"})
MODES: Final = (PUT, INSERT, PUT_STATES, LATEST, TRANSACTIONAL)

FAN_OUT: Final = Kind("put, fan-out", {"HEADRACE_STREAM_CONSUMER": "fan-out"})

RECORD_HANDLER: Final = Kind("record handler", {"HEADRACE_HANDLER": "benchmarks.handlers:of_record"})
MAIN: Final = (*MODES, FAN_OUT, RECORD_HANDLER, *([PUT_PYTHON] if installed() is not None else []))
"""What `make bench` compares; the Python way beside the transcoder, where there is one."""
RECORD_HANDLER_PYTHON: Final = Kind(
    "record handler, Python", {"HEADRACE_HANDLER": "benchmarks.handlers:of_record", "HEADRACE_NATIVE": "off"}
)

ASYNC_HANDLER: Final = Kind("async record handler", {"HEADRACE_HANDLER": "benchmarks.handlers:of_record_async"})
BATCH_HANDLER: Final = Kind("batch handler", {"HEADRACE_HANDLER": "benchmarks.handlers:of_batch"})
LAMBDA_HANDLER: Final = Kind("Lambda handler", {"HEADRACE_HANDLER": "benchmarks.handlers.of_event"})
HANDLERS: Final = (PUT, RECORD_HANDLER, RECORD_HANDLER_PYTHON, ASYNC_HANDLER, BATCH_HANDLER, LAMBDA_HANDLER)

TWO_PROCESSES: Final = Kind("put, 2 processes", words=("--processes", "2"))


def headrace(stage: Stage, folder: Path, kind: Kind = PUT, launcher: tuple[str, ...] = ()) -> Consumer:
    """`headrace run` as a user starts it: all from the environment, a fresh application, items by settings unless told otherwise."""
    settings = {
        "HEADRACE_APPLICATION": f"bench-{uuid4().hex[:12]}",
        "HEADRACE_STREAM_NAME": STREAM,
        "HEADRACE_SINK_TABLE": TABLE,
        "HEADRACE_OPS_PORT": "0",
        **({} if "HEADRACE_HANDLER" in kind.settings else {"HEADRACE_ITEM_KEY": "pk={device_id} sk={reading_id}"}),
        **kind.settings,
    }
    command = launcher or (str(Path(sys.executable).parent / "headrace"),)
    told = {**environment(stage, folder), **settings}
    return Consumer(f"headrace {kind.name}", (*command, "run", *kind.words), told, folder, differs=kind.differs)


def stock(stage: Stage, folder: Path, *, conditional: bool = False) -> Consumer:
    """The stock loop; see `stock.py`."""
    command = (sys.executable, "-m", "benchmarks.stock", STREAM, TABLE, *(("--conditional",) if conditional else ()))
    name = "stock conditional put" if conditional else "stock loop"
    return Consumer(name, command, environment(stage, folder), folder, ends_by_itself=True)


def compile_all(stage: Stage, folder: Path) -> None:
    """Have the byte code of all consumers' and the producer's modules cached, as it is in an image: compiling is no part of a start."""
    for modules in (
        "headrace.cli.app, headrace.cli.run, headrace.handlers.mapping",
        "benchmarks.stock",
        "benchmarks.handlers, headrace.handlers.child",
        "headrace_producer.cli, aiobotocore.httpsession",
    ):
        command = [sys.executable, "-c", f"import {modules}"]
        subprocess.run(command, env=environment(stage, folder), check=False, stderr=subprocess.DEVNULL)


def environment(stage: Stage, folder: Path) -> dict[str, str]:
    own = {name: value for name, value in stage.environment().items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, (str(ROOT), own.get("PYTHONPATH"))))
    return {**own, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(folder / "byte-code")}
