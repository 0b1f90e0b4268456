"""The last hour of a worker in 120 points, small enough for a row, and that of a fleet out of those of its workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

STEP_S: Final = 30.0
"""Seconds of a point."""

POINTS: Final = 120
"""An hour."""


class Point(msgspec.Struct, frozen=True, array_like=True):
    """One step: `step` counts steps since 1970; lag, retrying and unowned are the worst in it, the others are counts."""

    step: int
    lag_s: float = 0.0
    read: int = 0
    settled: int = 0
    failed: int = 0
    retrying: int = 0
    buried: int = 0
    unowned: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since the process began."""

    read: int = 0
    settled: int = 0
    failed: int = 0
    buried: int = 0

    def since(self, earlier: Totals) -> Totals:
        """What came after."""
        return Totals(
            self.read - earlier.read,
            self.settled - earlier.settled,
            self.failed - earlier.failed,
            self.buried - earlier.buried,
        )


class History:
    """Folds samples into points."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._last = Totals()

    def add(self, wall_s: float, totals: Totals, lag_s: float, retrying: int, unowned: int) -> None:
        """One sample."""
        step = int(wall_s // STEP_S)
        if not self._points or self._points[-1].step < step:
            self._points.append(Point(step))
        last, new = self._points.pop(), totals.since(self._last)
        self._last = totals
        self._points.append(
            Point(
                last.step,
                max(last.lag_s, round(lag_s, 1)),
                last.read + new.read,
                last.settled + new.settled,
                last.failed + new.failed,
                max(last.retrying, retrying),
                last.buried + new.buried,
                max(last.unowned, unowned),
            )
        )

    def buried_since(self, wall_s: float) -> int:
        """How many records were buried since a time of day, to a step."""
        return sum(point.buried for point in self._points if (point.step + 1) * STEP_S > wall_s)

    @property
    def points(self) -> list[Point]:
        """Oldest first; a step without a sample has none."""
        return list(self._points)


def together(histories: Iterable[Iterable[Point]], now_s: float) -> list[Point]:
    """The last hour of all of them: the worst lag, the sum of what is counted, what any of them saw unowned.

    Every step has its point, the last one that of `now_s`.
    """
    end = int(now_s // STEP_S)
    found = {step: Point(step) for step in range(end - POINTS + 1, end + 1)}
    for history in histories:
        for point in history:
            if point.step in found:
                found[point.step] = _both(found[point.step], point)
    return list(found.values())


def _both(one: Point, other: Point) -> Point:
    return Point(
        one.step,
        max(one.lag_s, other.lag_s),
        one.read + other.read,
        one.settled + other.settled,
        one.failed + other.failed,
        one.retrying + other.retrying,
        one.buried + other.buried,
        max(one.unowned, other.unowned),
    )
