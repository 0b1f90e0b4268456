"""Records that wait for their call, so that the stream keeps the order of each key. Pure.

PutRecords gives no order: a record may fail while a later one of its key, in the same call or in another, succeeds. So a
key has one record in flight and no more: its next one is sent when that one is acknowledged. The order of each key then
holds whatever fails. The price: a single key moves one record in a round trip, however fast the stream is.

What remains is what no producer can mend: a call that broke off may have been applied, or may be yet. Its records are
sent again, and the stream then holds them twice, as n, n, n + 1 or, when the first comes late, as n, n + 1, n.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from headrace_producer.workload import Draft

MAX_RECORDS: Final = 500
"""Records in one PutRecords call: Kinesis's limit."""

MAX_BYTES: Final = 5 * 2**20
"""Bytes of payloads and keys in one call: half of Kinesis's limit of 10 MiB, for an even flow and short retries."""


class Outbox:
    """First in, first out among keys that have nothing in flight; strictly so within a key."""

    def __init__(self) -> None:
        # A key in here is either in `_ready`, in this order of turns, or in flight; never both.
        self._waiting: dict[str, deque[Draft]] = {}
        self._ready: deque[str] = deque()
        self._size = 0

    def __len__(self) -> int:
        """Records not sent yet."""
        return self._size

    @property
    def is_ready(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._ready)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._waiting

    def add(self, drafts: Iterable[Draft]) -> None:
        """Queue new records."""
        for draft in drafts:
            self._size += 1
            queue = self._waiting.get(draft.key)
            if queue is None:
                self._waiting[draft.key] = deque((draft,))
                self._ready.append(draft.key)
            else:
                queue.append(draft)

    def take(self) -> list[Draft]:
        """The records of one call, each of another key; they are in flight until `acknowledge` or `give_back`."""
        taken: list[Draft] = []
        room = MAX_BYTES
        while self._ready and len(taken) < MAX_RECORDS:
            queue = self._waiting[self._ready[0]]
            room -= len(queue[0].data) + len(queue[0].key.encode())
            if room < 0 and taken:
                break
            self._ready.popleft()
            taken.append(queue.popleft())
        self._size -= len(taken)
        return taken

    def acknowledge(self, drafts: Iterable[Draft]) -> None:
        """The stream has them: their keys may send the next one."""
        for draft in drafts:
            if self._waiting[draft.key]:
                self._ready.append(draft.key)
            else:
                del self._waiting[draft.key]

    def give_back(self, drafts: Sequence[Draft]) -> None:
        """The stream refused them: they are the next of their keys, and first in turn."""
        for draft in reversed(drafts):
            self._waiting[draft.key].appendleft(draft)
            self._ready.appendleft(draft.key)
        self._size += len(drafts)
