"""Records that wait for their call, so that the stream keeps the order of each key. Pure.

PutRecords gives no order: a record may fail while a later one of its key, in the same call or in another, succeeds. So a
key has one record in flight and no more, or one run of records that stay together in one aggregate; what follows is sent
when that is acknowledged. The order of each key then holds whatever fails. The price: a single key moves one record, or
one run, in a round trip, however fast the stream is.

What remains is what no producer can mend: a call that broke off may have been applied, or may be yet. Its records are
sent again, and the stream then holds them twice, as n, n, n + 1 or, when the first comes late, as n, n + 1, n.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from headrace_producer.aggregates import alone, weight
from headrace_producer.workload import Draft

MAX_RECORDS: Final = 500
"""Records in one PutRecords call: Kinesis's limit."""

MAX_BYTES: Final = 5 * 2**20
"""Bytes of payloads and keys in one call: half of Kinesis's limit of 10 MiB, for an even flow and short retries."""

MAX_AGGREGATED: Final = 5_000
"""Records in the aggregates of one call: to put them together takes some 20 ms, in which the loop does nothing else."""


@dataclass(frozen=True, slots=True)
class CallRules:
    """What goes into one call. `run_bytes` is the most that records of one key take up together; 0: one record a key."""

    records: int = MAX_RECORDS
    size: int = MAX_BYTES
    run_bytes: int = 0

    @property
    def aggregates(self) -> bool:
        """Whether there may be several records of a key in a call."""
        return self.run_bytes > 0


PLAIN: Final = CallRules()


class Outbox:
    """First in, first out among keys that have nothing in flight; strictly so within a key."""

    def __init__(self, rules: CallRules = PLAIN) -> None:
        self._rules = rules
        self._ready: deque[Draft] = deque()
        # Of each key that has a record in `_ready` or in flight, never both: what waits behind it. Few have anything.
        self._behind: dict[str, deque[Draft] | None] = {}
        self._size = 0

    def __len__(self) -> int:
        """Records not sent yet."""
        return self._size

    @property
    def is_ready(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._ready)

    @property
    def fills_a_call(self) -> bool:
        """Whether waiting would not make the next call any better."""
        return len(self._ready) >= self._rules.records

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._behind

    def add(self, drafts: Iterable[Draft]) -> None:
        """Queue new records."""
        behind = self._behind
        for draft in drafts:
            self._size += 1
            key = draft.key
            if key not in behind:
                behind[key] = None
                self._ready.append(draft)
            elif (queue := behind[key]) is None:
                behind[key] = deque((draft,))
            else:
                queue.append(draft)

    def take(self) -> list[Draft]:
        """The records of one call, those of a key beside each other; in flight until `acknowledge` or `give_back`."""
        taken: list[Draft] = []
        room = self._rules.size
        while self._ready and len(taken) < self._rules.records:
            first = self._ready[0]
            room -= len(first.data) + len(first.key)  # characters: the bound is far enough from Kinesis's
            if room < 0 and taken:
                break
            taken.append(self._ready.popleft())
            if self._rules.aggregates and (queue := self._behind[first.key]):
                run = _run(first, queue, min(self._rules.run_bytes, room))
                room -= sum(len(draft.data) for draft in run)
                taken += run
        self._size -= len(taken)
        return taken

    def acknowledge(self, drafts: Iterable[Draft]) -> None:
        """The stream has them: their keys may send what is next."""
        behind = self._behind
        for key in {draft.key: None for draft in drafts}:
            if queue := behind[key]:
                self._ready.append(queue.popleft())
            else:
                del behind[key]

    def give_back(self, drafts: Sequence[Draft]) -> None:
        """The stream refused them: they are the next of their keys, and first in turn."""
        runs: dict[str, list[Draft]] = {}
        for draft in drafts:
            runs.setdefault(draft.key, []).append(draft)
        for key, (first, *others) in reversed(runs.items()):
            self._ready.appendleft(first)
            if others:
                self._behind[key] = deque((*others, *(self._behind[key] or ())))
        self._size += len(drafts)


def _run(first: Draft, queue: deque[Draft], most_bytes: int) -> list[Draft]:
    """What follows `first` and fits into the same aggregate."""
    room = most_bytes - alone(first)
    run: list[Draft] = []
    while queue and (room := room - weight(queue[0])) >= 0:
        run.append(queue.popleft())
    return run
