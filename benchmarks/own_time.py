"""Where a worker's time goes, by sampling: every few milliseconds of CPU the kernel interrupts, and the running line is noted.

Only CPU counts, waiting does not. What a C function uses is booked on the Python line that called it. Unlike a tracing
profiler this hardly changes what it measures: one signal every few milliseconds, nothing per call.

As a program it is the launcher: `python -m benchmarks.own_time FILE run` runs headrace's command line and leaves the
samples in FILE.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Final

EVERY_S: Final = 0.001
"""As asked for; Linux gives one every tick of its own, often 4 ms."""

FIRST_LINES: Final = 40
AREAS: Final = 25
DEAREST: Final = 4

Place = tuple[str, str, int]
"""File, function, line."""


def launcher(samples: Path) -> tuple[str, ...]:
    """The command that stands for `headrace`."""
    return (sys.executable, "-m", "benchmarks.own_time", str(samples))


def lines(samples: Path, cpu_us: float, count: int = FIRST_LINES) -> Iterator[str]:
    """Own time by area, then by function with its dearest lines; `cpu_us` is what a record costs in all."""
    hits: dict[Place, int] = {(path, name, line): count for path, name, line, count in json.loads(samples.read_text())}
    total = sum(hits.values())
    areas: Counter[str] = Counter()
    functions: Counter[tuple[str, str]] = Counter()
    for (path, name, _), count_here in hits.items():
        areas[_area(path)] += count_here
        functions[path, name] += count_here
    yield f"{total} samples, {cpu_us:.1f} us/record"
    yield from _table(areas.most_common(AREAS), cpu_us / total)
    yield ""
    shown = [(_function(key, hits, cpu_us / total), share) for key, share in functions.most_common(count)]
    yield from _table(shown, cpu_us / total)


def _table(rows: Iterable[tuple[str, int]], us_per_hit: float) -> Iterator[str]:
    yield f"{'us/record':>9}"
    for name, hits in rows:
        yield f"{hits * us_per_hit:9.2f}  {name}"


def _function(key: tuple[str, str], hits: Mapping[Place, int], us_per_hit: float) -> str:
    """Its name, and the lines that cost most."""
    path, name = key
    by_line = Counter({line: count for (*place, line), count in hits.items() if tuple(place) == key})
    dearest = ", ".join(f"{line} ({count * us_per_hit:.1f})" for line, count in by_line.most_common(DEAREST))
    return f"{_short(path)} {name}: line {dearest}"


def _area(path: str) -> str:
    """A file of headrace, else the package."""
    short = _short(path)
    if short.startswith("headrace/"):
        return short
    return short.partition("/")[0] if "site-packages" in path else "interpreter and standard library"


def _short(path: str) -> str:
    parts = Path(path).parts
    for root in ("site-packages", "consumer"):
        if root in parts:
            return "/".join(parts[parts.index(root) + 1 :])
    return "/".join(parts[-2:])


# --- inside the process -----------------------------------------------------------------------------------------------


class Sampler:
    """Counts where the process was whenever the timer went off."""

    def __init__(self) -> None:
        self._hits: Counter[Place] = Counter()

    def start(self) -> None:
        """From now on."""
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def save(self, path: Path) -> None:
        """Stop, and write what was seen."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        path.write_text(json.dumps([[*place, hits] for place, hits in self._hits.items()]))

    def _note(self, _: int, frame: FrameType | None) -> None:
        if frame is not None:
            self._hits[frame.f_code.co_filename, frame.f_code.co_qualname, frame.f_lineno] += 1


def _main() -> None:
    from headrace.cli import main  # noqa: PLC0415 - only the launched process needs it

    path, sampler = Path(sys.argv.pop(1)), Sampler()
    sampler.start()
    try:
        sys.exit(main())
    finally:
        sampler.save(path)


if __name__ == "__main__":
    _main()
