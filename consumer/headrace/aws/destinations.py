"""From the text of a destination to what buries dead letters there, and reads them again where that can be done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

import structlog

from headrace.aws.dead_letters import DeadLetterTable
from headrace.aws.letter_bucket import LetterBucket
from headrace.aws.letter_messages import Packer, Spill
from headrace.aws.letter_queue import LetterQueue
from headrace.aws.letter_topic import LetterTopic
from headrace.aws.session import Clients, open_client
from headrace.core.destination import Destination, Kind, parse
from headrace.errors import Denied, NotFound, Rejected, Retryable, SettingsError
from headrace.ports import DeadLetters, DeadLetterStore

log = structlog.get_logger(__name__)

SETTING: Final = "HEADRACE_DEAD_LETTERS_DESTINATION"
SPILL_SETTING: Final = "HEADRACE_DEAD_LETTERS_SPILL"

Checked: TypeAlias = LetterQueue | LetterTopic | LetterBucket
"""Nobody makes these where they are missing; a table is looked at by whoever makes it."""

_PERMISSION: Final = {
    Kind.DYNAMODB: "dynamodb:DescribeTable",
    Kind.SQS: "sqs:GetQueueAttributes and sqs:SendMessage",
    Kind.SNS: "sns:GetTopicAttributes and sns:Publish",
    Kind.S3: "s3:ListBucket and s3:PutObject",
}


@asynccontextmanager
async def open_destination(
    clients: Clients, destination: str, spill: str | None, application: str
) -> AsyncIterator[DeadLetters]:
    """What buries. Raises SettingsError where the queue, topic or bucket is not there, or may not be used.

    One that cannot be reached just now is no reason not to start: whoever has to bury waits for it.
    """
    async with AsyncExitStack() as stack:
        yield await _Opening(stack, clients, application, waits=True).open(destination, spill)


@asynccontextmanager
async def open_store(
    clients: Clients, destination: str, spill: str | None, application: str
) -> AsyncIterator[DeadLetterStore]:
    """What buries and reads. Raises SettingsError, also for a topic, which keeps nothing; Throttled, Unavailable."""
    if parse(destination).kind is Kind.SNS:
        mend = "Subscribe a queue to it and name that as sqs:URL, or let dead letters go to a table or a bucket"
        raise SettingsError(SETTING, destination, "is a topic, which keeps nothing to be read", mend)
    async with AsyncExitStack() as stack:
        opened = await _Opening(stack, clients, application, waits=False).open(destination, spill)
        assert not isinstance(opened, LetterTopic)  # noqa: S101 - refused above
        yield opened


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is opened ends with `stack`; `waits` tells one who can wait for a destination from one who cannot."""

    stack: AsyncExitStack
    clients: Clients
    application: str
    waits: bool

    async def open(self, text: str, spill: str | None) -> DeadLetterTable | Checked:
        destination = parse(text)
        if destination.kind is Kind.DYNAMODB:
            return DeadLetterTable(self.clients.leases, destination.target)
        client = await self.stack.enter_async_context(
            open_client(self.clients, destination.kind.value, destination.region)
        )
        opened: Checked
        match destination.kind:
            case Kind.S3:
                opened = LetterBucket(client, destination.target, destination.prefix, self.application)
            case Kind.SQS:
                opened = LetterQueue(client, destination.target, await self._packer(spill))
            case Kind.SNS:
                opened = LetterTopic(client, destination.target, await self._packer(spill))
            case _:
                assert_never(destination.kind)
        await self._check(opened, destination, SETTING, text)
        return opened

    async def _packer(self, spill: str | None) -> Packer:
        if spill is None:
            return Packer(self.application, None)
        where = parse(spill)
        client = await self.stack.enter_async_context(open_client(self.clients, Kind.S3.value))
        bucket = LetterBucket(client, where.target, where.prefix, self.application)
        await self._check(bucket, where, SPILL_SETTING, spill)
        return Packer(self.application, Spill(client, where.target, where.prefix))

    async def _check(self, opened: Checked, destination: Destination, setting: str, text: str) -> None:
        try:
            await opened.check()
        except NotFound as error:
            mend = "Create it, or check the name, AWS_REGION and the account of the credentials"
            raise SettingsError(setting, text, "is not there", mend) from error
        except Denied as error:
            raise SettingsError(setting, text, str(error), f"Allow {_PERMISSION[destination.kind]} on it") from error
        except Rejected as error:
            raise SettingsError(setting, text, str(error), "Mend that, or name another one") from error
        except Retryable as error:
            if not self.waits:
                raise
            log.warning("destination_not_checked", setting=setting, error=str(error))
