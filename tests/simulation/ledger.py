"""Every record and what became of it: nothing is skipped, and every key keeps its order."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from headrace.model import Checkpoint, ShardId


class Violation(AssertionError):
    """An invariant was broken; the text begins with its name."""

    @property
    def invariant(self) -> str:
        """S1 to S6, L, order, or what else the text begins with."""
        return str(self).partition(":")[0]


@dataclass
class Ledger:
    """What was produced, settled (written or buried) and passed by checkpoints."""

    order: dict[ShardId, list[int]] = field(default_factory=lambda: defaultdict(list))
    number: dict[int, int] = field(default_factory=dict)
    """Number within its key, by sequence number; poison has none, for it takes no effect in the order of its key."""
    key: dict[int, str] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    passed: dict[ShardId, int] = field(default_factory=lambda: defaultdict(int))
    """How many of a shard's records the checkpoint has passed."""
    first_written: dict[str, int] = field(default_factory=dict)
    """Highest number of each key that was written or buried."""

    def settle(self, sequence_number: int) -> None:
        """Written or buried, maybe not for the first time."""
        if sequence_number in self.settled:
            return
        self.settled.add(sequence_number)
        if sequence_number not in self.number:
            return
        key, number = self.key[sequence_number], self.number[sequence_number]
        expected = self.first_written.get(key, -1) + 1
        if number != expected:
            raise Violation(f"order: record {number} of key {key} took effect before {expected}")
        self.first_written[key] = number

    def check_passed(self, shard: ShardId, checkpoint: Checkpoint) -> None:
        """S6: whatever a checkpoint passes is settled."""
        order = self.order[shard]
        position = self.passed[shard]
        while position < len(order) and (checkpoint.rank > 0 or order[position] <= checkpoint.sequence_number):
            if order[position] not in self.settled:
                raise Violation(f"S6: the checkpoint of {shard} passed a record that is neither written nor buried")
            position += 1
        self.passed[shard] = position
