"""What an operator's act will do, as a sentence: the same before a question in a terminal and on the page. Pure."""

from __future__ import annotations

from headrace.model import Lease, ShardId, WorkerRow


def pausing(target: ShardId | None) -> str:
    """A shard, or all of them where none is named."""
    return f"Nobody will read {target or 'any shard'}, and lag grows, until it is resumed."


def resuming(target: ShardId | None) -> str:
    """Likewise."""
    return f"{target or 'Every shard'} is read again, from its checkpoint on."


def draining(worker: WorkerRow) -> str:
    """It gives its leases to others."""
    return f"{worker.worker_id} gives up {worker.held} leases and takes none until it restarts, or this is taken back."


def undraining(worker: WorkerRow) -> str:
    """That is taken back."""
    return f"{worker.worker_id} takes leases again."


def moving(lease: Lease, heir: WorkerRow) -> str:
    """From its owner of the moment."""
    return f"{lease.shard_id} moves from {lease.owner or 'nobody'} to {heir.worker_id}."


def skipping(record: str, shard: ShardId) -> str:
    """A record, or the whole aggregate of that number."""
    return f"Record {record} of {shard} is buried as SkippedByOperator, and never handled."
