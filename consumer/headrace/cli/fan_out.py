"""Enhanced fan-out as a part of a worker: the consumer is found or registered, and the shards are polled until it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from headrace.aws.fan_out import Subscriptions, registered_consumer
from headrace.aws.kinesis import KinesisStream
from headrace.aws.session import Clients, open_client
from headrace.cli.parts import CHANCE
from headrace.errors import AwsError, Denied, SettingsError, SubscriptionTaken
from headrace.flow.persist import persist
from headrace.ports import FanOut
from headrace.settings import Settings
from headrace.tasks import TaskGroup

log = structlog.get_logger(__name__)

MOST_SUBSCRIPTIONS: Final = 10_000
"""Connections that may be open: one for each shard of the worker."""


@asynccontextmanager
async def open_fan_out(
    clients: Clients, settings: Settings, stream: KinesisStream, stream_arn: str
) -> AsyncIterator[FanOut | None]:
    """The subscriptions of the application's stream consumer; None with polling.

    Raises SettingsError without the rights to look for it or to register it. Whatever else is in the way (an outage, no
    room for one more consumer) is tried again and again while the shards are polled.
    """
    if settings.stream.consumer == "polling":
        yield None
        return
    async with open_client(clients, "kinesis", connections=MOST_SUBSCRIPTIONS) as client, TaskGroup() as tasks:
        subscriptions = Subscriptions(client, stream)
        name = settings.stream.consumer_name or settings.application

        async def register() -> None:
            subscriptions.consumer = await registered_consumer(client, stream_arn, name)
            log.info("fan_out_began", consumer=subscriptions.consumer)

        try:
            await register()
        except Denied as error:
            raise _without_rights(error) from error
        except AwsError as error:
            tell = log.info if isinstance(error, SubscriptionTaken) else log.warning
            tell("fan_out_awaited", consumer=name, error=str(error), meanwhile="polling")
        trying = None
        if not subscriptions.is_open:
            again = persist("register_stream_consumer", register, CHANCE, mendable=(AwsError,))
            trying = tasks.create_task(again, name="register-stream-consumer")
        yield subscriptions
        if trying is not None:
            trying.cancel()


def _without_rights(error: Denied) -> SettingsError:
    mend = (
        "Allow kinesis:DescribeStreamConsumer and kinesis:RegisterStreamConsumer on the stream and the consumer, "
        "and kinesis:SubscribeToShard on the consumer"
    )
    return SettingsError("HEADRACE_STREAM_CONSUMER", "fan-out", str(error), mend)
