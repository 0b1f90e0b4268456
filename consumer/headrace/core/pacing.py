"""When to ask a shard for records again.

Kinesis takes five GetRecords calls per second and shard, shared by every polling consumer of the shard. While there is
more to read, calls follow each other as fast as that allows; at the tip they come once per poll interval, which leaves
room for others.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from headrace.model import Instant, Page

CALLS_PER_SECOND: Final = 5
"""GetRecords limit per shard (API reference)."""

WINDOW_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class PaceRules:
    """`poll_interval_s` is the pause between calls at the tip."""

    poll_interval_s: float = 0.5


class Pace:
    """Remembers the last calls to one shard."""

    def __init__(self, rules: PaceRules) -> None:
        self._rules = rules
        self._calls: deque[Instant] = deque(maxlen=CALLS_PER_SECOND)
        self._more = True

    def called(self, now: Instant) -> None:
        """A call goes out."""
        self._calls.append(now)

    def answered(self, page: Page, limit: int) -> None:
        """Its answer came: is there more than the next poll would find anyway?

        An empty page far behind the tip is normal. Some servers say that they are at the tip always: a full page then
        still means more.
        """
        self._more = page.behind_s > self._rules.poll_interval_s or len(page.records) >= limit

    def next_call(self) -> Instant:
        """The earliest instant for the next call; -inf for at once."""
        if not self._calls:
            return Instant(float("-inf"))
        allowed = self._calls[0] + WINDOW_S if len(self._calls) == CALLS_PER_SECOND else float("-inf")
        wanted = float("-inf") if self._more else self._calls[-1] + self._rules.poll_interval_s
        return Instant(max(allowed, wanted))
