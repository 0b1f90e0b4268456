"""Which writes may be sent now: writes to one item key never overtake each other, and those that wait collapse.

Pure bookkeeping, a handful of hash look-ups per write. A key is busy from the moment a write of it is taken until it is
released; later writes of a busy key wait behind it as one line. Where the queue folds, only one write of a line is sent,
since it stands for what the others would have left; when it is durable, all of them are. Should it be refused or no longer
wanted, the next one is sent in its place. Where it does not fold, they are sent one after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, Protocol, TypeAlias, TypeVar


class Keyed(Protocol):
    """A write, as far as the queue is concerned."""

    @property
    def key(self) -> Hashable:
        """Equal for writes to one item."""


W = TypeVar("W", bound=Keyed)

Line: TypeAlias = list[W]
"""Writes to one key in the order of submission; never empty in a chunk. The last one is sent."""

Chunk: TypeAlias = dict[Hashable, Line[W]]
"""What goes into one request: a line for each of its keys."""


class WriteQueue(Generic[W]):
    """First come, first served, except for keys that are busy."""

    def __init__(self, *, folds: bool = True) -> None:
        self._folds = folds
        self._new: deque[W] = deque()
        self._busy: set[Hashable] = set()
        """Keys taken and not released, and those whose line is in `_next`."""
        self._behind: dict[Hashable, Line[W]] = {}
        self._next: deque[Line[W]] = deque()
        """Lines whose key was released: they have waited longest."""

    def __bool__(self) -> bool:
        """Is it worth calling `take`? It may still find nothing but busy keys."""
        return bool(self._new or self._next)

    def push(self, write: W) -> None:
        """Queue a write behind everything submitted before it."""
        self._new.append(write)

    def take(self, limit: int) -> Chunk[W]:
        """At most `limit` lines, with distinct keys that are not busy; empty when there is nothing to do now."""
        chunk: Chunk[W] = {}
        while self._next and len(chunk) < limit:
            line = self._next.popleft()
            chunk[line[-1].key] = line
        new, busy = self._new, self._busy
        while new and len(chunk) < limit:
            write = new.popleft()
            key = write.key
            if key not in busy:
                busy.add(key)
                chunk[key] = [write]
            elif self._folds and key in chunk:
                chunk[key].append(write)
            else:
                self._behind.setdefault(key, []).append(write)
        return chunk

    def release(self, keys: Iterable[Hashable]) -> None:
        """These keys are settled: what waits behind them may be taken."""
        if not self._behind:
            self._busy.difference_update(keys)
            return
        for key in keys:
            line = self._behind.pop(key, None)
            if line is None:
                self._busy.discard(key)
            elif self._folds or len(line) == 1:
                self._next.append(line)
            else:
                self._next.append(line[:1])
                self._behind[key] = line[1:]
