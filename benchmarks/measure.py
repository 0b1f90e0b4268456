"""One consumer process from exec to exit: its CPU and memory from the kernel, what it wrote from the server."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import IO, Any, Final

import psutil

from benchmarks.consumers import Consumer
from benchmarks.records import expected_item
from benchmarks.stage import BenchError, Stage
from benchmarks.tally import FIRST_READS

LOOK_S: Final = 0.05
SILENT_LOOKS: Final = 600
"""Half a minute without progress: the consumer counts as hanging. Looks are counted, for clocks run on while a virtual
machine is suspended."""

TAIL_LINES: Final = 20
"""What is shown of the output of a consumer that failed."""

Watch = Callable[[int], None]
"""Told how many records are written."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run. `cpu_s` is user and system time of the whole process; `start_cpu_s` what was spent before the first read."""

    consumer: str
    records: int
    cpu_s: float
    start_cpu_s: float
    peak_rss: int
    seconds: float
    """From the first read to the last write."""
    missing: int
    repeated: int
    requests: dict[str, int]
    sent_bytes: int

    @property
    def cpu_us(self) -> float:
        """CPU per record, start-up included."""
        return self.cpu_s * 1e6 / self.records

    @property
    def run_cpu_us(self) -> float:
        """CPU per record without what was spent before the first read."""
        return (self.cpu_s - self.start_cpu_s) * 1e6 / self.records

    @property
    def requests_per_record(self) -> float:
        """Requests of any kind."""
        return sum(self.requests.values()) / self.records


@dataclass(slots=True)
class Running:
    """A consumer process. `wait4` reaps it, so Popen never may."""

    popen: subprocess.Popen[bytes]
    log: IO[bytes]
    usage: resource.struct_rusage | None = None
    start_cpu_s: float = 0.0
    stopped: bool = field(default=False)

    def look(self) -> bool:
        """Whether it has ended; then `usage` is what it used."""
        if self.usage is None:
            pid, status, usage = os.wait4(self.popen.pid, os.WNOHANG)
            if pid:
                self.usage = usage
                self.popen.returncode = os.waitstatus_to_exitcode(status)
        return self.usage is not None

    def note_start(self) -> None:
        """Remember what it used so far."""
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(self.popen.pid).cpu_times()
            self.start_cpu_s = times.user + times.system

    def stop(self) -> None:
        """Ask it to end, once."""
        if not self.stopped:
            self.stopped = True
            self.popen.send_signal(signal.SIGTERM)

    def failure(self, what: str) -> BenchError:
        """An error with the end of its output."""
        self.log.seek(0)
        last = self.log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        shown = "".join(f"\n  {line}" for line in last) or " It printed nothing."
        return BenchError(f"{what}. The end of its output:{shown}")


def measure(stage: Stage, consumer: Consumer, watch: Watch) -> Measurement:
    """Run it over every record and to its end. Raises BenchError when it hangs, fails or writes anything wrong."""
    stage.reset()
    with tempfile.TemporaryFile() as log:
        popen = subprocess.Popen(
            consumer.command,
            env=consumer.environment,
            cwd=consumer.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        running = Running(popen, log)
        try:
            _follow(stage, consumer, running, watch)
            return _measured(stage, consumer, running)
        finally:
            if not running.look():
                popen.kill()
                os.wait4(popen.pid, 0)
                popen.returncode = -signal.SIGKILL


def _follow(stage: Stage, consumer: Consumer, running: Running, watch: Watch) -> None:
    """Watch it until it has ended. Silence is judged by what the server sees."""
    silent, seen = 0, -1
    while not running.look():
        stats = stage.stats()
        silent += 1
        if stats["distinct"] != seen:
            silent, seen = 0, stats["distinct"]
            watch(seen)
        if not running.start_cpu_s and not stats["requests"].keys().isdisjoint(FIRST_READS):
            running.note_start()
        if seen == stage.workload.total and not consumer.ends_by_itself:
            running.stop()
        if silent > SILENT_LOOKS:
            raise running.failure(
                f"{consumer.name} {'does not end' if running.stopped else f'is stuck at {seen} records'}"
            )
        time.sleep(LOOK_S)


def _measured(stage: Stage, consumer: Consumer, running: Running) -> Measurement:
    stats, total = stage.stats(), stage.workload.total
    assert running.usage is not None
    if running.popen.returncode:
        raise running.failure(f"{consumer.name} ended with exit code {running.popen.returncode}")
    if not consumer.ends_by_itself and not running.stopped:
        raise running.failure(f"{consumer.name} ended before it was asked to")
    if stats["strangers"]:
        raise BenchError(f"{consumer.name} wrote {stats['strangers']} items under keys that no record has")
    _compare(stage, consumer)
    return Measurement(
        consumer=consumer.name,
        records=total,
        cpu_s=running.usage.ru_utime + running.usage.ru_stime,
        start_cpu_s=running.start_cpu_s,
        # Kilobytes on Linux. A child inherits the peak of the process that forked it: this one imports little.
        peak_rss=running.usage.ru_maxrss * 1024,
        seconds=stats["seconds"],
        missing=total - stats["distinct"],
        repeated=stats["repeated"],
        requests=stats["requests"],
        sent_bytes=stats["sent_bytes"],
    )


# --- contents ---------------------------------------------------------------------------------------------------------


def _compare(stage: Stage, consumer: Consumer) -> None:
    """Every item of the sample is what its record says. Raises BenchError, naming the first attribute that is not."""
    for number, found in stage.sample().items():
        expected = expected_item(int(number), stage.workload)
        for name in sorted({*expected, *found} - consumer.differs):
            if _plain(expected.get(name)) != _plain(found.get(name)):
                raise BenchError(f"{consumer.name} wrote record {number} wrong: attribute {name!r}")


def _plain(value: Any) -> Any:
    """Numbers by value, so that 1.50 and 1.5 are equal."""
    match value:
        case {"N": text}:
            return Decimal(text)
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case _:
            return value
