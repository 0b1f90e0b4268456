"""What an operator changes in the lease table, as values: every operation with its exact condition.

An operator owns no lease, and yet nothing here loosens what makes leases safe (`leases`):

- where a lease has an owner, its row goes on naming it. It gets the next epoch, under which nobody holds it: every write
  of the old epoch is refused from then on, the owner drops the shard as soon as it sees the row, and takes it up again
  under one more epoch. A dead owner is fenced first, as ever;
- a position moves back only together with the epoch, so within an epoch a checkpoint still never does;
- every condition names what the operator saw: whoever changed the row meanwhile wins, and the operator looks again.

Workers see a row that changed because word is left beside it (`leave_word`): all of them poll all worker rows.
"""

from __future__ import annotations

from headrace.core.lease_rows import start_attributes
from headrace.core.leases import lease_key, meta_key
from headrace.core.membership import ALIVE, LIVE, worker_key
from headrace.core.skips import still_ahead
from headrace.core.windows import window_key
from headrace.model import TRIM_HORIZON, Checkpoint, Lease, ShardId, ShardStart, WorkerId
from headrace.rows import Absent, Condition, DeleteRow, Equals, OneOf, Present, Request, UpdateRow, Value


def seek(
    stream: str, lease: Lease, to: ShardStart, up_to_s: float, pending: frozenset[ShardId] = frozenset()
) -> tuple[Request, ...]:
    """Put a shard somewhere else, with what is kept beside its checkpoint gone; a finished one is open again.

    `up_to_s` is the time of day (epoch seconds) up to which nothing that arrived will be missed. The place is kept as
    where to begin, with a checkpoint that claims nothing: of what was settled before, nobody says so any more, and what
    stands elsewhere and is older than `replay` tells of another reading. With `pending` it waits for these shards first
    (`reopening`): they have to be opened in the same transaction.
    """
    place: dict[str, Value] = {
        "ck": TRIM_HORIZON.encode(),
        "upTo": round(up_to_s, 3),
        "replay": lease.epoch + 1,
        **start_attributes(to),
    }
    if pending:
        place["pend"] = frozenset(pending)
    gone = tuple(
        name for name in ("at", "from", "first", "skip", "dead", "want", "done", "doneAt") if name not in place
    )
    # A parent that ends meanwhile opens the gate once; closed again behind it, nobody would open it any more.
    gate: Condition = Equals("pend", frozenset(lease.pending)) if lease.pending else Absent("pend")
    seen = (*_as_seen(lease), gate)
    row = UpdateRow(lease_key(stream, lease.shard_id), seen, {**place, **_next_epoch(lease)}, remove=gone)
    return row, DeleteRow(window_key(stream, lease.shard_id), ())


def skip(stream: str, lease: Lease, record: Checkpoint) -> UpdateRow:
    """Bury a record without a call: its owner begins anew at the checkpoint and knows it."""
    named = still_ahead(lease.skips, lease.checkpoint) | {record.encode()}
    changed: dict[str, Value] = {"skip": named, **_next_epoch(lease)}
    return UpdateRow(lease_key(stream, lease.shard_id), _as_seen(lease), changed)


def pause(stream: str, lease: Lease, by: str) -> UpdateRow:
    """Let nobody read a shard: its owner finishes what is in flight and gives it up, and nobody takes it."""
    return UpdateRow(lease_key(stream, lease.shard_id), (Present("pk"), Absent("done")), {"paused": by})


def resume(stream: str, lease: Lease) -> UpdateRow:
    """Let it be read again."""
    return UpdateRow(lease_key(stream, lease.shard_id), (Present("paused"), Absent("done")), remove=("paused",))


def pause_all(stream_name: str, by: str) -> UpdateRow:
    """Let nobody read anything: shards that appear later included."""
    return UpdateRow(meta_key(stream_name), (Present("pk"),), {"paused": by})


def resume_all(stream_name: str) -> UpdateRow:
    """Take that back; shards that were paused one by one stay so."""
    return UpdateRow(meta_key(stream_name), (Present("paused"),), remove=("paused",))


def drain(worker: WorkerId, by: str) -> UpdateRow:
    """Make a worker give up what it holds and take nothing more, for as long as this incarnation lives."""
    return UpdateRow(worker_key(worker), (Equals("st", LIVE),), {"drained": by})


def undrain(worker: WorkerId) -> UpdateRow:
    """Let it take leases again."""
    return UpdateRow(worker_key(worker), (Present("drained"),), remove=("drained",))


def assign(stream: str, lease: Lease, heir: WorkerId) -> UpdateRow:
    """Give an unowned lease to a worker, which adopts it under one more epoch.

    One that waits for the lease anyway may hold it under this one: nobody did, and it was free to be read.
    """
    conditions = (Absent("own"), Equals("ep", lease.epoch), Absent("pend"), Absent("done"), Absent("paused"))
    given: dict[str, Value] = {"own": heir, "ep": lease.epoch + 1}
    return UpdateRow(lease_key(stream, lease.shard_id), conditions, given, remove=("want", "shun"))


def leave_word(worker: WorkerId, token: str) -> UpdateRow:
    """Make every worker read the lease rows and the meta row, consistently, with its next poll of the worker rows."""
    return UpdateRow(worker_key(worker), (OneOf("st", ALIVE),), {"word": token})


def _as_seen(lease: Lease) -> tuple[Condition, ...]:
    owner: Condition = Absent("own") if lease.owner is None else Equals("own", lease.owner)
    unmoved = (Equals("ck", lease.checkpoint.encode()),) if lease.owner is None else ()
    finished: Condition = Equals("done", value=True) if lease.done else Absent("done")
    return (owner, Equals("ep", lease.epoch), finished, *unmoved)


def _next_epoch(lease: Lease) -> dict[str, Value]:
    """Nobody holds an unowned lease: whoever claims it begins with what is in the row."""
    return {} if lease.owner is None else {"ep": lease.epoch + 1}
