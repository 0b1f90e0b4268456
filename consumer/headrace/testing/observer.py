"""An Observer that remembers what it was told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.loss import Loss
from headrace.model import ShardId
from headrace.ports import ShardStatus


class RecordingObserver:
    """Keeps every call in `calls`, in order, as `(name, *arguments)`; shows nothing to anybody."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.running: dict[ShardId, Callable[[], ShardStatus]] = {}
        """Asks every shard that is running what it is doing."""

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of that name."""
        return [call[1:] for call in self.calls if call[0] == name]

    def shard_opened(self, shard: ShardId, status: Callable[[], ShardStatus]) -> None:
        """Remember it."""
        self.running[shard] = status
        self.calls.append(("shard_opened", shard))

    def shard_closed(self, shard: ShardId) -> None:
        """Remember it."""
        self.running.pop(shard, None)
        self.calls.append(("shard_closed", shard))

    def page_fetched(self, shard: ShardId, records: int, size: int) -> None:
        """Remember it."""
        self.calls.append(("page_fetched", shard, records, size))

    def fetch_failed(self, shard: ShardId, reason: str) -> None:
        """Remember it."""
        self.calls.append(("fetch_failed", shard, reason))

    def batch_handled(self, records: int, seconds: float) -> None:
        """Remember it."""
        self.calls.append(("batch_handled", records, seconds))

    def records_settled(self, shard: ShardId, records: int, oldest_arrival_s: float) -> None:
        """Remember it."""
        self.calls.append(("records_settled", shard, records, oldest_arrival_s))

    def records_filtered(self, shard: ShardId, records: int, not_json: int) -> None:
        """Remember it."""
        self.calls.append(("records_filtered", shard, records, not_json))

    def records_foreign(self, shard: ShardId, records: int) -> None:
        """Remember it."""
        self.calls.append(("records_foreign", shard, records))

    def record_retried(self, shard: ShardId) -> None:
        """Remember it."""
        self.calls.append(("record_retried", shard))

    def records_buried(self, shard: ShardId, records: int, reason: str) -> None:
        """Remember it."""
        self.calls.append(("records_buried", shard, records, reason))

    def checkpoint_written(self, shard: ShardId) -> None:
        """Remember it."""
        self.calls.append(("checkpoint_written", shard))

    def destination_failed(self, shard: ShardId) -> None:
        """Remember it."""
        self.calls.append(("destination_failed", shard))

    def lease_changed(self, shard: ShardId, transition: str) -> None:
        """Remember it."""
        self.calls.append(("lease_changed", shard, transition))

    def shard_stalled(self, shard: ShardId) -> None:
        """Remember it."""
        self.calls.append(("shard_stalled", shard))

    def loss_found(self, loss: Loss) -> None:
        """Remember it."""
        self.calls.append(("loss_found", loss))

    def heartbeat_sent(self, seconds: float) -> None:
        """Remember it."""
        self.calls.append(("heartbeat_sent", seconds))

    def loop_delayed(self, seconds: float) -> None:
        """Remember it, where it was late at all: it is felt several times a second."""
        if seconds > 0:
            self.calls.append(("loop_delayed", seconds))

    def worker_fenced(self) -> None:
        """Remember it."""
        self.calls.append(("worker_fenced",))

    def peer_fenced(self) -> None:
        """Remember it."""
        self.calls.append(("peer_fenced",))
