"""The event log of an application: a row for everything that an operator changed, written in one transaction with it.

One partition beside the leases, in the order of time. A row says who did what to what, when, why, and what was there
before and after; it expires after KEPT_S.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from headrace.rows import Absent, Key, PutRow, Row, Value

KEPT_S: Final = 90 * 86_400
"""A quarter: long enough to ask what happened before the last review of the incidents."""


@dataclass(frozen=True, slots=True)
class Event:
    """One act. `target` is a shard, a worker or the application; `before` and `after` are words for people."""

    at: datetime
    act: str
    target: str
    by: str
    why: str = ""
    before: str = ""
    after: str = ""
    token: str = ""
    """Tells two events of one millisecond apart."""


def events_partition(stream: str) -> str:
    """Where the events of an application are."""
    return f"E#{stream}"


def note(stream: str, event: Event) -> PutRow:
    """The row of an event."""
    at = event.at.astimezone(UTC).isoformat(timespec="milliseconds")
    row: dict[str, Value] = {
        "act": event.act,
        "target": event.target,
        "by": event.by,
        "exp": int(event.at.timestamp()) + KEPT_S,
    }
    row |= {name: text for name, text in (("why", event.why), ("was", event.before), ("is", event.after)) if text}
    return PutRow(Key(events_partition(stream), f"{at}#{event.token}"), row, (Absent("pk"),))


def event_of(row: Row) -> Event:
    """An event's row as a value."""
    at, _, token = str(row["sk"]).partition("#")
    return Event(
        at=datetime.fromisoformat(at),
        act=str(row["act"]),
        target=str(row["target"]),
        by=str(row["by"]),
        why=str(row.get("why", "")),
        before=str(row.get("was", "")),
        after=str(row.get("is", "")),
        token=token,
    )
