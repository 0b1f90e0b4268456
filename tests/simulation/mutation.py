"""What a mutation is: one rule of the protocol left out, and how to see that it was needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from headrace.rows import Condition
from simulation.faults import Fault
from simulation.fleet import limit_faults
from simulation.patching import StalePatch, patch


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule to do without; `seed` notices, and `breaks` says which invariant. `weather`: the only faults, if not any."""

    patches: Callable[[], None]
    seed: int
    breaks: str
    weather: tuple[Fault, ...] = ()

    @property
    def rule(self) -> str:
        return self.patches.__name__

    def apply(self) -> None:
        """In this process, from here on."""
        self.patches()
        if self.weather:
            limit_faults(self.weather)


MUTATIONS: dict[str, Mutation] = {}


def noticed(seed: int, breaks: str, *weather: Fault) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Names a seed that notices, and the invariant that it finds broken; in this weather, if any is named."""

    def register(patches: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[patches.__name__] = Mutation(patches, seed, breaks, weather)
        return patches

    return register


def drop(owner: Any, name: str, which: Callable[[Condition], bool]) -> None:
    """A request without some of its conditions; it must have had them."""
    original = getattr(owner, name)

    def without(*arguments: Any, **options: Any) -> Any:
        request = original(*arguments, **options)
        left = tuple(c for c in request.conditions if not which(c))
        if len(left) == len(request.conditions):
            raise StalePatch(f"{owner.__name__}.{name} has no such condition")
        return replace(request, conditions=left)

    without.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    patch(owner, name, without)
