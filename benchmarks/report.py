"""Figures beside their targets, for people and for machines."""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.measure import Measurement

MB: Final = 1_000_000

BUILD_OPTIONS: Final = {"PGO": "--enable-optimizations", "LTO": "--with-lto"}
"""What a build is configured with. A distribution may optimise by its own rules and name neither."""

LOAD_BEFORE: Final = os.getloadavg()[0]

COLUMNS: Final = (
    "consumer",
    "CPU us/record",
    "without start",
    "records/s",
    "requests/record",
    "peak RSS",
    "missing",
    "repeated",
)


@dataclass(frozen=True, slots=True)
class Target:
    """Something the project promises, and what was measured."""

    name: str
    value: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the promise holds."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign, verdict = (">=" if self.at_least else "<="), ("met" if self.met else "MISSED")
        return f"{verdict:6}  {self.name}: {self.value:.4g}{self.unit} (target {sign} {self.limit:g}{self.unit})"


AT_MOST: Final = (
    ("insert", "put", 1.4),
    ("latest, few keys", "put, few keys", 1.4),
    ("transactional", "put", 2.5),
    ("put, fan-out", "put", 1.0),
)
"""Modes, what they are measured by, and how much more they may cost."""

PYTHON: Final = "put, Python"
"""Measured where there is a compiled transcoder, which `put` then has."""

MOST_US: Final = {"put": 32.0}
"""CPU per record, whole process, in Python."""
MOST_US_COMPILED: Final = {"put": 14.0, "record handler": 24.0, PYTHON: 32.0}
"""With the transcoder."""

AT_LEAST: Final = (
    ("stock loop", PYTHON, 10),
    ("stock conditional put", "insert", 20),
    ("stock conditional put", "latest, few keys", 20),
)
"""Stock loops, modes, and how much more the loop has to cost."""


def comparison_targets(runs: Sequence[Measurement]) -> list[Target]:
    """What `make bench` has to show. Of several rounds the median counts, of memory the worst."""
    cpu = {name.removeprefix("headrace "): value for name, value in medians(runs).items()}
    is_compiled = PYTHON in cpu
    most_us = MOST_US_COMPILED if is_compiled else MOST_US
    least_times = [("stock loop", "put", 22 if is_compiled else 10), *AT_LEAST]
    return [
        *(Target(f"{name}: CPU per record, whole process", cpu[name], most, " us") for name, most in most_us.items()),
        *(Target(f"{mode} : {other}", cpu[mode] / cpu[other], most, "x") for mode, other, most in AT_MOST),
        *(
            Target(f"{loop} : {mode}", cpu[loop] / cpu[mode], least, "x", at_least=True)
            for loop, mode, least in least_times
            if loop in cpu and mode in cpu
        ),
        Target("peak RSS", max(run.peak_rss for run in runs if run.consumer == "headrace put") / MB, 250, " MB"),
        Target("records missing", max(run.missing for run in runs), 0),
    ]


def medians(runs: Iterable[Measurement]) -> dict[str, float]:
    """CPU in us per record, by consumer."""
    several: dict[str, list[float]] = {}
    for run in runs:
        several.setdefault(run.consumer, []).append(run.cpu_us)
    return {name: median(values) for name, values in several.items()}


def presence_targets(runs: Sequence[Measurement]) -> list[Target]:
    """What every comparison has to show: all the records."""
    return [Target("records missing", max(run.missing for run in runs), 0)]


def memory_targets(run: Measurement) -> list[Target]:
    """What a worker that holds many shards with a backlog has to show."""
    return [Target("peak RSS", run.peak_rss / MB, 400, " MB"), Target("records missing", run.missing, 0)]


def rows(runs: Iterable[Measurement]) -> Iterator[tuple[str, ...]]:
    """One row of text for each run, under COLUMNS."""
    for run in runs:
        yield (
            run.consumer,
            f"{run.cpu_us:.1f}",
            f"{run.run_cpu_us:.1f}",
            f"{run.records / run.seconds:,.0f}" if run.seconds else "-",
            f"{run.requests_per_record:.4f}",
            f"{run.peak_rss / MB:.0f} MB",
            f"{run.missing}",
            f"{run.repeated}",
        )


def requests_line(run: Measurement) -> str:
    """How often each operation was called."""
    counts = sorted(run.requests.items(), key=lambda pair: -pair[1])
    return f"{run.consumer}: " + ", ".join(f"{count:,} {name}" for name, count in counts)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures depend on besides the code."""

    python: str
    build: str
    cpu: str
    system: str
    load_before: float
    """Processes that ran or wanted to in the minute before the benchmark: other work makes every figure dearer."""

    def __str__(self) -> str:
        return f"{self.python} ({self.build}); {self.cpu}; {self.system}; load before {self.load_before:.1f}"


def machine() -> Machine:
    """This one. PGO and LTO are worth 15 to 20 %, so a figure without its build says little."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    named = [name for name, option in BUILD_OPTIONS.items() if option in options]
    return Machine(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        build=f"{' and '.join(named) or 'neither PGO nor LTO'} by its configure options",
        cpu=_cpu(),
        system=f"{platform.system()} {platform.machine()}",
        load_before=LOAD_BEFORE,
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.processor() or "unknown CPU"


def as_json(runs: Iterable[Measurement], targets: Iterable[Target]) -> dict[str, Any]:
    """Everything, for a machine."""
    return {
        "machine": asdict(machine()),
        "runs": [{**asdict(run), "cpu_us": run.cpu_us, "run_cpu_us": run.run_cpu_us} for run in runs],
        "targets": [{**asdict(target), "met": target.met} for target in targets],
    }
