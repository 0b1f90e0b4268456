"""Rows of the lease table as values, and what a refused write's row tells.

The attributes, with the names they have in the table, are known here and in `leases` alone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from headrace.core.lineage import NewLease
from headrace.model import (
    TRIM_HORIZON,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Lease,
    ShardId,
    ShardStart,
    TrimHorizon,
    WorkerId,
    WorkerRow,
)
from headrace.rows import Row, Value

REQUEST: Final = "req:"
"""Prefix of the attributes of a worker row in which others leave their requests: one attribute per shard."""


def lease_of(row: Row) -> Lease:
    """A lease row as a value."""
    return Lease(
        shard_id=ShardId(str(row["sk"])),
        epoch=int(_number(row, "ep")),
        checkpoint=Checkpoint.decode(str(row["ck"])),
        owner=_worker(row, "own"),
        pending=_shards(row, "pend"),
        parents=tuple(sorted(_shards(row, "parents"))),
        children=_shards(row, "kids"),
        done=bool(row.get("done", False)),
        done_at_s=_number(row, "doneAt"),
        start=AtSequence(int(str(row["from"]))) if "from" in row else _start(row),
        first_hash_key=int(str(row.get("hk0", "0"))),
        last_hash_key=int(str(row.get("hk1", str(2**128 - 1)))),
        throughput=_number(row, "tput"),
        up_to_s=_number(row, "upTo"),
        wanted_by=_worker(row, "want"),
        shunned_by=_worker(row, "shun"),
        generation=int(_number(row, "gen")),
        paused_by=_text(row, "paused"),
        skips=_members(row, "skip"),
        may_have_letters=_positions(row, "dead"),
        replay=replay_of(row),
        first_read=Checkpoint.decode(str(row["first"])) if "first" in row else None,
    )


def replay_of(row: Row) -> int:
    """The first epoch that may be held since an operator put the shard somewhere else; 0 where nobody did."""
    return int(_number(row, "replay"))


def worker_of(row: Row) -> WorkerRow:
    """A worker row as a value."""
    return WorkerRow(
        worker_id=WorkerId(str(row["sk"])),
        heartbeat=int(_number(row, "hb")),
        state=str(row["st"]),
        name=str(row.get("name", "")),
        held=int(_number(row, "held")),
        generation=int(_number(row, "gen")),
        address=str(row.get("addr", "")),
        deployment=str(row.get("ver", "")),
        began_s=_number(row, "began"),
        maximum=int(_number(row, "max")) or None,
        stalled=int(_number(row, "stalled")),
        drained_by=_text(row, "drained"),
        word=str(row.get("word", "")),
    )


def asked_for(row: Row) -> frozenset[ShardId]:
    """The shards that others ask the worker of this row to hand over."""
    return frozenset(ShardId(name.removeprefix(REQUEST)) for name in row if name.startswith(REQUEST))


def fresh_worker(worker: WorkerRow) -> dict[str, Value]:
    """The attributes of a worker at its start; what there is none of is left out."""
    row: dict[str, Value] = {"hb": worker.heartbeat, "st": worker.state, "held": 0, "gen": 0}
    told: dict[str, Value] = {
        "name": worker.name,
        "addr": worker.address,
        "ver": worker.deployment,
        "began": round(worker.began_s, 3),
    }
    row |= {name: value for name, value in told.items() if value}
    if worker.maximum is not None:
        row["max"] = worker.maximum
    return row


def is_bootstrapped(row: Row) -> bool:
    """Whether the first rows are all there, so that whatever has none is a later child."""
    return bool(row.get("ready", False))


def remembered_label(row: Row) -> str:
    """The name under which the lease rows stand."""
    return str(row.get("label", row["sk"]))


def remembered_created(row: Row) -> datetime:
    """The creation time of the stream that the application's leases were made for."""
    return datetime.fromisoformat(str(row["created"]))


def remembered_start(row: Row) -> TrimHorizon | AtTimestamp:
    """Where the application started, LATEST resolved."""
    return _start(row)


def paused_by(row: Row) -> str | None:
    """The operator who paused the whole application, from the stream's meta row."""
    return _text(row, "paused")


def is_owned(row: Row | None, me: WorkerId, epoch: int) -> bool:
    """Whether a lease row names this owner and epoch."""
    return row is not None and row.get("own") == me and row["ep"] == epoch


def is_finished(row: Row | None, epoch: int) -> bool:
    """Whether a lease row shows its shard finished under this epoch."""
    return row is not None and bool(row.get("done")) and row["ep"] == epoch


def shows_heartbeat(row: Row | None, counter: int, states: tuple[str, ...]) -> bool:
    """Whether a worker row has this counter, in one of these states."""
    return row is not None and row["hb"] == counter and row["st"] in states


def fresh_row(new: NewLease, wall_s: float) -> dict[str, Value]:
    """The attributes of a lease that nobody owned yet; nothing that arrives from now on may be missed."""
    row: dict[str, Value] = {
        "ep": 0,
        "ck": TRIM_HORIZON.encode(),
        "upTo": round(wall_s, 3),
        "hk0": str(new.shard.first_hash_key),
        "hk1": str(new.shard.last_hash_key),
        **start_attributes(new.start),
    }
    if new.shard.parents:
        row["parents"] = frozenset(new.shard.parents)
    if new.generation:
        row["gen"] = new.generation
    if new.pending:
        row["pend"] = frozenset(new.pending)
    return row


def start_attributes(start: ShardStart) -> dict[str, Value]:
    """Where to begin, as an attribute: an instant in epoch milliseconds or a record, nothing for the trim horizon."""
    match start:
        case TrimHorizon():
            return {}
        case AtTimestamp(instant):
            return {"at": int(instant.timestamp() * 1000)}
        case AtSequence(number):
            return {"from": str(number)}


def _start(row: Row) -> TrimHorizon | AtTimestamp:
    if "at" not in row:
        return TrimHorizon()
    return AtTimestamp(datetime.fromtimestamp(_number(row, "at") / 1000, UTC))


def _number(row: Row, attribute: str) -> float:
    value = row.get(attribute, 0)
    if not isinstance(value, int | float):
        raise TypeError(f"attribute {attribute} of {row.get('pk')}/{row.get('sk')} is not a number")
    return value


def _worker(row: Row, attribute: str) -> WorkerId | None:
    value = row.get(attribute)
    return None if value is None else WorkerId(str(value))


def _shards(row: Row, attribute: str) -> frozenset[ShardId]:
    return frozenset(ShardId(member) for member in _members(row, attribute))


def _members(row: Row, attribute: str) -> frozenset[str]:
    value = row.get(attribute, frozenset())
    if not isinstance(value, frozenset):
        raise TypeError(f"attribute {attribute} of {row.get('pk')}/{row.get('sk')} is not a set")
    return value


def _text(row: Row, attribute: str) -> str | None:
    value = row.get(attribute)
    return None if value is None else str(value)


def _positions(row: Row, attribute: str) -> frozenset[Checkpoint]:
    value = row.get(attribute, frozenset())
    if not isinstance(value, frozenset):
        raise TypeError(f"attribute {attribute} of {row.get('pk')}/{row.get('sk')} is not a set")
    return frozenset(Checkpoint.decode(str(member)) for member in value)
