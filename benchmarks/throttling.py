"""Half of all writes are refused for a minute: what gets through meanwhile, and how soon afterwards it is as before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any, Final

from benchmarks.measure import Measurement
from benchmarks.report import Target

SETTLED_S: Final = 2
"""Seconds after the first write that are not counted: shards join one after the other."""

AS_BEFORE: Final = 0.8
"""Share of the rate before at which it counts as recovered: seconds differ by as much without any throttling."""

RECOVERY_S: Final = 5


@dataclass(frozen=True, slots=True)
class Spell:
    """When writes are refused: seconds after the first one, whole ones."""

    begins_s: int
    lasts_s: int
    share: float = 0.5

    @property
    def ends_s(self) -> int:
        """The first second without."""
        return self.begins_s + self.lasts_s

    @property
    def options(self) -> dict[str, float]:
        """For the server."""
        return {
            "throttled-share": self.share,
            "throttled-from": float(self.begins_s),
            "throttled-for": float(self.lasts_s),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """Records per second before, during and after, and how often a write was refused."""

    before: float
    during: float
    after: float
    recovered_in_s: int | None
    """Seconds after the end in which the rate was as before; None if it never was."""
    refused: int


def outcome(spell: Spell, stats: Mapping[str, Any]) -> Outcome:
    """From what the server counted second by second."""
    rates = {int(second): count for second, count in stats["by_second"].items()}
    last = max(rates)  # cut short by the end

    def rate(start: int, end: int) -> float:
        seconds = range(start, min(end, last))
        return mean(rates.get(second, 0) for second in seconds) if seconds else 0.0

    before = rate(SETTLED_S, spell.begins_s)
    as_before = (second for second in range(spell.ends_s, last) if rates.get(second, 0) >= AS_BEFORE * before)
    recovered = next(as_before, None)
    return Outcome(
        before=before,
        during=rate(spell.begins_s, spell.ends_s),
        after=rate(spell.ends_s, last),
        recovered_in_s=None if recovered is None else recovered - spell.ends_s,
        refused=stats["throttled"],
    )


def targets(run: Measurement, found: Outcome) -> Iterator[Target]:
    """What has to hold. A record whose attempts were spent would be buried, and so be missing."""
    recovered = float("inf") if found.recovered_in_s is None else found.recovered_in_s
    yield Target("seconds until the rate is as before", recovered, RECOVERY_S, " s")
    yield Target("records missing", run.missing, 0)
