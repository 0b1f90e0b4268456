"""A redrive: dead letters go through the handler and the sink once more, in order per key, and parked keys are released.

It works in passes. A pass reads the parked keys first and the letters then, so that of a key whose row it knows it sees
every letter that the row tells of; it delivers what may be delivered, key by key, and releases the keys of which nothing
is left. What a worker buried meanwhile is for the next pass. The last pass is one that got no further.

A letter is removed when its effects are durable, and a key is released when its letters are removed: ended anywhere, a
redrive is begun again and repeats at most what was under way. The theory of parked keys is in `core.parked_keys`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, TypeVar

import structlog

from headrace.core import leases, parked_keys
from headrace.core.backoff import delay_s
from headrace.core.letter_selection import FirstLetters, Gathering, LetterKey, Order, Selection, key_of, order_of
from headrace.core.parked_keys import ParkedKey
from headrace.core.verdict import HANDLER_BACKOFF
from headrace.errors import NotCalled
from headrace.flow.persist import persist
from headrace.flow.redrive.parts import NotYet, RedrivePorts, RedriveRules, Result, Watch, read_parked_keys
from headrace.model import TRIM_HORIZON, DeadLetter, Instant, ShardId
from headrace.rows import Refused, Row
from headrace.tasks import all_of, is_set_within, unless_stopped

log = structlog.get_logger(__name__)

T = TypeVar("T")

Deliver: TypeAlias = Callable[[DeadLetter, int], Awaitable[DeadLetter | None]]
"""See `redelivery.Redelivery.deliver`."""

LOOKS: Final = 4
LOOK_S: Final = 0.2
"""Passes that get no further, and the pause after the first; each is twice as long as the one before, 3 s in all.

A worker that is in the middle of burying is done by then; one that died is replaced later than that.
"""


@dataclass(slots=True)
class _Pass:
    """What one pass knows and what came of it."""

    rows: dict[str, ParkedKey]
    gathered: Gathering
    redriven: int = 0
    failed: int = 0
    released: int = 0
    kept_back: int = 0
    is_unfinished: bool = False
    """Whether another pass may get further."""

    @property
    def has_moved(self) -> bool:
        return self.redriven > 0 or self.failed > 0 or self.released > 0


@dataclass(slots=True)
class _Sum:
    """What came of all passes."""

    redriven: int = 0
    released: int = 0
    failed: dict[LetterKey, Order] = field(default_factory=dict)


class Redrive:
    """One redrive of what `selection` takes; `stop` ends it after the calls under way."""

    def __init__(
        self,
        ports: RedrivePorts,
        deliver: Deliver,
        selection: Selection,
        rules: RedriveRules,
        stop: asyncio.Event,
        watch: Watch | None = None,
    ) -> None:
        self._ports = ports
        self._deliver_one = deliver
        self._selection = selection
        self._rules = rules
        self._stop = stop
        self._watch = watch or Watch()
        self._sum = _Sum()
        self._turn = ports.clock.now()
        self._readings = 0

    async def run(self) -> Result:
        """Redrive until nothing gets further. Raises what `deliver` does but NotCalled; Denied, NotFound."""
        looks = 0
        while True:
            last = await self.run_pass()
            looks = 0 if last.has_moved else looks + 1
            if self._stop.is_set() or not last.is_unfinished or looks > LOOKS:
                break
            if looks:
                await is_set_within(self._stop, LOOK_S * 2 ** (looks - 1))
        total = self._sum
        still_parked = len(await self._parked()) if last.rows else 0
        stopped = self._stop.is_set()
        return Result(total.redriven, len(total.failed), last.kept_back, total.released, still_parked, stopped)

    async def run_pass(self) -> _Pass:
        """Read, deliver what may be delivered, release the keys of which nothing is left."""
        one = _Pass(await self._sure_rows(), self._gathering())
        reading = self._ask("read_dead_letters", lambda: self._gather(one))
        if not await unless_stopped(self._stop, reading, "read-dead-letters"):
            return one
        keys = one.gathered.by_key()
        one.kept_back = one.gathered.kept_back
        one.is_unfinished = one.gathered.has_more and self._left != 0
        self._watch.found(sum(map(len, keys.values())))
        todo = iter(keys.items())
        async with all_of() as tasks:
            for number in range(min(self._rules.keys, len(keys))):
                tasks.create_task(self._work_off(todo, one), name=f"redrive-{number}")
        await self._release_empty(one, keys)
        self._sum.redriven += one.redriven
        self._sum.released += one.released
        return one

    # --- read ----------------------------------------------------------------------------------------------------------

    @property
    def _left(self) -> int | None:
        """Letters that may still be tried."""
        most = self._rules.most
        return None if most is None else max(0, most - self._sum.redriven - len(self._sum.failed))

    def _gathering(self) -> Gathering:
        return Gathering(self._selection, FirstLetters(self._left, self._rules.letter_bytes), self._sum.failed)

    async def _gather(self, one: _Pass) -> None:
        one.gathered = self._gathering()
        self._readings += 1
        async for letter in self._ports.letters.read(self._ports.stream):
            one.gathered.see(letter)

    async def _parked(self) -> dict[str, ParkedKey]:
        rows, wanted = await read_parked_keys(self._ports), self._selection.partition_key
        return {key: row for key, row in rows.items() if wanted in {None, key}}

    async def _sure_rows(self) -> dict[str, ParkedKey]:
        """The parked keys; where the lease of a shard shows another state than a row, that counts."""
        rows = await self._parked()
        there = {shard: await self._lease(shard) for shard in sorted({row.shard for row in rows.values()})}
        for key, row in rows.items():
            if parked_keys.is_settled(row, there[row.shard]):
                rows[key] = replace(row, sure=row.last)
            elif parked_keys.is_outdated(row, there[row.shard]):
                rows[key] = replace(row, sure=TRIM_HORIZON)
        return rows

    async def _lease(self, shard: ShardId) -> Row | None:
        place = leases.lease_key(self._ports.label, shard)
        return await self._ask("read_lease", lambda: self._ports.table.get(place))

    async def _ask(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        return await persist(what, call, self._ports.chance, mendable=())

    # --- deliver -------------------------------------------------------------------------------------------------------

    async def _work_off(self, todo: Iterator[tuple[LetterKey, list[DeadLetter]]], one: _Pass) -> None:
        for key, letters in todo:
            left = await self._deliver_key(key, letters, one)
            one.kept_back += left

    async def _deliver_key(self, key: LetterKey, letters: list[DeadLetter], one: _Pass) -> int:
        """Deliver the letters of a key in order, then release it; how many were not tried."""
        row = one.rows.get(key.partition_key)
        if row is None and await self._is_parked_by_now(key):
            one.is_unfinished = True
            return len(letters)
        for tried, letter in enumerate(letters):
            if row is not None and not row.may_redrive(letter):
                one.is_unfinished = True
                if not row.tells_of(letter):
                    await self._release(row, one)
                return len(letters) - tried
            if not await self._has_turn():
                return len(letters) - tried
            if not await self._deliver(letter, one):
                return len(letters) - tried - 1
        if row is not None and key not in one.gathered.staying:
            await self._release(row, one)
        return 0

    async def _is_parked_by_now(self, key: LetterKey) -> bool:
        """Whether the row came after the rows were read, as it does before each letter."""
        if not key.partition_key:
            return False
        place = parked_keys.key_of(self._ports.label, key.partition_key)
        return await self._ask("read_parked_key", lambda: self._ports.table.get(place)) is not None

    async def _has_turn(self) -> bool:
        """Wait for a turn within the rate; False when a stop was asked for."""
        if self._rules.rate is not None and not self._stop.is_set():
            now = self._ports.clock.now()
            turn = max(now, self._turn)
            self._turn = Instant(turn + 1 / self._rules.rate)
            if turn > now:
                await is_set_within(self._stop, turn - now)
        return not self._stop.is_set()

    async def _deliver(self, letter: DeadLetter, one: _Pass) -> bool:
        """One letter; False where it stays."""
        try:
            failed = await self._called(letter)
        except (NotCalled, NotYet) as why:
            one.kept_back += 1
            one.is_unfinished = one.is_unfinished or isinstance(why, NotYet)
            return False
        if failed is None:
            await self._ask("remove_dead_letter", lambda: self._ports.letters.remove([letter]))
            one.redriven += 1
        else:
            await self._ask("bury", lambda: self._ports.letters.bury([failed]))
            one.failed += 1
            self._sum.failed[key_of(letter)] = order_of(letter)
            log.info(
                "redrive_failed",
                shard=letter.record.shard_id,
                sequence_number=str(letter.record.sequence_number),
                reason=failed.reason,
                error=failed.error,
                attempts=failed.attempts,
            )
        self._watch.done(letter, failed is None)
        return failed is None

    async def _called(self, letter: DeadLetter) -> DeadLetter | None:
        """Raises NotCalled where a stop was asked for before the handler could be called."""
        tries = 0
        while True:
            try:
                return await self._deliver_one(letter, self._readings)
            except NotCalled:
                tries += 1
                if await is_set_within(self._stop, delay_s(tries, self._ports.chance(), HANDLER_BACKOFF)):
                    raise

    # --- release -------------------------------------------------------------------------------------------------------

    async def _release_empty(self, one: _Pass, keys: dict[LetterKey, list[DeadLetter]]) -> None:
        """The keys that have a row and no letter at all: a redrive was ended before it released them."""
        there = {key.partition_key for key in (*keys, *one.gathered.staying)}
        for key, row in one.rows.items():
            if key not in there and not self._stop.is_set():
                await self._release(row, one)

    async def _release(self, row: ParkedKey, one: _Pass) -> None:
        if not row.is_sure:
            one.is_unfinished = True
            return
        request = parked_keys.release(self._ports.label, row)
        outcome = await self._ask("release_key", lambda: self._ports.table.apply(request))
        if not isinstance(outcome, Refused):
            one.released += 1
            log.info("key_released", shard=row.shard, sequence_number=str(row.last.sequence_number))
        elif outcome.row is not None:
            one.is_unfinished = True
