"""Runs that never took place: what workers logged, whom what befell, and what the handler's trace says, made by hand.

Times are seconds after the beginning of 1970; a scene ends at 100 s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from chaos.faults import Played
from chaos.fleet import Worker
from chaos.history import History, history_of
from chaos.plan import Kind
from chaos.proxy import Answer, SinkWrite
from chaos.stage import Size
from chaos.tails import Event, Log
from chaos.trace import Call
from chaos.verdict import Evidence, Findings, judge

ENDING = 100.0
SIZE = Size(workers=3, shards=6, rate=50.0, lease_s=3.0, kinesis="ministack")
VERIFIED = {"ok": True, "produced": 10, "dead_lettered": 0, "missing": 0, "misordered": 0, "damaged": 0, "exit_code": 0}


def line(at: float, event: str, **fields: Any) -> str:
    """A line of a worker's log."""
    timestamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return json.dumps({"timestamp": timestamp, "level": "info", "event": event, **fields})


class Told:
    """What one worker does, as its log tells it. Every act gives the worker back."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[tuple[float, str, dict[str, Any]]] = []

    def says(self, at: float, event: str, **fields: Any) -> Told:
        """Any line."""
        self.events.append((at, event, fields))
        return self

    def takes(self, shard: str, epoch: int, at: float, read: float | None = None, transition: str = "taken") -> Told:
        """Open a lease, and read its first page at `read`."""
        self.says(at, "lease_opened", shard=shard, epoch=epoch, transition=transition)
        return self if read is None else self.says(read, "reading_began", shard=shard, epoch=epoch, records=0)

    def passes_on(self, shard: str, epoch: int, at: float, transition: str = "released") -> Told:
        """End a lease in good order."""
        return self.says(at, "lease_passed_on", shard=shard, epoch=epoch, transition=transition)

    def log(self) -> list[Event]:
        """All of it, in the order of time."""
        told = [{"at": at, "event": event, **fields} for at, event, fields in self.events]
        return sorted(told, key=lambda event: event["at"])

    def lines(self) -> list[str]:
        """The same as it stands in a file."""
        return [line(**event) for event in self.log()]


def story(*workers: Told, killed: dict[str, float] | None = None) -> History:
    """The history of these workers."""
    return history_of({worker.name: worker.log() for worker in workers}, killed or {})


class Scene:
    """A run. Workers are processes 1001, 1002, ... in the order of their first mention."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told: dict[str, Told] = {}
        self._workers: dict[str, dict[str, Any]] = {}
        self._calls: list[Call] = []
        self._played: list[Played] = []
        self.sink_writes: dict[str, list[SinkWrite]] = {}
        self.answers: dict[str, list[Answer]] = {}

    def worker(self, name: str) -> Told:
        """What this one does."""
        self._workers.setdefault(name, {"killed": None, "terminated": ENDING, "exit_code": 0})
        return self._told.setdefault(name, Told(name))

    def ends(self, name: str, **how: Any) -> None:
        """Set `killed`, `terminated` or `exit_code`."""
        self.worker(name)
        self._workers[name] |= how

    def kills(self, name: str, at: float) -> None:
        """Kill -9 and a fault of its own."""
        self.ends(name, killed=at, terminated=None)
        self.plays(Kind.KILL, at, at + 4.0, name)

    def plays(self, kind: Kind, began: float, ended: float, worker: str | None = None, variant: str = "") -> None:
        """A fault."""
        self._played.append(Played(kind, variant, worker, began, ended))

    def calls(self, name: str, at: float, shard: str, number: int, key: str = "k") -> None:
        """A call of the handler."""
        self.worker(name)
        self._calls.append(Call(at, self._pid(name), shard, number, key))

    def evidence(self, **changes: Any) -> Evidence:
        """All that is known of it."""
        facts: dict[str, Any] = {
            "size": SIZE,
            "played": self._played,
            "workers": changes.get("workers") or self.processes(),
            "calls": sorted(self._calls),
            "ending": ENDING,
            "producer": {"exit_code": 0},
            "verification": VERIFIED,
            "undrained": None,
        }
        return Evidence(**(facts | changes))

    def judged(self, settle_s: float | None = None, **changes: Any) -> Findings:
        """The findings."""
        return judge(self.evidence(**changes), settle_s)

    def processes(self) -> list[Worker]:
        """The workers, with the files of their logs."""
        return [self._process(name) for name in self._workers]

    def _pid(self, name: str) -> int:
        return 1001 + list(self._workers).index(name)

    def _process(self, name: str) -> Worker:
        path = self._folder / f"{name}.log"
        _write(path, self._told[name].lines())
        how = self._workers[name]
        ended = ENDING if how["killed"] is None else how["killed"]
        popen = SimpleNamespace(pid=self._pid(name), returncode=how["exit_code"])
        links = {
            "dynamodb": SimpleNamespace(sink_writes=self.sink_writes.get(name, []), answers=[]),
            "kinesis": SimpleNamespace(sink_writes=[], answers=self.answers.get(name, [])),
        }
        terminated, killed = how["terminated"], how["killed"]
        return Worker(name, cast("Any", popen), Log(path), cast("Any", links), 0.0, terminated, killed, ended=ended)


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{text}\n" for text in lines))
