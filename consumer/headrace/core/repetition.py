"""Which of many lines that say the same are worth writing: the first, then one a period, with how many there were.

A spell of lines that say the same ends when none came for `QUIET_PERIODS` periods; the next one is a first one again.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, TypeAlias

PERIOD_S: Final = 30.0
"""Between two lines that say the same: what somebody who looks at a log may wait for."""

QUIET_PERIODS: Final = 2
"""Tries of one call are up to half a minute apart (`flow.persist`) and still of the same spell."""

KEPT: Final = 512
"""Different things that are remembered: a line for each shard of a large worker, and few others."""

Seconds: TypeAlias = float


@dataclass(frozen=True, slots=True)
class Written:
    """A line to be written. `repeated` counts those like it that were left out since the last one.

    `lasts` tells that the spell is a period old: what was a single failure is a state by now.
    """

    repeated: int = 0
    lasts: bool = False


@dataclass(slots=True)
class _Spell:
    began: Seconds
    written: Seconds
    heard: Seconds
    left_out: int = 0


class Repetition:
    """Remembers what was written lately; `now` is in seconds of one clock."""

    def __init__(self, period_s: float = PERIOD_S, kept: int = KEPT) -> None:
        self._period_s = period_s
        self._kept = kept
        self._spells: dict[Hashable, _Spell] = {}
        """The one that was heard last stands at the end."""

    def hear(self, said: Hashable, now: Seconds) -> Written | None:
        """Somebody wants to say this; None where it is to be left out."""
        spell = self._spells.pop(said, None)
        if spell is None or now - spell.heard >= QUIET_PERIODS * self._period_s:
            self._remember(said, _Spell(now, now, now))
            return Written(0 if spell is None else spell.left_out)
        spell.heard = now
        self._remember(said, spell)
        if now - spell.written < self._period_s:
            spell.left_out += 1
            return None
        written = Written(spell.left_out, lasts=True)
        spell.written, spell.left_out = now, 0
        return written

    def _remember(self, said: Hashable, spell: _Spell) -> None:
        self._spells[said] = spell
        if len(self._spells) > self._kept:
            del self._spells[next(iter(self._spells))]
