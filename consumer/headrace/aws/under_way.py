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
    def request(self, permits: Iterable[Permit], permit: Permit) -> Iterator[Permit]:
        """A request is made in the block, with the permit that it gets; what is raised tells whether it was answered.

        The permit is asked before each sending (`wire.Wire`). Where there were two, the answer is to the second, whatever
        it says, and the first has none.
        """
        held, sendings, is_answered = tuple(permits), 0, True

        def counted() -> bool:
            nonlocal sendings
            may = permit()
            sendings += may
            return may

        self._requests.update(held)
        try:
            yield counted
        except (LeaseLost, Throttled, Rejected, Denied, NotFound):
            raise  # it was not sent, or was refused as a whole
        except BaseException:
            is_answered = False
            raise
        finally:
            if is_answered and sendings <= 1:
                self._end(held)
            else:
                asyncio.get_running_loop().call_later(self._longest_s, self._end, held)

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
