"""Which partition keys of a shard are parked, as its owner knows it. Nobody else parks them while it owns the shard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import structlog

from headrace.core import parked_keys
from headrace.core.lease_rows import lease_of
from headrace.core.leases import lease_partitions
from headrace.core.parked_keys import ParkedKey
from headrace.flow.persist import persist
from headrace.flow.term import Term
from headrace.model import Checkpoint, Lease, Record, ShardId
from headrace.ports import Ports
from headrace.rows import Applied, Outcome, Refused, Request
from headrace.tasks import all_of

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Held:
    """A parked key: its row as far as known, and where the newest record is that is a letter or will be one."""

    row: ParkedKey | None
    newest: Checkpoint | None = None

    def is_told(self, shard: ShardId, replay: int) -> bool:
        """Whether the row tells of all that is held."""
        return self.row is not None and (self.newest is None or self.row.announces(shard, self.newest, replay))

    def hold(self, place: Checkpoint) -> None:
        """One more."""
        if self.newest is None or place > self.newest:
            self.newest = place


class Parked:
    """Empty for ever unless it `is_wanted`; `stream` is the name under which the lease rows stand."""

    def __init__(self, term: Term, stream: str, ports: Ports, *, is_wanted: bool) -> None:
        self.keys: dict[str, Held] = {}
        """Parked, or about to be."""
        self.is_wanted = is_wanted
        self._term = term
        self._stream = stream
        self._ports = ports

    @property
    def _shard(self) -> ShardId:
        return self._term.lease.shard_id

    @property
    def _replay(self) -> int:
        return self._term.lease.replay

    async def resume(self) -> None:
        """Find the keys that were parked before."""
        if self.is_wanted:
            partition = parked_keys.parked_partition(self._stream)
            rows = await persist(
                "read_parked_keys", lambda: self._ports.table.query(partition, consistent=True), self._ports.chance
            )
            keys = await self._concerning(parked_keys.parked(rows))
            self.keys = {key: Held(row) for key, row in keys.items()}

    async def _concerning(self, keys: dict[str, ParkedKey]) -> dict[str, ParkedKey]:
        """Without those of which other shards have the records: every shard would keep all of the stream's."""
        lease, there = self._term.lease, dict[ShardId, Lease]()
        if all(key.shard == lease.shard_id for key in keys.values()):
            return keys

        async def read(partition: str) -> None:
            rows = await persist("read_leases", lambda: self._ports.table.query(partition), self._ports.chance)
            there.update({one.shard_id: one for one in map(lease_of, rows)})

        async with all_of() as queries:
            for partition in lease_partitions(self._stream):
                queries.create_task(read(partition), name=f"query-{partition}")
        return parked_keys.concerning(lease, keys, there)

    def begin(self, record: Record) -> None:
        """It will be buried: later records of its key are parked from now on."""
        key = record.partition_key
        if not (self.is_wanted and key):
            return
        if key not in self.keys:
            self.keys[key] = Held(None)
            log.warning("key_parked", shard=self._shard, sequence_number=str(record.sequence_number))
        self.keys[key].hold(Checkpoint.of(record))

    async def holds(self, record: Record) -> bool:
        """Whether a record has to follow others of its key into the dead letters. Raises LeaseLost."""
        return bool(await self.held_of({0: record}))

    async def held_of(self, records: Mapping[int, Record]) -> set[int]:
        """Those that have to follow others of their keys; one request for each key. Raises LeaseLost."""
        newest = {record.partition_key: record for record in records.values() if record.partition_key in self.keys}
        parked = {key for key, record in newest.items() if await self._keeps(record)}
        return {index for index, record in records.items() if record.partition_key in parked}

    async def _keeps(self, record: Record) -> bool:
        """Announce a record, unless its key was released meanwhile."""
        key, place = record.partition_key, Checkpoint.of(record)
        while (held := self.keys.get(key)) is not None:
            if not held.is_told(self._shard, self._replay):  # a letter of the key is on its way: it was not released
                held.hold(place)
                return True
            if held.row is None or held.row.announces(self._shard, place, self._replay):
                return True
            if not await self._follow(held, held.row, place):
                del self.keys[key]
                log.info("key_released", shard=self._shard, sequence_number=str(record.sequence_number))
        return False

    async def cover(self, records: Iterable[Record]) -> None:
        """Make them known before their letters are stored. Raises LeaseLost."""
        for record in records:
            self.begin(record)
        for key in {record.partition_key for record in records}:
            while (held := self.keys.get(key)) is not None and held.newest is not None:
                if held.is_told(self._shard, self._replay):
                    break
                if held.row is None:
                    await self._park(held, key, held.newest)
                elif not await self._follow(held, held.row, held.newest):
                    held.row = None

    def is_done_with(self, record: Record) -> bool:
        """Whether the record was stored or redriven in an earlier run that did not get to its checkpoint."""
        held = self.keys.get(record.partition_key)
        return held is not None and held.row is not None and held.row.is_done_with(record, self._replay)

    async def confirm(self, records: Iterable[Record]) -> None:
        """Their letters are stored, and all that came before them is written or stored. Raises LeaseLost."""
        newest = {record.partition_key: record for record in sorted(records, key=Checkpoint.of)}
        for key, record in newest.items():
            held = self.keys.get(key)
            if held is None or held.row is None or held.row.is_done_with(record, self._replay):
                continue
            if isinstance(await self._apply(parked_keys.confirm(self._stream, record, self._replay)), Applied):
                held.row = replace(held.row, sure=Checkpoint.of(record))

    # --- rows ----------------------------------------------------------------------------------------------------------

    async def _park(self, held: Held, key: str, place: Checkpoint) -> None:
        new = ParkedKey(
            key,
            self._shard,
            place,
            since_s=self._ports.clock.wall().timestamp(),
            count=1,
            replay=self._replay,
        )
        outcome = await self._apply(parked_keys.park(self._stream, new))
        if isinstance(outcome, Refused):
            held.row = None if outcome.row is None else parked_keys.parked_key(outcome.row)
        else:
            held.row = new

    async def _follow(self, held: Held, seen: ParkedKey, place: Checkpoint) -> bool:
        """Announce the record there in the row that was seen; False where there is none any more."""
        new = seen.followed_by(self._shard, place, self._replay)
        outcome = await self._apply(parked_keys.follow(self._stream, seen, new))
        if isinstance(outcome, Refused):
            held.row = None if outcome.row is None else parked_keys.parked_key(outcome.row)
            return outcome.row is not None
        held.row = new if held.row is seen or held.row is None else replace(new, sure=max(new.sure, held.row.sure))
        return True

    async def _apply(self, request: Request) -> Outcome:
        async def apply() -> Outcome:
            self._term.insist()
            return await self._ports.table.apply(request)

        return await persist("park_key", apply, self._ports.chance)
