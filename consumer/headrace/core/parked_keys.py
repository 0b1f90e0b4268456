"""Partition keys that are parked: a record of theirs was buried, and later ones follow it into the dead letters.

So order survives the failure, until the key is redriven. One row a key, beside the leases. `last` names the newest record
of the key that is a dead letter or will be one: it is written before that letter is stored. `sure` tells up to where every
record of the key is done with: written, stored as a letter, or redriven. A worker goes

    park or follow (`last`)  >  store the letters  >  confirm (`sure`)  >  settle

- it parks a key when it buries its first record (`park`), and asks with the next ones whether the key still is parked
  (`follow`); where it is not any more, they are handled like any other;
- it confirms once the letters are stored and all that came before them is written (`confirm`): from then on it never
  stores them again, even if its checkpoint is lost. After a takeover, records up to `sure` are settled as they come;
- a redrive touches no letter beyond `sure`, so none that may be stored once more behind its back. It delivers the others
  in order, and releases the key (`release`) on condition that `last` did not move, once nothing up to it is left.

Whoever dies between two of these steps leaves a key that is parked, never one that is released too soon. Where a worker
died before it confirmed, the next owner of the shard does it; where there was nothing left to do for one, the checkpoint
of the shard tells as much (`is_settled`).

An operator may have a shard read again (`operator_rows.seek`). Then `sure` proves nothing: what it tells of was written or
redriven into tables that may be empty by now. So a row names the reading that it is of (`replay`), and whoever finds it to be
of an earlier one goes on as after a reshard: records that are read again follow the others of their key into the dead
letters, those included that were written before, and a redrive waits until that is done.

Records of one key in several open shards at once (explicit hash keys) have no order to keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from headrace.core.lease_rows import replay_of
from headrace.model import SHARD_END, TRIM_HORIZON, Checkpoint, DeadLetter, Lease, Record, ShardId
from headrace.rows import Absent, AtMost, Condition, DeleteRow, Equals, Key, PutRow, Row, UpdateRow, Value


@dataclass(frozen=True, slots=True)
class ParkedKey:
    """A row. `shard` is where `last` and `sure` are, in the reading that began with epoch `replay` (0: the first one).

    `since_s` is epoch seconds; `count` is of letters, repeats included.
    """

    partition_key: str
    shard: ShardId
    last: Checkpoint
    sure: Checkpoint = TRIM_HORIZON
    since_s: float = 0.0
    count: int = 0
    replay: int = 0

    @property
    def is_sure(self) -> bool:
        """Whether nothing of it is on its way into the dead letters."""
        return self.sure >= self.last

    def announces(self, shard: ShardId, place: Checkpoint, replay: int) -> bool:
        """Whether the row tells already of the record at this place, as it is read now."""
        return self._is_of(shard, replay) and place <= self.last

    def is_done_with(self, record: Record, replay: int) -> bool:
        """Whether the record, as it is read now, needs neither a call nor a letter any more."""
        return self._is_of(ShardId(record.shard_id), replay) and Checkpoint.of(record) <= self.sure

    def followed_by(self, shard: ShardId, place: Checkpoint, replay: int) -> ParkedKey:
        """The row once it announces that record too. In another reading of the shard it still tells of what it told."""
        new = replace(self, last=place, count=self.count + 1)
        if self._is_of(shard, replay):
            return new
        last = max(new.last, self.last) if self.shard == shard else new.last
        return replace(new, shard=shard, replay=replay, last=last, sure=TRIM_HORIZON)

    def may_redrive(self, letter: DeadLetter) -> bool:
        """Whether no worker will store the letter again. Those of other shards are from before the last reshard."""
        return self.shard != letter.record.shard_id or Checkpoint.of(letter.record) <= self.sure

    def tells_of(self, letter: DeadLetter) -> bool:
        """Whether the key cannot be released before the letter is gone."""
        return self.shard != letter.record.shard_id or Checkpoint.of(letter.record) <= self.last

    def _is_of(self, shard: ShardId, replay: int) -> bool:
        return self.shard == shard and self.replay == replay


def parked_partition(stream: str) -> str:
    """The partition that holds the parked keys of a stream."""
    return f"P#{stream}"


def key_of(stream: str, partition_key: str) -> Key:
    """Where a parked key is.

    256 characters (Kinesis, API reference of PutRecord) have at most the 1,024 bytes of a sort key (DynamoDB quotas).
    """
    return Key(parked_partition(stream), partition_key)


def parked(rows: Iterable[Row]) -> dict[str, ParkedKey]:
    """Every parked key."""
    return {key.partition_key: key for key in map(parked_key, rows)}


def concerning(lease: Lease, keys: Mapping[str, ParkedKey], leases: Mapping[ShardId, Lease]) -> dict[str, ParkedKey]:
    """Those of which this shard may have records, by all that is known.

    A key that was parked in a shard whose hash keys are all others than this one's has none here, nor had it before a
    reshard, nor will it have them when an operator has both read again. Where a shard's lease is gone nobody can tell.
    """

    def may_concern(key: ParkedKey) -> bool:
        there = leases.get(key.shard)
        return there is None or not (
            there.last_hash_key < lease.first_hash_key or lease.last_hash_key < there.first_hash_key
        )

    return {name: key for name, key in keys.items() if key.shard == lease.shard_id or may_concern(key)}


def parked_key(row: Row) -> ParkedKey:
    """A row as a value."""
    return ParkedKey(
        partition_key=str(row["sk"]),
        shard=ShardId(str(row["shard"])),
        last=Checkpoint.decode(str(row["last"])),
        sure=Checkpoint.decode(str(row["sure"])),
        since_s=float(str(row["since"])),
        count=int(str(row["count"])),
        replay=int(str(row.get("replay", 0))),
    )


# --- a worker's -------------------------------------------------------------------------------------------------------


def park(stream: str, new: ParkedKey) -> PutRow:
    """A record of the key is about to be buried. Refused where the key is parked already: follow then."""
    row: dict[str, Value] = {
        "last": new.last.encode(),
        "sure": new.sure.encode(),
        "shard": new.shard,
        "since": round(new.since_s, 3),
        "count": new.count,
        **_replay(new),
    }
    return PutRow(key_of(stream, new.partition_key), row, (Absent("pk"),))


def follow(stream: str, seen: ParkedKey, new: ParkedKey) -> UpdateRow:
    """Later records of the key, up to `new.last`, are about to be buried.

    Refused without a row where the key is parked no more; with a row that tells of `new.last`, an earlier try applied.
    """
    told: dict[str, Value] = {"last": new.last.encode(), "count": new.count}
    if (new.shard, new.replay) != (seen.shard, seen.replay):
        told |= {"shard": new.shard, "sure": new.sure.encode(), **_replay(new)}
    gone = () if new.replay else ("replay",)
    return UpdateRow(key_of(stream, new.partition_key), _as_seen(seen), told, remove=gone)


def confirm(stream: str, record: Record, replay: int) -> UpdateRow:
    """Everything of the key up to this record is written, stored or redriven. A later one may be on its way."""
    sure = Checkpoint.of(record).encode()
    conditions = (Equals("shard", record.shard_id), _read_in(replay), AtMost("sure", sure))
    return UpdateRow(key_of(stream, record.partition_key), conditions, {"sure": sure})


# --- a redrive's ------------------------------------------------------------------------------------------------------


def release(stream: str, seen: ParkedKey) -> DeleteRow:
    """Nothing is left of the key's letters, up to `last`; refused where another one followed."""
    return DeleteRow(key_of(stream, seen.partition_key), _as_seen(seen))


def is_settled(seen: ParkedKey, lease: Row | None) -> bool:
    """Whether the lease of its shard shows `last` done with: passed by the checkpoint, or the shard finished long ago."""
    reached = SHARD_END if lease is None else Checkpoint.decode(str(lease["ck"]))
    return reached >= seen.last


def is_outdated(seen: ParkedKey, lease: Row | None) -> bool:
    """Whether the lease of its shard shows that it is read again since: its letters may be stored once more."""
    return lease is not None and replay_of(lease) != seen.replay


def _replay(key: ParkedKey) -> dict[str, Value]:
    return {"replay": key.replay} if key.replay else {}


def _as_seen(seen: ParkedKey) -> tuple[Condition, ...]:
    return Equals("last", seen.last.encode()), _read_in(seen.replay)


def _read_in(replay: int) -> Condition:
    return Equals("replay", replay) if replay else Absent("replay")
