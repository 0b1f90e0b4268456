"""The result, for people and for programs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.measures import TOLD, Sample, Summary, summary_of, waited
from chaos.verdict import GAP_S, MOST_MOVES, REJOIN_S, UNREAD_S, Findings


def show(findings: Findings, console: Console) -> None:
    """Tables, the longest waits with their circumstances, what the workers counted."""
    console.print(_waits(findings))
    for line in _longest(findings):
        console.print(line, highlight=False)
    console.print(_answers(findings))
    if findings.rollouts:
        console.print(_rollouts(findings))
    if findings.pauses:
        console.print(_pauses(findings))
    for line in _counts(findings):
        console.print(line, highlight=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _rows(findings: Findings) -> Iterator[tuple[str, list[Sample], float | None]]:
    bound = findings.evidence.size.takeover_bound_s
    for what, samples, limit in (
        ("kill -9 to the next owner's first page", findings.takeovers, bound),
        ("SIGTERM: release to first page", [s for s in findings.gaps if s.how == "released"], GAP_S),
        ("handoff to first page", [s for s in findings.gaps if s.how == "handed_over"], GAP_S),
    ):
        clean = [s for s in samples if not s.beside]
        yield what, clean, limit
        yield "    until it had the lease", [s.until_opened for s in clean], None
        yield "    beside another fault", [s for s in samples if s.beside], None


def _waits(findings: Findings) -> Table:
    table = _table("Shards without a reader, in seconds", "from ... to", "count", "p50", "p99", "max", "promised p99")
    for what, samples, limit in _rows(findings):
        table.add_row(what, *_figures(waited(samples)), "" if limit is None else f"{limit:.2f}")
    return table


def _figures(summary: Summary) -> list[str]:
    if not summary.count:
        return ["0", "", "", ""]
    return [str(summary.count), *(f"{value:.2f}" for value in (summary.p50, summary.p99, summary.longest))]


def _longest(findings: Findings) -> Iterator[str]:
    for sample in sorted([*findings.takeovers, *findings.gaps], key=lambda s: -s.seconds)[:TOLD]:
        beside = f", beside {'; '.join(sample.beside)}" if sample.beside else ""
        yield f"  longest: {sample.seconds:.2f} s, {sample.shard} of {sample.worker} ({sample.how}){beside}"


def _answers(findings: Findings) -> Table:
    table = _table("Answers of the local servers, in seconds", "operation", "count", "p50", "p99", "max")
    for operation, summary in _by_operation(findings).items():
        table.add_row(operation, *_figures(summary))
    return table


def _by_operation(findings: Findings) -> dict[str, Summary]:
    links = [link for worker in findings.evidence.workers for link in worker.links.values()]
    seconds: dict[str, list[float]] = defaultdict(list)
    for answer in (answer for link in links for answer in link.answers):
        seconds[answer.operation].append(answer.seconds)
    return {operation: summary_of(seconds[operation]) for operation in sorted(seconds)}


def _rollouts(findings: Findings) -> Table:
    table = _table(
        f"Rolling restarts (a lease moves at most {MOST_MOVES} times, no shard is unread for more than {UNREAD_S:g} s)",
        "next worker starts",
        "took s",
        "leases by moves",
        "unread p50",
        "p99",
        "max",
        "beside",
    )
    for rollout in findings.rollouts:
        moves = ", ".join(f"{count} x {number}" for number, count in rollout.moves.items())
        figures = _figures(rollout.unread)[1:]
        table.add_row(rollout.variant, f"{rollout.seconds:.1f}", moves, *figures, "; ".join(rollout.beside))
    return table


def _pauses(findings: Findings) -> Table:
    title = f"Stopped beyond the lease and continued (no call, no write, registered again within {REJOIN_S:g} s)"
    table = _table(title, "worker", "stopped s", "fenced", "rejoined after s", "calls", "writes")
    for pause in findings.pauses:
        rejoined = "" if pause.rejoined_after_s is None else f"{pause.rejoined_after_s:.2f}"
        fenced = "yes" if pause.fenced else "no"
        table.add_row(pause.worker, f"{pause.seconds:.1f}", fenced, rejoined, str(pause.calls), str(pause.writes))
    return table


def _counts(findings: Findings) -> Iterator[str]:
    evidence = findings.evidence
    faults = Counter(f"{played.kind} {played.variant}".strip() for played in evidence.played)
    yield f"faults: {_told(faults)}"
    yield f"transitions: {_told(Counter(tenure.transition for tenure in findings.history))}"
    yield f"events: {_told(findings.events)}"
    writes = [write for worker in evidence.workers for write in worker.links["dynamodb"].sink_writes]
    late = sum(write.delivered - write.sent > evidence.size.lease_s for write in writes)
    yield f"requests to the serving table: {len(writes):,}, delivered more than a lease late: {late:,}"
    repeats = len(evidence.calls) - len({call.sequence_number for call in evidence.calls})
    found = evidence.verification
    yield (
        f"records: {found.get('produced', 0):,} produced, {found.get('dead_lettered', 0):,} dead-lettered, "
        f"{found.get('missing')} missing, {found.get('misordered')} misordered keys by the table, "
        f"{len(findings.disordered)} by the trace; {repeats:,} repeated calls (poison is tried 3 times)"
    )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def as_data(findings: Findings, *, seed: int, folder: str) -> dict[str, Any]:
    """The same for programs; waits that never ended are null."""
    waits = [
        {"what": what.strip(), "clean": limit is not None, "promised_p99": limit, **_finite(waited(samples))}
        for what, samples, limit in _rows(findings)
    ]
    broken = findings.broken()
    return {
        "ok": not broken,
        "seed": seed,
        "folder": folder,
        "broken": broken,
        "size": asdict(findings.evidence.size),
        "waits": waits,
        "answers": {operation: asdict(summary) for operation, summary in _by_operation(findings).items()},
        "samples": [asdict(sample) for sample in _all(findings)],
        "rollouts": [{**asdict(rollout), "unread": _finite(rollout.unread)} for rollout in findings.rollouts],
        "pauses": [asdict(pause) for pause in findings.pauses],
        "trespasses": len(findings.trespasses),
        "disordered": findings.disordered,
        "events": findings.events,
        "producer": findings.evidence.producer,
        "verification": findings.evidence.verification,
        "faults": [asdict(played) for played in findings.evidence.played],
    }


def _finite(summary: Summary) -> dict[str, float | None]:
    return {name: None if math.isinf(value) else value for name, value in asdict(summary).items()}


def _all(findings: Findings) -> Iterable[Sample]:
    return [*findings.takeovers, *findings.gaps]
