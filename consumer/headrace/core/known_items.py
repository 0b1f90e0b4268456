"""Which items are known to be there, and what was written of them last: a small memory that forgets the oldest half."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

MOST: Final = 50_000
"""Items remembered for sure: some 20 MB of keys."""


class KnownItems:
    """By key; up to twice `most` of them."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._young: dict[Hashable, Any] = {}
        self._old: dict[Hashable, Any] = {}

    def get(self, key: Hashable) -> Any:
        """What was told of the item, None for one that is not known."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def add(self, key: Hashable, told: Any) -> None:
        """The item is there."""
        if len(self._young) >= self._most:
            self._old, self._young = self._young, {}
        self._young[key] = told
