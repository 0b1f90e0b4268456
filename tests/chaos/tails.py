"""Files of lines that others go on writing: each line is read once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]
"""One line of a worker's log, with `at`: its time in epoch seconds."""


class Tail:
    """Yields what was added to a file since the last look; a line that is not finished yet waits for its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def lines(self) -> Iterator[bytes]:
        """The new lines."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line


class Log:
    """A worker's log. What is no JSON object stands in `foreign`: nobody should write that."""

    def __init__(self, path: Path) -> None:
        self.foreign: list[str] = []
        self._tail = Tail(path)
        self._events: list[Event] = []

    def events(self, *names: str) -> list[Event]:
        """All events so far, or those of these names."""
        for line in self._tail.lines():
            if line.startswith(b"{"):
                self._events.append(event_of(line))
            elif line.strip():
                self.foreign.append(line.decode(errors="replace").rstrip())
        return [event for event in self._events if event.get("event") in names] if names else self._events


def event_of(line: bytes | str) -> Event:
    """A line of a log, with its time as a number."""
    event: Event = json.loads(line)
    return {**event, "at": datetime.fromisoformat(event["timestamp"]).timestamp()}
