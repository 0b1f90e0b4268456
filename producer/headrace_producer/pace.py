"""When a record is due. Counted from the start, so that late ticks are made up and the rate never drifts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CALL: Final = 500
"""Records in a full PutRecords call: ticks are as far apart as filling one takes, within bounds."""

SHORTEST_TICK_S: Final = 0.005
LONGEST_TICK_S: Final = 0.1
"""Below, the loop does little but wake; above, records wait longer than the stream's own latency."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`rate` in records/s, None as fast as the stream takes them; `count` and `duration_s` end it, whichever is first."""

    rate: float | None = None
    count: int | None = None
    duration_s: float | None = None

    @property
    def total(self) -> int | None:
        """How many records there will be, None when only time or the user ends it."""
        limits = [] if self.count is None else [self.count]
        if self.rate is not None and self.duration_s is not None:
            limits.append(round(self.rate * self.duration_s))
        return min(limits, default=None)

    @property
    def tick_s(self) -> float:
        """Seconds between two looks at the schedule."""
        if self.rate is None:
            return SHORTEST_TICK_S
        return min(LONGEST_TICK_S, max(SHORTEST_TICK_S, CALL / self.rate))

    def until_tick_s(self, elapsed_s: float) -> float:
        """Seconds until the next look. Ticks count from the start: a late one shifts no other."""
        left_s = self.tick_s - elapsed_s % self.tick_s
        return left_s if left_s > self.tick_s / 100 else left_s + self.tick_s  # a timer that woke a hair too early

    def due(self, elapsed_s: float, made: int, room: int) -> int:
        """How many more to make now, after `elapsed_s`, with `made` made and room for `room`."""
        scheduled = made + room if self.rate is None else int(self.rate * elapsed_s)
        end = scheduled if self.total is None else min(scheduled, self.total)
        return max(0, min(room, end - made))

    def ended(self, elapsed_s: float, made: int) -> bool:
        """No record will ever be due again."""
        if self.total is not None:
            return made >= self.total
        return self.duration_s is not None and elapsed_s >= self.duration_s
