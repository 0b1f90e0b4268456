"""Which records of a batch need no call of the handler: skipped by an operator, too old, or left out by the filters.

Without any of these nothing is done per record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from headrace.core.filters import Drop, Filters, Keep, NotJson
from headrace.core.skips import is_skipped
from headrace.core.verdict import too_old
from headrace.flow.delivery.burial import Cause
from headrace.flow.workplace import Workplace
from headrace.model import Lease, Record


@dataclass(frozen=True, slots=True)
class Sifted:
    """Records by index in their batch: those to bury, and those to settle without a call."""

    causes: dict[int, Cause] = field(default_factory=dict)
    left_out: set[int] = field(default_factory=set)


class Sieve:
    """Sifts the batches of one shard."""

    def __init__(self, lease: Lease, place: Workplace) -> None:
        self._shard = lease.shard_id
        self._skips = lease.skips
        self._retry = place.rules.retry
        self._filters = place.rules.filters
        self._ports = place.ports

    def sift(self, records: Mapping[int, Record]) -> Sifted:
        """What becomes of those that need no call; the age goes first, as in the event source mapping."""
        sifted = self._skipped(records)
        if self._retry.limits_age:
            now_s = self._ports.clock.wall().timestamp()
            old = (index for index, record in records.items() if too_old(record, now_s, self._retry))
            sifted.causes.update((index, Cause.too_old(0)) for index in old if index not in sifted.causes)
        if self._filters is not None:
            self._filter(self._filters, records, sifted)
        return sifted

    def filter(self, records: Mapping[int, Record]) -> Sifted:
        """Likewise by the filters alone: a batch handler's records are asked for their age before every call."""
        sifted = self._skipped(records)
        if self._filters is not None:
            self._filter(self._filters, records, sifted)
        return sifted

    def _skipped(self, records: Mapping[int, Record]) -> Sifted:
        if not self._skips:
            return Sifted()
        return Sifted({index: Cause.skipped() for index, record in records.items() if is_skipped(record, self._skips)})

    def _filter(self, filters: Filters, records: Mapping[int, Record], sifted: Sifted) -> None:
        not_json = 0
        for index, record in records.items():
            if index in sifted.causes:
                continue
            match filters.verdict(record):
                case Keep():
                    continue
                case Drop():
                    sifted.left_out.add(index)
                case NotJson(policy):
                    not_json += 1
                    if policy == "dead_letter":
                        sifted.causes[index] = Cause.not_json()
                    elif policy == "drop":
                        sifted.left_out.add(index)
                case verdict:
                    assert_never(verdict)
        self._ports.observer.records_filtered(self._shard, len(sifted.left_out), not_json)
