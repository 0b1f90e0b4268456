"""What may be lost, in words that logs and metrics share, and what to do about it."""

from __future__ import annotations

from enum import StrEnum


class Loss(StrEnum):
    """Why records, or their order, may be lost."""

    RECORDS_TRIMMED = "records_trimmed"
    """The retention period passed the checkpoint before the records behind it were read."""

    SHARD_TRIMMED = "shard_trimmed"
    """The stream lists a shard no longer that was not read to its end."""

    STREAM_DELETED = "stream_deleted"
    """There is no stream of this name any more."""

    STREAM_REPLACED = "stream_replaced"
    """A stream of this name was created anew; what was unread of the old one is gone."""

    ORDER = "order"
    """The stream spreads records without regard to their partition keys (RecordDistributionStrategy AUTO)."""


class LossPolicy(StrEnum):
    """What a worker does about it."""

    HALT = "halt"
    """Do not go on before a person has decided."""

    CONTINUE = "continue"
    """Say so and go on with what is left."""
