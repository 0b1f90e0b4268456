"""What a redrive is made of and goes by, what it tells on its way, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from headrace.core import parked_keys
from headrace.core.parked_keys import ParkedKey
from headrace.errors import HeadraceError
from headrace.flow.persist import persist
from headrace.model import DeadLetter
from headrace.ports import Clock, DeadLetterStore, LeaseTable

LETTER_BYTES: Final = 128 * 2**20
"""Payload that one pass holds in memory; the rest is for the next one."""


class NotYet(HeadraceError):  # noqa: N818 - it says what is the case, as its family does
    """The letter is not to be delivered now; it stays as it is."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Told as it goes: how many letters a pass will try, and of each of them whether it went through."""

    found: Callable[[int], None] = lambda _: None
    done: Callable[[DeadLetter, bool], None] = lambda _letter, _redriven: None


@dataclass(frozen=True, slots=True)
class RedrivePorts:
    """What a redrive reaches. `label` is the name under which the lease rows of `stream` stand."""

    stream: str
    label: str
    letters: DeadLetterStore
    table: LeaseTable
    clock: Clock
    chance: Callable[[], float]


async def read_parked_keys(ports: RedrivePorts) -> dict[str, ParkedKey]:
    """Those of the stream. Raises Denied, NotFound."""
    partition = parked_keys.parked_partition(ports.label)
    rows = await persist("read_parked_keys", lambda: ports.table.query(partition), ports.chance, mendable=())
    return parked_keys.parked(rows)


@dataclass(frozen=True, slots=True)
class RedriveRules:
    """`keys` are worked on at once; `rate` is in records/s for all of them and `most` the letters to try, None for any."""

    keys: int = 16
    rate: float | None = None
    most: int | None = None
    letter_bytes: int = LETTER_BYTES


@dataclass(frozen=True, slots=True)
class Result:
    """Of a redrive. `kept_back` are selected letters that were not tried: behind one that stays, or just being buried."""

    redriven: int
    failed: int
    kept_back: int
    released: int
    still_parked: int
    stopped: bool
