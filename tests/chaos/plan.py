"""What will go wrong, and when: drawn from a seed before anything starts. Pure: the same arguments give the same plan.

Which worker a fault meets is decided when it comes (`victim` picks among those that run then), so the same seed is the
same sequence of faults, and nearly the same run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

OVERLAP = 0.2
"""Share of the faults that are followed by the next one before they are over."""


class Kind(StrEnum):
    """What can go wrong."""

    KILL = "kill"
    PAUSE = "pause"
    CUT = "cut"
    STALL = "stall"
    ROLLING = "rolling"
    SCALE = "scale"
    RESHARD = "reshard"


WEIGHTS = {
    Kind.KILL: 5,
    Kind.PAUSE: 3,
    Kind.CUT: 4,
    Kind.STALL: 3,
    Kind.ROLLING: 1,
    Kind.SCALE: 2,
    Kind.RESHARD: 2,
}

VARIANTS = {
    Kind.CUT: ("dynamodb", "kinesis", "both"),
    Kind.STALL: tuple(
        f"{service} {direction} {fate}"
        for service in ("dynamodb", "kinesis")
        for direction in ("out", "back")
        for fate in ("late", "dropped")
    ),
    Kind.ROLLING: ("before", "after"),
    Kind.SCALE: ("out", "in"),
    Kind.RESHARD: ("split", "merge"),
}
"""The kinds of a kind. `before` and `after`: whether the next worker starts before or after the old one stops."""

LASTING = {Kind.KILL: (0.1, 1.5), Kind.PAUSE: (1.4, 3.0), Kind.CUT: (0.3, 3.0), Kind.STALL: (0.3, 3.0)}
"""How long it lasts, in lease durations; a kill, until the next worker is started."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong `at_s` after the start. `victim` is drawn evenly from [0, 1)."""

    at_s: float
    kind: Kind
    variant: str
    lasts_s: float
    victim: float


def plan(seed: int, *, span_s: float, lease_s: float, workers: int, kinds: Collection[Kind]) -> Sequence[Fault]:
    """Faults for this long; each of the kinds comes once before any comes twice."""
    chance = Random(f"{seed}/faults")
    faults: list[Fault] = []
    at_s = lease_s
    waiting: list[Kind] = []
    while True:
        if not faults:
            waiting = chance.sample(sorted(kinds), len(kinds))
        kind = waiting.pop() if waiting else _drawn(chance, kinds)
        fault = _fault(chance, at_s, kind, lease_s)
        takes_s = _takes_s(fault, lease_s, workers)
        if at_s + takes_s > span_s and faults:
            return faults
        faults.append(fault)
        if chance.random() < OVERLAP:
            at_s += takes_s * chance.uniform(0.1, 0.8)
        else:
            at_s += takes_s + lease_s * chance.uniform(0.3, 2.0)


def _drawn(chance: Random, kinds: Collection[Kind]) -> Kind:
    among = sorted(kinds)
    return chance.choices(among, weights=[WEIGHTS[kind] for kind in among])[0]


def _fault(chance: Random, at_s: float, kind: Kind, lease_s: float) -> Fault:
    variant = chance.choice(VARIANTS.get(kind, ("",)))
    lasts_s = lease_s * chance.uniform(*LASTING.get(kind, (0.0, 0.0)))
    return Fault(at_s, kind, variant, lasts_s, chance.random())


def _takes_s(fault: Fault, lease_s: float, workers: int) -> float:
    """About how long its consequences go on; a start of a worker takes a second or two."""
    match fault.kind:
        case Kind.KILL:
            return max(fault.lasts_s + 2.0, lease_s * 1.2 + 1.0)
        case Kind.ROLLING:
            return 2.0 * workers
        case Kind.SCALE | Kind.RESHARD:
            return 4.0
        case _:
            return fault.lasts_s + 1.2 * lease_s
