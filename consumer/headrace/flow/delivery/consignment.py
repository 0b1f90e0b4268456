"""Records of a batch on their way through the sink, and those that wait for another attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from headrace.core.attempt_log import extended
from headrace.core.record_order import order_of
from headrace.core.tracker import Span
from headrace.core.verdict import RECORD_AGE_EXCEEDED
from headrace.flow.delivery.burial import Cause
from headrace.model import FailedAttempt, Record
from headrace.operations import Effect
from headrace.ports import Refusal
from headrace.traces import Trace

Writes: TypeAlias = list[tuple[int, Effect]]


@dataclass(slots=True)
class Consignment:
    """Records of one span, by index, whose writes are on their way or whose dead letters are due."""

    span: Span
    records: dict[int, Record]
    generation: int
    answer: asyncio.Future[Mapping[int, Refusal]] | None = None
    causes: dict[int, Cause] = field(default_factory=dict)
    left_out: set[int] = field(default_factory=set)
    """Those that no filter matched."""
    trace: Trace | None = None

    @property
    def uncalled(self) -> set[int]:
        """Those that need no call of the handler."""
        return self.left_out | self.causes.keys()

    def order_of(self, index: int) -> str:
        """The place of a record among all of its key."""
        return order_of(self.generation, self.records[index])

    def is_asked_again(self, index: int) -> bool:
        """Whether a record waits behind others of its key although it is too old: its age is asked for in its turn."""
        cause = self.causes.get(index)
        if cause is None or cause.reason != RECORD_AGE_EXCEEDED:
            return False
        del self.causes[index]
        return True


@dataclass(frozen=True, slots=True)
class Waiting:
    """A parked record: where it belongs, and how often it failed."""

    span: Span
    index: int
    record: Record
    attempts: int = 0
    log: tuple[FailedAttempt, ...] = ()

    def failed(self, attempt: FailedAttempt) -> Waiting:
        """The record once this attempt with it has failed; of many attempts the first and the last ones are kept."""
        return replace(self, attempts=self.attempts + 1, log=extended(self.log, attempt))
