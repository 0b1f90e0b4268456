"""Repeated log lines collapsed: an error that comes over and over is written once, then once a period with a count.

What was logged as info and goes on for a period is written as a warning from then on: a try that failed is nothing, an
endpoint that never answers is something to look at. Lines without an error pass as they are, and cost a dictionary's look.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

import structlog
from structlog.stdlib import BoundLogger

from headrace.core.repetition import Repetition

ONE_BY_ONE: Final = frozenset({"record_buried", "redrive_failed", "dead_letter_not_readable"})
"""Events that tell the fate of one record each: none is like another."""

VARYING: Final = frozenset({"sequence_number", "next_from"})
"""Words that differ between lines that say the same; numbers do too."""

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class Repeats:
    """Judges lines before anything is made of them; from any thread. `now` is in seconds of one clock."""

    def __init__(self, level: str, now: Callable[[], float] = time.perf_counter) -> None:
        self._least = LEVELS[level]
        self._now = now
        self._said = Repetition()
        self._turn = threading.Lock()

    def judge(self, level: str, event: str, facts: dict[str, Any]) -> str | None:
        """The level to write a line at, its `facts` with the count added; None where it is to be left out."""
        if "error" in facts and event not in ONE_BY_ONE:
            with self._turn:
                written = self._said.hear(_meaning(level, event, facts), self._now())
            if written is None:
                return None
            if written.repeated:
                facts["repeated"] = written.repeated
            if written.lasts and level == "info":
                level = "warning"
        return level if LEVELS[level] >= self._least else None


def bound_logger(level: str, repeats: Repeats) -> type[Any]:
    """A filtering logger of structlog's, with the judgement before its processors.

    It lets info through whatever the level, because it may become a warning.
    """
    passing = structlog.make_filtering_bound_logger(min(LEVELS[level], LEVELS["info"]))

    def proxy(self: BoundLogger, method_name: str, event: str = "", **facts: Any) -> Any:
        written_at = repeats.judge(method_name, event, facts)
        if written_at is None:
            return None
        return structlog.BoundLoggerBase._proxy_to_logger(self, written_at, event, **facts)  # noqa: SLF001 - "for subclassing"

    return type("CollapsingBoundLogger", (passing,), {"_proxy_to_logger": proxy})


def _meaning(level: str, event: str, facts: Mapping[str, Any]) -> Hashable:
    words = (fact for fact in facts.items() if isinstance(fact[1], str) and fact[0] not in VARYING)
    return (level, event, *words)
