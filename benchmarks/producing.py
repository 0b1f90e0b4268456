"""What a produced record costs: `headrace-producer` from exec to exit, plain and with aggregates, against the intake."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.consumers import environment
from benchmarks.fake_kinesis import STREAM
from benchmarks.report import MB, Target, machine
from benchmarks.stage import BenchError, Stage

MOST_CPU_US: Final = 33.3
"""Less than one core for every 30,000 records/s; 50 shards take 50,000 (Kinesis quotas)."""

COLUMNS: Final = ("producer", "CPU us/record", "records/s", "records/call", "entries/call", "peak RSS")


@dataclass(frozen=True, slots=True)
class Load:
    """What is produced: so many records of at least so many bytes, over so many keys, with a ledger or without."""

    records: int
    record_bytes: int
    keys: int
    workload: str = "iot"


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `cpu_s` is user and system time of the whole process, `seconds` from its first record to its last answer."""

    name: str
    records: int
    cpu_s: float
    seconds: float
    calls: int
    entries: int
    peak_rss: int

    @property
    def cpu_us(self) -> float:
        """CPU per record, start-up included."""
        return self.cpu_s * 1e6 / self.records

    @property
    def rate(self) -> float:
        """Records/s."""
        return self.records / self.seconds

    def row(self) -> tuple[str, ...]:
        """Its cells, under COLUMNS."""
        per_call = f"{self.records / self.calls:.0f}", f"{self.entries / self.calls:.0f}"
        return self.name, f"{self.cpu_us:.1f}", f"{self.rate:,.0f}", *per_call, f"{self.peak_rss / MB:.0f} MB"


def produce(stage: Stage, folder: Path, load: Load, options: Sequence[str], launcher: Sequence[str] = ()) -> Run:
    """Run the producer once. Raises BenchError when it fails, or when what arrived is not what it says."""
    stage.reset()
    ledger = folder / "ledger"
    command = [*(launcher or [str(Path(sys.executable).parent / "headrace-producer")]), *_words(load, ledger), *options]
    told, usage = _ended(command, stage, folder)
    lines = sum(1 for _ in ledger.open("rb")) - 1
    ledger.unlink()
    found = stage.intake()
    _check(load, found, lines)
    return Run(
        name=" ".join(("headrace-producer", *options)),
        records=load.records,
        cpu_s=usage.ru_utime + usage.ru_stime,
        seconds=told["seconds"],
        calls=told["calls"],
        entries=found["entries"],
        peak_rss=usage.ru_maxrss * 1024,
    )


def _words(load: Load, ledger: Path) -> list[str]:
    words = {
        "stream": STREAM,
        "workload": load.workload,
        "count": load.records,
        "keys": load.keys,
        "record-bytes": load.record_bytes,
        "ledger": ledger,
    }
    return [*(f"--{name}={value}" for name, value in words.items()), "--json"]


def _ended(command: Sequence[str], stage: Stage, folder: Path) -> tuple[dict[str, Any], resource.struct_rusage]:
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as out:
        own = environment(stage, folder)
        popen = subprocess.Popen(command, env=own, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
        _, status, usage = os.wait4(popen.pid, 0)
        popen.returncode = os.waitstatus_to_exitcode(status)
        if popen.returncode:
            log.seek(0)
            raise BenchError(f"the producer ended with exit code {popen.returncode}: {log.read().decode()[-2000:]}")
        out.seek(0)
        told: dict[str, Any] = json.loads(out.read())
        return told, usage


def _check(load: Load, found: dict[str, Any], lines: int) -> None:
    if not found["records"] == lines == load.records:
        raise BenchError(f"of {load.records:,} records {found['records']:,} arrived and {lines:,} are in the ledger")
    for what in ("misordered", "strayed"):
        if found[what]:
            raise BenchError(f"{found[what]:,} records are {what}")


def targets(runs: Sequence[Run]) -> Iterator[Target]:
    """What the producer has to show, plain and with aggregates; of several rounds the median counts."""
    for name in dict.fromkeys(run.name for run in runs):
        rounds = [run for run in runs if run.name == name]
        yield Target(f"{name}: CPU per record, whole process", median(run.cpu_us for run in rounds), MOST_CPU_US, " us")


def as_json(runs: Sequence[Run], aims: Sequence[Target]) -> dict[str, Any]:
    """Everything, for a machine."""
    return {
        "machine": asdict(machine()),
        "runs": [{**asdict(run), "cpu_us": run.cpu_us, "rate": run.rate} for run in runs],
        "targets": [{**asdict(target), "met": target.met} for target in aims],
    }
