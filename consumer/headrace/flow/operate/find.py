"""Finding one record in the stream by its number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.errors import Rejected
from headrace.flow.operate.desk import Desk
from headrace.flow.operate.seek import first_page
from headrace.model import Checkpoint, Lease, Record, ShardId


@dataclass(frozen=True, slots=True)
class Found:
    """A record and its shard."""

    shard: ShardId
    record: Record


async def find_record(desk: Desk, number: int, leases: Iterable[Lease]) -> Found | None:
    """The record with this number, by asking shard after shard; None where none of them holds it.

    Kinesis refuses a number of another shard, so that most shards answer at once. Raises what the stream raises.
    """
    for lease in leases:
        try:
            records = await first_page(desk, lease.shard_id, Checkpoint.at(number, 0))
        except Rejected:
            continue
        if records and records[0].sequence_number == number:
            return Found(lease.shard_id, records[0])
    return None
