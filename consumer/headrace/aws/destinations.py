"""From the text of a destination to what buries dead letters there, and reads them again where that can be done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias, assert_never

from headrace.aws.dead_letters import DeadLetterTable
from headrace.aws.letter_bucket import LetterBucket
from headrace.aws.letter_messages import Packer, Spill
from headrace.aws.letter_queue import LetterQueue
from headrace.aws.letter_topic import LetterTopic
from headrace.aws.session import Clients, open_client
from headrace.core.destination import Destination, Kind, parse
from headrace.errors import Denied, NotFound, SettingsError
from headrace.ports import DeadLetters, DeadLetterStore

SETTING = "HEADRACE_DEAD_LETTERS_DESTINATION"
SPILL_SETTING = "HEADRACE_DEAD_LETTERS_SPILL"

Opened: TypeAlias = DeadLetterTable | LetterQueue | LetterTopic | LetterBucket

_PERMISSION = {
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

    A table is not looked at: whoever makes it where it is missing has done that.
    """
    async with AsyncExitStack() as stack:
        opened = await _open(stack, clients, destination, spill, application)
        if not isinstance(opened, DeadLetterTable):
            await _checked(opened.check, parse(destination), SETTING, destination)
        yield opened


@asynccontextmanager
async def open_store(
    clients: Clients, destination: str, spill: str | None, application: str
) -> AsyncIterator[DeadLetterStore]:
    """What buries and reads. Raises SettingsError, also for a topic, which keeps nothing."""
    async with AsyncExitStack() as stack:
        opened = await _open(stack, clients, destination, spill, application)
        if isinstance(opened, LetterTopic):
            mend = "Subscribe a queue to it, and name that as sqs:URL, or an S3 bucket"
            raise SettingsError(SETTING, destination, "is a topic, which keeps nothing to be read", mend)
        if not isinstance(opened, DeadLetterTable):
            await _checked(opened.check, parse(destination), SETTING, destination)
        yield opened


async def _open(stack: AsyncExitStack, clients: Clients, text: str, spill: str | None, application: str) -> Opened:
    destination = parse(text)
    if destination.kind is Kind.DYNAMODB:
        return DeadLetterTable(clients.leases, destination.target)
    client = await stack.enter_async_context(open_client(clients, destination.kind.value))
    match destination.kind:
        case Kind.S3:
            return LetterBucket(client, destination.target, destination.prefix, application)
        case Kind.SQS:
            return LetterQueue(client, destination.target, await _packer(stack, clients, spill, application))
        case Kind.SNS:
            return LetterTopic(client, destination.target, await _packer(stack, clients, spill, application))
        case _:
            assert_never(destination.kind)


async def _packer(stack: AsyncExitStack, clients: Clients, spill: str | None, application: str) -> Packer:
    if spill is None:
        return Packer(application, None)
    where = parse(spill)
    client = await stack.enter_async_context(open_client(clients, Kind.S3.value))
    bucket = LetterBucket(client, where.target, where.prefix, application)
    await _checked(bucket.check, where, SPILL_SETTING, spill)
    return Packer(application, Spill(client, where.target, where.prefix))


async def _checked(check: Callable[[], Any], destination: Destination, setting: str, text: str) -> None:
    try:
        await check()
    except NotFound as error:
        mend = "Create it, or check the name, AWS_REGION and the account of the credentials"
        raise SettingsError(setting, text, "is not there", mend) from error
    except Denied as error:
        raise SettingsError(setting, text, str(error), f"Allow {_PERMISSION[destination.kind]} on it") from error
