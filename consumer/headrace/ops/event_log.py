"""The last events of one process, for the page: in memory, and from there in a row of the lease table."""

from __future__ import annotations

from collections import deque
from typing import Final

from headrace.core.reports import Event
from headrace.ports import Clock

KEPT: Final = 60
"""Events of a process that are kept: 5 KB."""


class EventLog:
    """Remembers what happened, in words that logs share."""

    def __init__(self, worker: str, clock: Clock) -> None:
        self.is_new = False
        """Whether something was noted since this was last set to False."""
        self._worker = worker
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=KEPT)

    def note(self, kind: str, shard: str = "", text: str = "") -> None:
        """Something happened just now. `text` is never a payload."""
        self._events.append(Event(round(self._clock.wall().timestamp(), 3), kind, self._worker, shard, text))
        self.is_new = True

    @property
    def events(self) -> list[Event]:
        """Oldest first."""
        return list(self._events)
