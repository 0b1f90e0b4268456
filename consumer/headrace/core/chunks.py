"""Which handled records go into one transaction: as many as fit, in the order of the shard, none passed over.

AWS's rules (API reference, TransactWriteItems): at most 100 actions, each on another item, 4 MB in all. One action is the
lease's, and one is kept free. A record's writes are never torn apart: all of them are in, or the chunk ends before it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeAlias

from headrace.core.folding import fold
from headrace.operations import Effect

MOST_OPERATIONS: Final = 98

MOST_BYTES: Final = 2 * 2**20
"""Of the records' payloads, as a guess at the size of what they ask for; a wrong guess costs a refused request."""

KeyedWrites: TypeAlias = Sequence[tuple[Hashable, Effect]]
"""Writes of one record, each with the key of its item."""


class Chunk:
    """Grows record by record. With `folds`, writes of different records to one item become one where they can."""

    def __init__(self, *, folds: bool) -> None:
        self.operations: dict[Hashable, Effect] = {}
        """One for each item."""
        self.records = 0
        self.writes = 0
        """All that its operations stand for."""
        self._folds = folds
        self._bytes = 0
        self._first: dict[Hashable, int] = {}
        """The number of the first record that writes an item."""

    def add(self, writes: KeyedWrites, size: int) -> bool:
        """Take in the next record, of `size` bytes; False, and nothing is changed, where it does not fit."""
        if self.records and self._bytes + size > MOST_BYTES:
            return False
        operations, changed = self.operations, {}
        for key, effect in writes:
            is_own = key in changed
            if not is_own and key not in operations:
                changed[key] = effect
                continue
            if not (self._folds or is_own):
                return False
            folded = fold(changed[key] if is_own else operations[key], effect)
            if folded is None:
                return False
            changed[key] = folded
        return self._take(changed, len(writes), size)

    def _take(self, changed: dict[Hashable, Effect], writes: int, size: int) -> bool:
        new = [key for key in changed if key not in self.operations]
        if len(self.operations) + len(new) > MOST_OPERATIONS:
            return False
        self._first.update(dict.fromkeys(new, self.records))
        self.operations.update(changed)
        self.records += 1
        self.writes += writes
        self._bytes += size
        return True

    def first_to_write(self, operations: Sequence[int]) -> int:
        """The number of the first record that writes any of these operations, by their places."""
        keys = list(self.operations)
        return min(self._first[keys[place]] for place in operations)
