"""The rules of a run: what was measured, held against what is promised. Pure, but for reading the files of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos import measures
from chaos.faults import Played
from chaos.fleet import Worker
from chaos.history import History, history_of
from chaos.measures import Rollout, Sample, Span, waited
from chaos.pauses import Pause, pause_of
from chaos.plan import Kind
from chaos.stage import Size
from chaos.trace import Call, Trespass, disordered_keys, trespasses

GAP_S = 1.0
"""p99 of the time between a lease's release or handoff and the next owner's first page."""

UNREAD_S = 2.0
"""Longest time without a reader in a rolling restart."""

MOST_MOVES = 2
"""Of one lease in a rolling restart."""

REJOIN_S = 5.0
"""From SIGCONT to the new registration: the heartbeat in flight has to fail first, links may be slow."""

COUNTED = (
    "lease_opened",
    "lease_passed_on",
    "lease_gone",
    "lease_lost",
    "shard_finished",
    "peer_fenced",
    "worker_fenced",
    "worker_registered",
    "drain_timed_out",
    "stop_overdue",
    "heartbeat_withheld",
    "shard_stalled",
    "record_buried",
)
"""Events whose number is told."""


@dataclass(frozen=True)
class Evidence:
    """All that is known of a run. `ending` is when its workers were told to stop for good."""

    size: Size
    played: Sequence[Played]
    workers: Sequence[Worker]
    calls: Sequence[Call]
    ending: float
    producer: Mapping[str, Any]
    verification: Mapping[str, Any]
    undrained: str | None


@dataclass
class Findings:
    """What the evidence says."""

    evidence: Evidence
    history: History
    takeovers: list[Sample]
    gaps: list[Sample]
    rollouts: list[Rollout]
    pauses: list[Pause]
    trespasses: list[Trespass]
    disordered: list[str]
    events: Counter[str] = field(default_factory=Counter)

    def broken(self, load_s: float = 0.0) -> list[str]:
        """A line for each rule that does not hold.

        `load_s` is what a machine that has other things to do as well may add to each wait.
        """
        return [
            *_broken_flow(self),
            *_broken_processes(self.evidence),
            *_broken_waits(self, load_s),
            *_broken_rollouts(self.rollouts, load_s),
            *_broken_pauses(self.pauses, load_s),
            *_broken_fences(self),
        ]


def judge(evidence: Evidence, settle_s: float | None = None) -> Findings:
    """Measure everything. `settle_s` is how long after a rolling restart moves are still counted as its own."""
    lease_s = evidence.size.lease_s
    killed = {w.name: w.killed for w in evidence.workers if w.killed is not None}
    logs = {w.name: w.log.events() for w in evidence.workers}
    history = history_of(logs, killed)
    spans = measures.spans_of(evidence.played, lease_s, evidence.ending)
    pids = {w.pid: w.name for w in evidence.workers}
    names = Counter(event.get("event", "") for log in logs.values() for event in log)
    return Findings(
        evidence,
        history,
        measures.takeovers(history, spans, killed, evidence.ending),
        measures.gaps(history, spans, evidence.ending),
        measures.rollouts(history, evidence.played, spans, lease_s if settle_s is None else settle_s),
        list(_pauses(evidence, spans)),
        trespasses(evidence.calls, history, pids),
        disordered_keys(evidence.calls),
        Counter({name: names[name] for name in COUNTED if names[name]}),
    )


def _pauses(evidence: Evidence, spans: Sequence[Span]) -> Iterator[Pause]:
    workers = {worker.name: worker for worker in evidence.workers}
    for fault in evidence.played:
        if fault.kind is not Kind.PAUSE or fault.worker is None or fault.ended is None:
            continue
        worker = workers[fault.worker]
        ends = [t for t in (worker.terminated, worker.killed, worker.ended, evidence.ending) if t is not None]
        again = [s.began for s in spans if s.fault.worker == worker.name and s.began > fault.began]
        until = min([*ends, *again])
        if until > fault.ended + REJOIN_S:
            calls = [call for call in evidence.calls if call.pid == worker.pid]
            writes = worker.links["dynamodb"].sink_writes
            yield pause_of(
                worker.name, fault.began, fault.ended, until=until, log=worker.log.events(), calls=calls, writes=writes
            )


def _broken_flow(findings: Findings) -> Iterator[str]:
    evidence, found = findings.evidence, findings.evidence.verification
    if evidence.producer.get("exit_code") != 0:
        yield f"the producer failed: exit code {evidence.producer.get('exit_code')}"
    if evidence.undrained:
        yield f"not drained: {evidence.undrained}"
    if not found.get("ok"):
        shown = {name: found.get(name) for name in ("missing", "misordered", "damaged", "exit_code")}
        yield f"verify: {', '.join(f'{name} {value}' for name, value in shown.items())}"
    if findings.disordered:
        yield f"{len(findings.disordered)} keys were handled out of order: {', '.join(findings.disordered[:5])}"


def _broken_processes(evidence: Evidence) -> Iterator[str]:
    for worker in evidence.workers:
        if worker.fault:
            yield worker.fault
        if worker.log.foreign:
            yield f"{worker.name} wrote what is no log line: {worker.log.foreign[-1][:200]}"


def _broken_waits(findings: Findings, load_s: float) -> Iterator[str]:
    size = findings.evidence.size
    for what, samples, bound in (
        ("takeovers after a kill", findings.takeovers, size.takeover_bound_s),
        ("gaps at handoffs and SIGTERM", findings.gaps, GAP_S),
    ):
        clean = waited(sample for sample in samples if not sample.beside)
        if clean.p99 > bound + load_s:
            yield f"{what}: p99 {clean.p99:.2f} s of {clean.count}, promised {bound:.2f} s"
        for sample in samples:
            if sample.ended is None and not _has_ended(findings.history, sample.shard):
                yield f"{sample.shard} was never read again after {sample.worker} ({sample.how})"


def _has_ended(history: History, shard: str) -> bool:
    return any(tenure.end == "finished" for tenure in history.tenures[shard])


def _broken_rollouts(rollouts: Sequence[Rollout], load_s: float) -> Iterator[str]:
    for rollout in rollouts:
        if rollout.beside:
            continue
        if max(rollout.moves, default=0) > MOST_MOVES:
            yield f"a rolling restart ({rollout.variant}) moved a lease {max(rollout.moves)} times"
        if rollout.unread.longest > UNREAD_S + load_s:
            yield f"a rolling restart ({rollout.variant}) left a shard unread for {rollout.unread.longest:.2f} s"


def _broken_pauses(pauses: Sequence[Pause], load_s: float) -> Iterator[str]:
    for pause in pauses:
        who = f"{pause.worker}, stopped for {pause.seconds:.1f} s,"
        if pause.calls or pause.writes:
            yield f"{who} went on with {pause.calls} calls and {pause.writes} requests to the serving table"
        if pause.fenced and (pause.rejoined_after_s is None or pause.rejoined_after_s > REJOIN_S + load_s):
            yield f"{who} did not register again within {REJOIN_S:g} s"


def _broken_fences(findings: Findings) -> Iterator[str]:
    if findings.trespasses:
        call, worker, epoch, newest = findings.trespasses[0]
        yield (
            f"{len(findings.trespasses)} calls under an epoch that was over, first by {worker} for {call.shard} "
            f"at {call.at:.3f} under epoch {epoch} after {newest}"
        )
