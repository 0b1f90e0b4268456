"""Many seeds on several processes, and what is told of them."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from simulation.fleet import prepare, simulate
from simulation.ledger import Violation
from simulation.loop import BEGAN_S

PORTION = 5
"""Seeds that a process takes at a time."""

KNOWN = (
    *("fences", "fences of running workers", "needless fences", "takes", "claims", "handoffs", "adoptions", "releases"),
    *("refused fences", "refused heartbeats of the fenced", "refused zombie writes"),
    *("records settled", "records buried", "shards ended", "subscriptions"),
)
"""What is always told, even where there was none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A seed that broke an invariant, or ended otherwise."""

    seed: int
    invariant: str
    text: str

    @property
    def replay(self) -> str:
        return f"make simulate RUNS=1 SEED={self.seed} OPTIONS=--trace"


@dataclass
class Tally:
    """What came of some seeds."""

    runs: int = 0
    virtual_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.runs += other.runs
        self.virtual_s += other.virtual_s
        self.counts.update(other.counts)
        self.findings.extend(other.findings)

    @property
    def faults(self) -> dict[str, int]:
        named = {name.removeprefix("fault "): n for name, n in self.counts.items() if name.startswith("fault ")}
        return dict(sorted(named.items()))

    @property
    def events(self) -> dict[str, int]:
        return {name: self.counts[name] for name in KNOWN}

    def as_json(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "virtual_hours": round(self.virtual_s / 3600, 2),
            "faults": self.faults,
            "events": self.events,
            "violations": [{**asdict(finding), "replay": finding.replay} for finding in self.findings],
        }


def play_one(seed: int, tell: Callable[[str], None] | None = None) -> Tally:
    """One seed; whatever ends a run is a finding."""
    try:
        fleet = simulate(seed, tell)
    except Exception as error:  # noqa: BLE001 - it is told with its seed
        invariant = error.invariant if isinstance(error, Violation) else type(error).__name__
        return Tally(runs=1, findings=[Finding(seed, invariant, str(error))])
    return Tally(runs=1, virtual_s=fleet.loop.now - BEGAN_S, counts=fleet.counts)


def play_all(seeds: range, jobs: int, console: Console, *, to_the_first: bool = False) -> Tally:
    """All of them (or up to the first finding), with a bar on a terminal; findings are told as they come."""
    whole = Tally()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("seeds", total=len(seeds))
        for tally in _tallies(seeds, jobs):
            whole.add(tally)
            progress.advance(bar)
            for finding in tally.findings:
                tell(finding, console)
            if to_the_first and tally.findings:
                break
    whole.findings.sort(key=lambda finding: finding.seed)
    return whole


def tell(finding: Finding, console: Console) -> None:
    """As it is found."""
    text = f"seed {finding.seed}: {finding.text}\n  again: {finding.replay}"
    console.print(text, style="red", soft_wrap=True, highlight=False)


def _tallies(seeds: range, jobs: int) -> Iterator[Tally]:
    prepare()
    if jobs == 1:
        yield from map(play_one, seeds)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(play_one, seeds, chunksize=PORTION)


def show(tally: Tally, console: Console) -> None:
    """The final table."""
    table = Table("", "", title="simulated fleets", show_header=False)
    table.columns[1].justify = "right"
    table.add_row("runs", f"{tally.runs:,}")
    table.add_row("virtual hours", f"{tally.virtual_s / 3600:,.1f}", end_section=True)
    _rows(table, tally.faults, "fault: {}")
    _rows(table, tally.events, "{}")
    table.add_row("violations", f"{len(tally.findings):,}")
    console.print(table)


def _rows(table: Table, counts: dict[str, int], label: str) -> None:
    for name, count in counts.items():
        table.add_row(label.format(name.replace("_", " ")), f"{count:,}")
    table.add_section()


def in_a_process(work: Callable[[], Any]) -> Any:
    """Do something in a process of its own: what it patches is gone with it."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(work)
