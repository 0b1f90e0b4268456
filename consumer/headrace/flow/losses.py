"""Loud about loss: notices that records, or their order, may be gone, says so, and does what the policy wants.

Nothing here is ever passed over in silence. Under `halt` a shard that may have lost records is held and not read, and a
stream that is another one or has lost its order ends the worker: a person decides. Under `continue` the worker says what
may be gone, counts it, and goes on with what is left.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from headrace.core.reading import Reading
from headrace.errors import AwsError, NotFound, OrderLost, StreamReplaced
from headrace.loss import Loss, LossPolicy
from headrace.model import ShardId, StreamDescription
from headrace.ports import Ports

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 60.0
"""On average; DescribeStreamSummary takes 20 calls a second of an account."""

REMIND_EVERY_S: Final = 60.0
"""How often a shard that is held says so."""


class Losses:
    """What is known of the stream as it is today, and what follows from it; one per worker."""

    def __init__(self, ports: Ports, description: StreamDescription, policy: LossPolicy, *, needs_order: bool) -> None:
        self.description = description
        self._ports = ports
        self._policy = policy
        self._needs_order = needs_order
        self._kept_order = True

    @property
    def continues(self) -> bool:
        """Whether the worker goes on with what is left."""
        return self._policy is LossPolicy.CONTINUE

    # --- the stream ----------------------------------------------------------------------------------------------------

    def accept(self, description: StreamDescription) -> None:
        """Take the stream as it is now. Raises StreamReplaced for another one, OrderLost where order is required."""
        if description.created != self.description.created:
            raise StreamReplaced(
                f"the stream {description.name} created {self.description.created} is gone; the stream of that name "
                f"today was created {description.created}"
            )
        if not description.keeps_key_order and (self._needs_order or not self.continues):
            raise OrderLost(f"the stream {description.name} spreads records whatever their partition keys")
        if self._kept_order and not description.keeps_key_order:
            self._tell(Loss.ORDER)
        self._kept_order = description.keeps_key_order
        self.description = description

    async def run(self) -> None:
        """Look at the stream from time to time, for ever. Raises StreamReplaced, OrderLost."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S * (0.5 + self._ports.chance()))
            await self.look()

    async def look(self) -> None:
        """Ask what the stream is; without an answer nothing is decided. Raises StreamReplaced, OrderLost."""
        try:
            self.accept(await self._ports.stream.describe())
        except NotFound:
            self._tell(Loss.STREAM_DELETED)
        except AwsError as error:
            log.info("stream_not_seen", error=str(error))

    def tell_replaced(self, replaced: StreamReplaced) -> None:
        """The worker goes on with another stream of the same name."""
        self._tell(Loss.STREAM_REPLACED, text=str(replaced))

    # --- one shard -----------------------------------------------------------------------------------------------------

    def is_overtaken(self, reading: Reading) -> bool:
        """Whether records of a shard may have been trimmed before they were read."""
        return reading.is_overtaken(self._wall_s(), self.description.retention_s)

    async def is_trimmed(self, shard: ShardId) -> bool:
        """Whether a shard that was not found is gone for good, and not its stream, or only its iterator.

        Raises StreamReplaced, OrderLost.
        """
        await self.look()
        try:
            return shard not in {listed.shard_id for listed in await self._ports.stream.list_shards()}
        except AwsError as error:
            log.info("stream_not_seen", error=str(error))
            return False

    def report(self, shard: ShardId, loss: Loss, reading: Reading) -> None:
        """Say what may be gone: what arrived from the one moment to the other."""
        horizon_s = self._wall_s() - self.description.retention_s
        self._tell(loss, shard=shard, read_up_to=_iso(reading.up_to_s), kept_from=_iso(horizon_s))

    async def hold(self, shard: ShardId, loss: Loss) -> None:
        """Hold the shard, for ever; its worker goes on with the others."""
        while True:
            mend = "set HEADRACE_STREAM_ON_LOSS=continue to go on with what is left"
            log.error("shard_halted", shard=shard, loss=loss.value, mend=mend)
            await asyncio.sleep(REMIND_EVERY_S)

    def _tell(self, loss: Loss, **facts: object) -> None:
        log.error("loss_found", loss=loss.value, policy=self._policy.value, **facts)
        self._ports.observer.loss_found(loss)

    def _wall_s(self) -> float:
        return self._ports.clock.wall().timestamp()


def _iso(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="seconds") if wall_s > 0 else "unknown"
