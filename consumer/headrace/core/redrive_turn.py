"""Whose turn it is to redrive a stream: one at a time, for two of them would deliver the letters of one key in no order.

One row beside the leases names the redrive at work, whose counter moves while it lives. A row whose counter stood still
for long enough is taken over at the counter that was seen; the redrive that slept through it finds its next beat refused,
and has trusted itself for less than that.
"""

from __future__ import annotations

from typing import Final

from headrace.rows import Absent, DeleteRow, Equals, Key, PutRow, Row, UpdateRow

BEAT_S: Final = 5.0
TRUST_S: Final = 20.0
"""After the start of its last beat that was acknowledged, a redrive begins no call any more, and ends those under way."""

SILENCE_S: Final = 30.0
"""Without a beat for so long, another redrive takes over: longer than the trust and the longest call to the sink after it."""


def turn_key(stream: str) -> Key:
    """Where the row is."""
    return Key("R", stream)


def begin(stream: str, me: str, wall_s: float) -> PutRow:
    """Take the turn that nobody has."""
    return PutRow(turn_key(stream), {"by": me, "hb": 1, "since": round(wall_s, 3)}, (Absent("pk"),))


def take_over(stream: str, me: str, seen: Row, wall_s: float) -> UpdateRow:
    """Take the turn of one that was silent since its row was `seen`."""
    conditions = (Equals("by", seen["by"]), Equals("hb", seen["hb"]))
    return UpdateRow(turn_key(stream), conditions, {"by": me, "hb": 1, "since": round(wall_s, 3)})


def beat(stream: str, me: str, seen: int) -> UpdateRow:
    """Still here. Refused with counter `seen + 1`: an earlier try of this one applied."""
    return UpdateRow(turn_key(stream), (Equals("by", me), Equals("hb", seen)), {"hb": seen + 1})


def end(stream: str, me: str) -> DeleteRow:
    """Give the turn back."""
    return DeleteRow(turn_key(stream), (Equals("by", me),))
