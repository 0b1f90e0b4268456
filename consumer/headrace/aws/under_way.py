"""Requests that are under way, by the permits of the writes in them: when has the last one of a lease been answered?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from headrace.errors import Denied, LeaseLost, NotFound, Rejected, Throttled
from headrace.model import Permit


class UnderWay:
    """Counts of requests. One that got no answer may take effect for `longest_s` more, and counts as long."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._requests: Counter[Permit] = Counter()
        self._fewer = asyncio.Event()

    @contextmanager
    def request(self, permits: Iterable[Permit]) -> Iterator[None]:
        """A request is made in the block; what it raises tells whether it was answered."""
        held = tuple(permits)
        self._requests.update(held)
        try:
            yield
        except (LeaseLost, Throttled, Rejected, Denied, NotFound):
            self._end(held)  # it was not sent, or was refused as a whole
            raise
        except BaseException:
            asyncio.get_running_loop().call_later(self._longest_s, self._end, held)
            raise
        else:
            self._end(held)

    async def ended(self, permit: Permit) -> None:
        """Wait until none under this permit is left."""
        while permit in self._requests:
            self._fewer.clear()
            await self._fewer.wait()

    def _end(self, permits: Iterable[Permit]) -> None:
        for permit in permits:
            self._requests[permit] -= 1
            if not self._requests[permit]:
                del self._requests[permit]
        self._fewer.set()
