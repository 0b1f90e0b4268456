"""Turns of the loop between records of a plain handler: it is called without any await, and others wait meanwhile."""

from __future__ import annotations

import asyncio
from typing import Final

from headrace.flow.term import Term
from headrace.model import Instant
from headrace.ports import Clock

TURN_S: Final = 0.02
"""How long a plain handler may hold the loop with one record after the other: heartbeats and other shards wait."""

LONGEST_STRIDE: Final = 256
"""Records between two looks at the clock when the handler is fast."""


async def take_turns(clock: Clock, term: Term, since: Instant, records: int) -> int:
    """Give the loop a turn if it was held for long; returns after how many records to look again. Raises LeaseLost.

    `records` were handled since the instant `since`.
    """
    took_s = clock.now() - since
    if took_s >= TURN_S:
        await asyncio.sleep(0)
        term.insist()
    return max(1, min(LONGEST_STRIDE, int(TURN_S * records / max(took_s, 1e-6))))
