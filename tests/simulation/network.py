"""What lies between a worker and the services: the weather of its calls, and the calls.

A request that left its worker is the network's: it arrives whatever becomes of the worker, maybe late, maybe twice. An
answer may be late or lost; the caller waits for a while and then knows nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from headrace.core import membership
from headrace.errors import AwsError, Throttled, Unavailable
from headrace.model import ShardId, WorkerId
from headrace.rows import Key, Outcome, Request, Row, TransactionOutcome, UpdateRow
from headrace.testing.stream import MemoryStream
from simulation.loop import OUTSIDE, VirtualLoop
from simulation.table import WatchedTable

LOST_S = 0.5
"""After this long a connection that cannot be made fails."""

PATIENCE_S = 3.0
"""How long the lease table's client waits for an answer (`aws.session.LEASE_READ_S`)."""


@dataclass
class Weather:
    """What may happen to the calls of one worker right now; those without a unit are probabilities per call."""

    lose: float = 0.0
    mute: float = 0.0
    throttle: float = 0.0
    repeat: float = 0.0
    slow_there_s: float = 0.0
    slow_back_s: float = 0.0
    """How much longer a request, and its answer, may be on its way."""
    late: float = 0.0
    """A write arrives long after its caller gave it up."""
    longest_s: float = 30.0
    """How late a late or repeated write may be."""
    stale_s: float = 0.0
    blind: bool = False
    """Kinesis cannot be reached."""

    @property
    def is_clear(self) -> bool:
        """Whether calls to the table are answered in time."""
        return not (self.lose or self.mute or self.throttle or self.slow_there_s or self.slow_back_s or self.late)

    def clear_up(self) -> None:
        """Everything works again."""
        self.lose = self.mute = self.throttle = self.repeat = self.late = self.slow_there_s = self.slow_back_s = 0.0
        self.blind = False


class Link:
    """One worker's connection: it ends with the process."""

    def __init__(self, loop: VirtualLoop, weather: Weather, chance: random.Random) -> None:
        self.is_up = True
        self.loop = loop
        self.weather = weather
        self.chance = chance
        self.who: Callable[[], WorkerId | None] = lambda: None
        """Under which id it speaks at the moment."""
        self.before_heartbeat: Callable[[], None] = lambda: None

    def later(self, delay_s: float, do: Callable[..., None], *arguments: Any) -> None:
        """The network does something, whatever becomes of the worker."""
        self.loop.call_at(self.loop.now + delay_s, do, *arguments, context=OUTSIDE)

    def fail(self, delay_s: float, answer: asyncio.Future[Any], error: Exception) -> asyncio.Future[Any]:
        self.later(delay_s, _tell, answer, None, error)
        return answer

    def legs(self) -> tuple[float, float]:
        """How long a request is on its way, and its answer."""
        chance, weather = self.chance, self.weather
        slow = chance.uniform(0.4, 1.0) if weather.slow_there_s or weather.slow_back_s else 0.0
        there = chance.uniform(0.001, 0.02) + weather.slow_there_s * slow
        return there, chance.uniform(0.001, 0.02) + weather.slow_back_s * slow


class Wire:
    """One worker's way to the table."""

    def __init__(self, table: WatchedTable, link: Link) -> None:
        self._table = table
        self._link = link

    async def apply(self, request: Request) -> Outcome:
        if request.key.pk == membership.WORKERS and isinstance(request, UpdateRow) and "hb" in request.assign:
            self._link.before_heartbeat()
        return await self._write(partial(self._table.write, request))

    async def apply_each(self, requests: Sequence[UpdateRow]) -> list[Outcome | AwsError]:
        return await self._write(partial(self._table.write_each, tuple(requests)))

    async def transact(self, requests: Sequence[Request], token: str) -> TransactionOutcome:
        return await self._write(partial(self._table.write_all, tuple(requests), token))

    async def query(self, pk: str, *, consistent: bool = False) -> list[Row]:
        return await self._read(partial(self._rows, pk, 0.0 if consistent else self._link.weather.stale_s))

    async def get(self, key: Key) -> Row | None:
        return await self._read(partial(self._row, key))

    # --- reads: one instant of the table --------------------------------------------------------------------------------

    def _rows(self, pk: str, longest_lag_s: float, served_at: float) -> list[Row]:
        return self._table.seen(pk, served_at, self._link.chance, longest_lag_s)

    def _row(self, key: Key, served_at: float) -> Row | None:
        return self._table.as_of(key, served_at)

    def _read(self, look: Callable[[float], Any]) -> asyncio.Future[Any]:
        link, weather, chance = self._link, self._link.weather, self._link.chance
        answer = link.loop.create_future()
        if (error := self._lost()) is not None:
            return link.fail(LOST_S, answer, error)
        if weather.throttle and chance.random() < weather.throttle:
            return link.fail(0.01, answer, Throttled("slow down"))
        there, back = link.legs()
        if there + back > PATIENCE_S or (weather.mute and chance.random() < weather.mute):
            return link.fail(PATIENCE_S, answer, Unavailable("no answer in time"))
        link.later(there + back, self._show, answer, look, link.loop.now + there)
        return answer

    def _show(self, answer: asyncio.Future[Any], look: Callable[[float], Any], served_at: float) -> None:
        if not answer.done():
            answer.set_result(look(served_at))

    # --- writes ---------------------------------------------------------------------------------------------------------

    def _write(self, act: Callable[[], Any]) -> asyncio.Future[Any]:
        link, weather, chance = self._link, self._link.weather, self._link.chance
        answer, who = link.loop.create_future(), link.who()
        if (error := self._lost()) is not None:
            return link.fail(LOST_S, answer, error)
        if weather.throttle and chance.random() < weather.throttle:
            return link.fail(0.01, answer, Throttled("slow down"))
        there, back = link.legs()
        if weather.late and chance.random() < weather.late:
            there += chance.uniform(0, weather.longest_s)
        if weather.repeat and chance.random() < weather.repeat:
            link.later(there + chance.uniform(0.1, weather.longest_s), self._again, who, act)
        if weather.mute and chance.random() < weather.mute:
            back = PATIENCE_S
        if there + back > PATIENCE_S:
            link.fail(PATIENCE_S, answer, Unavailable("no answer in time"))
        link.later(there, self._arrive, who, act, answer, back)
        return answer

    def _arrive(self, who: WorkerId | None, act: Callable[[], Any], answer: asyncio.Future[Any], back: float) -> None:
        try:
            outcome = self._table.serve(who, act)
        except AwsError as error:
            self._link.fail(back, answer, error)
            return
        if not answer.done():
            self._link.later(back, _tell, answer, outcome, None)

    def _again(self, who: WorkerId | None, act: Callable[[], Any]) -> None:
        """A copy of the request arrives late."""
        try:
            self._table.serve(who, act)
        except AwsError:
            return

    def _lost(self) -> Unavailable | None:
        link = self._link
        lost = not link.is_up or (link.weather.lose and link.chance.random() < link.weather.lose)
        return Unavailable("the request was lost") if lost else None


def _tell(answer: asyncio.Future[Any], outcome: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(outcome)
    else:
        answer.set_exception(error)


class View:
    """One worker's view of the stream."""

    def __init__(self, stream: MemoryStream, link: Link) -> None:
        self._stream = stream
        self._link = link

    async def describe(self) -> Any:
        return await self._stream.describe()

    async def list_shards(self) -> Any:
        await self._pass()
        return await self._stream.list_shards()

    async def iterator(self, shard: Any, after: Any) -> str:
        await self._pass()
        return await self._stream.iterator(shard, after)

    async def get_records(self, iterator: str, limit: int, shard: ShardId) -> Any:
        await self._pass()
        return await self._stream.get_records(iterator, limit, shard)

    async def _pass(self) -> None:
        link = self._link
        if link.weather.blind or not link.is_up:
            await asyncio.sleep(1.0)
            raise Unavailable("kinesis cannot be reached")
        await asyncio.sleep(link.chance.uniform(0.001, 0.03))
