"""What the trace of handler calls says: did anyone act on a shard that was another's, did any key leave its order? Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from chaos.history import History, Tenure


class Call(NamedTuple):
    """One call of the handler."""

    at: float
    pid: int
    shard: str
    sequence_number: int
    key: str


def calls_of(lines: Iterable[bytes]) -> list[Call]:
    """The calls in the lines of a trace, in the order of their times."""
    parsed = (msgspec.json.decode(line) for line in lines)
    return sorted(Call(at, pid, shard, int(number), key) for at, pid, shard, number, key in parsed)


class Trespass(NamedTuple):
    """A call under an epoch that was over, or under none."""

    call: Call
    worker: str
    epoch: int | None
    newest: int


def trespasses(calls: Iterable[Call], history: History, pids: Mapping[int, str]) -> list[Trespass]:
    """Calls by a worker for a shard after the first call of another one under a later epoch.

    The epoch of a call is that of the worker's last tenure of the shard, as its own log tells it.
    """
    tenures: dict[tuple[str, str], list[Tenure]] = defaultdict(list)
    for tenure in sorted(history, key=lambda t: t.opened):
        tenures[tenure.worker, tenure.shard].append(tenure)
    newest: dict[str, int] = {}
    found = []
    for call in calls:
        worker = pids[call.pid]
        epoch = _epoch_at(tenures[worker, call.shard], call.at)
        before = newest.get(call.shard, 0)
        if epoch is None or epoch < before:
            found.append(Trespass(call, worker, epoch, before))
        else:
            newest[call.shard] = epoch
    return found


def _epoch_at(tenures: Sequence[Tenure], at: float) -> int | None:
    index = bisect_right([tenure.opened for tenure in tenures], at)
    return tenures[index - 1].epoch if index else None


def disordered_keys(calls: Iterable[Call]) -> list[str]:
    """Keys whose records were not handled in their order.

    After a takeover a key goes back to the checkpoint, and from there each record follows the one before it again: no
    call may be for a record more than one place further than the key's last call.
    """
    by_key: dict[str, list[int]] = defaultdict(list)
    for call in calls:
        by_key[call.key].append(call.sequence_number)
    return sorted(key for key, numbers in by_key.items() if _leaps(numbers))


def _leaps(numbers: Sequence[int]) -> bool:
    place = {number: index for index, number in enumerate(sorted(set(numbers)))}
    previous = -1
    for number in numbers:
        if place[number] > previous + 1:
            return True
        previous = place[number]
    return False
