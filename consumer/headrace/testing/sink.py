"""A serving table in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from headrace.core.item_keys import ItemKey, key_of
from headrace.core.items import ItemError, careful_attributes
from headrace.core.write_modes import NotCarried, WriteMode, insist
from headrace.errors import LeaseLost
from headrace.model import Permit
from headrace.operations import Effect, Put
from headrace.ports import OrderOf, Refusal, unordered

TABLE: Final = "serving-table"
"""Where effects go that name no table."""

RETRY_S: Final = 0.1
"""Pause after a scripted failure."""

Refusals: TypeAlias = dict[int, Refusal]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One submission that has not been written yet."""

    writes: Sequence[tuple[int, Effect]]
    permit: Permit
    future: asyncio.Future[Mapping[int, Refusal]]


class MemorySink:
    """Implements `ports.Sink`. Submissions are written in their order, each one at once.

    `latency_s` is asked for each submission. `refuses` says why DynamoDB would not take an effect, or None; what has no
    DynamoDB type or no key is refused in any case. `key_attributes` holds for every table.
    """

    def __init__(
        self,
        key_attributes: tuple[str, ...] = ("pk",),
        *,
        refuses: Callable[[Effect], str | None] = lambda _: None,
        latency_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.tables: dict[str, dict[ItemKey, dict[str, Any]]] = {}
        """Items by key, by table."""
        self.written: list[Effect] = []
        """Every effect in the order it was written."""
        self._key_attributes = key_attributes
        self._refuses = refuses
        self._latency_s = latency_s
        self._waiting: deque[Waiting] = deque()
        self._failures = 0

    @property
    def items(self) -> dict[ItemKey, dict[str, Any]]:
        """What is in the serving table."""
        return self.tables.setdefault(TABLE, {})

    def fail_next(self, times: int) -> None:
        """The next `times` attempts to write are throttled; each is made again after RETRY_S."""
        self._failures += times

    def submit(
        self,
        writes: Sequence[tuple[int, Effect]],
        permit: Permit,
        order: OrderOf = unordered,  # noqa: ARG002 - it keeps everything
    ) -> asyncio.Future[Mapping[int, Refusal]]:
        """Write everything after the latency, if the permit holds then."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(tuple(writes), permit, loop.create_future())
        self._waiting.append(waiting)
        loop.call_later(self._latency_s(), self._write_next)
        return waiting.future

    async def calls_ended(self, permit: Permit) -> None:
        """There never is one under way."""

    def _write_next(self) -> None:
        """One turn for each submission; it is the oldest one's, so that none overtakes another."""
        waiting = self._waiting[0]
        if waiting.future.done():
            self._waiting.popleft()
        elif not waiting.permit():
            self._waiting.popleft()
            waiting.future.set_exception(LeaseLost("the lease was lost before all its writes were durable"))
        elif self._failures:
            self._failures -= 1
            asyncio.get_running_loop().call_later(RETRY_S, self._write_next)
        else:
            self._waiting.popleft()
            waiting.future.set_result(self._write(waiting.writes))

    def _write(self, writes: Sequence[tuple[int, Effect]]) -> Refusals:
        refusals: Refusals = {}
        for index, effect in writes:
            try:
                reason = self._apply(effect)
            except (ItemError, NotCarried) as error:
                reason = str(error)
            if reason is not None:
                refusals.setdefault(index, Refusal(reason))
        return refusals

    def _apply(self, effect: Effect) -> str | None:
        insist(effect, WriteMode.PUT)
        item = effect.item if isinstance(effect, Put) else effect.key
        key = key_of(item, self._key_attributes)
        careful_attributes(item)
        reason = self._refuses(effect)
        if reason is None:
            table = self.tables.setdefault(effect.table or TABLE, {})
            if isinstance(effect, Put):
                table[key] = dict(item)
            else:
                table.pop(key, None)
            self.written.append(effect)
        return reason
