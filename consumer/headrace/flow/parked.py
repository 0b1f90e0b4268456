"""Which partition keys of a shard are parked, as its owner knows it."""

from __future__ import annotations

import structlog

from headrace.core import parked_keys
from headrace.flow.persist import persist
from headrace.flow.term import Term
from headrace.model import Record
from headrace.ports import Ports
from headrace.rows import Outcome, PutRow, Refused, UpdateRow

log = structlog.get_logger(__name__)


class Parked:
    """Empty for ever unless it `is_wanted`; `stream` is the name under which the lease rows stand."""

    def __init__(self, term: Term, stream: str, ports: Ports, *, is_wanted: bool) -> None:
        self.keys: set[str] = set()
        """Parked, or about to be."""
        self.is_wanted = is_wanted
        self._term = term
        self._stream = stream
        self._ports = ports
        self._unwritten: set[str] = set()
        """Those that no row tells yet."""

    async def resume(self) -> None:
        """Find the keys that were parked before."""
        if self.is_wanted:
            partition = parked_keys.parked_partition(self._stream)
            rows = await persist("read_parked_keys", lambda: self._ports.table.query(partition), self._ports.chance)
            self.keys = set(parked_keys.parked(rows))

    def begin(self, record: Record) -> None:
        """It will be buried: later records of its key are parked from now on."""
        key = record.partition_key
        if self.is_wanted and key and key not in self.keys:
            self.keys.add(key)
            self._unwritten.add(key)
            log.warning("key_parked", shard=self._term.lease.shard_id, sequence_number=str(record.sequence_number))

    async def holds(self, record: Record) -> bool:
        """Whether a record has to follow others of its key into the dead letters. Raises LeaseLost."""
        key = record.partition_key
        if key not in self.keys:
            return False
        if key in self._unwritten:
            return True
        if not isinstance(await self._apply(parked_keys.follow(self._stream, record)), Refused):
            return True
        self.keys.discard(key)
        log.info("key_released", shard=self._term.lease.shard_id, sequence_number=str(record.sequence_number))
        return False

    async def park(self, record: Record) -> None:
        """Make it known before the record's letter is stored. Raises LeaseLost."""
        if self.is_wanted and record.partition_key:
            self.begin(record)
            await self._apply(parked_keys.park(self._stream, record, self._ports.clock.wall().timestamp()))
            self._unwritten.discard(record.partition_key)

    async def _apply(self, request: PutRow | UpdateRow) -> Outcome:
        async def apply() -> Outcome:
            self._term.insist()
            return await self._ports.table.apply(request)

        return await persist("park_key", apply, self._ports.chance)
