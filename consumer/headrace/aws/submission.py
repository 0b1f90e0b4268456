"""What the sink's caller waits for: the writes of one `submit`, and their common fate."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping

import msgspec

from headrace.errors import LeaseLost
from headrace.model import Permit
from headrace.operations import Effect
from headrace.ports import Refusal
from headrace.traces import Trace


class Submission:
    """The writes of one `submit`: how many are open, which were refused, and whether they may still be written."""

    __slots__ = ("_open", "_permit", "_refusals", "future", "trace")

    def __init__(self, count: int, permit: Permit) -> None:
        self.future: asyncio.Future[Mapping[int, Refusal]] = asyncio.get_running_loop().create_future()
        self._open = count
        self._permit = permit
        self._refusals: dict[int, Refusal] = {}
        self.trace: Trace | None = None
        if not count:
            self.future.set_result(self._refusals)

    def settle(self) -> None:
        """One more write is durable or refused."""
        self._open -= 1
        if not self._open and not self.future.done():
            self.future.set_result(self._refusals)

    def refuse(self, index: int, reason: str) -> None:
        """DynamoDB will never take this write of the caller's record `index`."""
        self._refusals.setdefault(index, Refusal(reason))
        self.settle()

    @property
    def permit(self) -> Permit:
        """What the caller gave: one and the same for all the submissions of a shard, so that it need be asked but once."""
        return self._permit

    def may_write(self) -> bool:
        """Somebody waits, and the permit holds. The first time that it does not, the waiter gets LeaseLost."""
        if self.future.done():
            return False
        if self._permit():
            return True
        self.lose("the lease was lost before all its writes were durable")
        return False

    def lose(self, why: str) -> None:
        """Nothing more of it will be sent."""
        if not self.future.done():
            self.future.set_exception(LeaseLost(why))
            self.future.exception()  # marks it as seen: a waiter that is gone is no news for asyncio's log


class Write(msgspec.Struct, gc=False, eq=False):
    """One write of a submission; `index` is the caller's number of the record behind it."""

    key: Hashable
    effect: Effect
    submission: Submission
    index: int
