"""What every implementation of `ports.DeadLetters` does, in memory and on a table."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unittest import mock

import pytest
import pytest_asyncio
from conftest import Opener

from headrace.aws import letter_queue
from headrace.aws.dead_letters import PART_BYTES, TEXT_BYTES, DeadLetterTable
from headrace.aws.destinations import open_store
from headrace.aws.session import Clients, open_client
from headrace.aws.tables import ensure_table
from headrace.errors import NotFound, Throttled
from headrace.model import DeadLetter, FailedAttempt, Record, ShardId, WorkerId
from headrace.ports import DeadLetterStore
from headrace.testing.dead_letters import MemoryDeadLetters

pytestmark = pytest.mark.asyncio(loop_scope="module")

BURIED_AT = datetime(2026, 5, 4, 3, 2, 1, 987_000, tzinfo=UTC)
NUMBER = 49590338271490256608559692538361571095921575989136588898
MEMORY = pytest.param("memory")
MINISTACK = pytest.param("dynamodb", marks=pytest.mark.servers)
SQS = pytest.param("sqs", marks=pytest.mark.servers)
S3 = pytest.param("s3", marks=pytest.mark.servers)

_names = (f"dead-letters-{number}" for number in itertools.count())


@dataclass
class Server:
    """Where destinations are opened; memory has no clients."""

    service: str
    clients: Clients | None = None
    sqs: Any = None
    s3: Any = None


@pytest_asyncio.fixture(params=[MEMORY, MINISTACK, SQS, S3], scope="module", loop_scope="module")
async def server(request: pytest.FixtureRequest, aws: Opener) -> AsyncIterator[Server]:
    """The clients serve all tests of a kind."""
    if request.param == "memory":
        yield Server("memory")
        return
    ministack = request.getfixturevalue("ministack")
    # one server answers at once whether its queue is empty; a real queue asks all of its servers for a second
    with mock.patch.dict(os.environ, ministack.environment()), mock.patch.object(letter_queue, "WAIT_S", 0):
        async with aws(ministack) as clients, open_client(clients, "sqs") as sqs, open_client(clients, "s3") as s3:
            yield Server(request.param, clients, sqs, s3)


@pytest_asyncio.fixture(loop_scope="module")
async def destination(server: Server) -> AsyncIterator[DeadLetterStore]:
    """An empty one."""
    if server.clients is None:
        yield MemoryDeadLetters()
        return
    name = next(_names)
    match server.service:
        case "dynamodb":
            await ensure_table(server.clients.dynamodb, name, setting="X", create=True)
            text = f"dynamodb:{name}"
        case "sqs":
            await server.s3.create_bucket(Bucket=name)
            text = f"sqs:{(await server.sqs.create_queue(QueueName=name))['QueueUrl']}"
        case _:
            await server.s3.create_bucket(Bucket=name)
            text = f"s3://{name}/letters"
    spill = f"s3://{name}/spill" if server.service == "sqs" else None
    async with open_store(server.clients, text, spill, "application") as store:
        yield store


def letter(
    number: int = NUMBER,
    data: bytes = b'{"temperature": "warm"}',
    shard: str = "shardId-000000000003",
    stream: str = "orders",
    message: str = "ValueError: not a number",
    sub: int = 0,
) -> DeadLetter:
    record = Record(data, "kühl-7", number, 1_795_562_074.045, shard, sub)
    return DeadLetter(
        stream=stream,
        record=record,
        reason="RetryAttemptsExhausted",
        error="ValueError",
        message=message,
        attempts=6,
        buried_at=BURIED_AT,
        worker=WorkerId("worker-a"),
        epoch=12,
        stream_arn=f"arn:aws:kinesis:eu-central-1:123456789012:stream/{stream}",
        handler="app:handle",
        traceback="Traceback (most recent call last):\n  ValueError: kühl",
        request_id="c9b8fa9f-0d71-4c6a-8c0f-3f6b2f6a7a11",
        is_function_error=False,
        log=(FailedAttempt(BURIED_AT, 100, "ValueError"), FailedAttempt(BURIED_AT, 1, "KeyError")),
        generation=3,
        replay=17,
    )


async def everything(
    destination: DeadLetterStore, stream: str | None = None, shard: str | None = None
) -> list[DeadLetter]:
    letters = destination.read(stream, None if shard is None else ShardId(shard))
    return sorted([each async for each in letters], key=lambda each: (each.stream, each.record.sequence_number))


async def test_a_letter_comes_back_with_everything_that_was_known(destination):
    """Exact number, exact payload, times to the millisecond, text in any script."""
    await destination.bury([letter()])
    assert await everything(destination) == [letter()]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 900 * 1024])
async def test_a_payload_of_any_size_comes_back_whole(destination, size):
    """Kinesis takes records larger than a DynamoDB item."""
    data = bytes(position * 7 % 251 for position in range(size))
    await destination.bury([letter(data=data), letter(NUMBER + 1, b"small")])
    assert [each.record.data for each in await everything(destination)] == [data, b"small"]


async def test_the_same_letter_again_changes_nothing(destination):
    """A burial whose answer was lost is simply repeated."""
    letters = [letter(data=bytes(900 * 1024)), letter(NUMBER + 1)]
    await destination.bury(letters)
    await destination.bury(letters)
    assert await everything(destination) == letters


@pytest.mark.parametrize("server", [MEMORY, MINISTACK, S3], indirect=True)
async def test_a_record_buried_again_by_the_next_owner_keeps_one_letter(destination):
    """At least once delivery must not fill the table with copies; the last one stands."""
    first, second = letter(), letter(message="another failure")
    await destination.bury([first, second])
    assert await everything(destination) == [second]
    await destination.bury([first])
    assert await everything(destination) == [first]


async def test_more_letters_than_one_request_takes_are_all_kept(destination):
    """Also more than one answer of a read holds."""
    letters = [letter(NUMBER + turn, bytes(40_000)) for turn in range(60)]
    await destination.bury(letters)
    assert await everything(destination) == letters


async def test_no_letters_are_no_work(destination):
    """An empty request would be refused."""
    await destination.bury([])
    assert await everything(destination) == []


async def test_letters_are_found_by_stream_and_by_shard(destination):
    """One table serves several streams."""
    mine = letter()
    other_shard = letter(NUMBER + 1, shard="shardId-000000000004")
    other_stream = letter(NUMBER + 2, stream="clicks")
    await destination.bury([mine, other_shard, other_stream])
    assert await everything(destination, stream="orders") == [mine, other_shard]
    assert await everything(destination, "orders", "shardId-000000000004") == [other_shard]
    assert await everything(destination, shard="shardId-000000000003") == [other_stream, mine]
    assert await everything(destination, stream="nothing") == []


@pytest.mark.parametrize("server", [MEMORY, MINISTACK], indirect=True)
async def test_letters_of_a_shard_are_read_in_the_order_of_its_records(destination):
    """Whatever the order of burial, the length of the number, or the place inside an aggregate."""
    letters = [letter(9), letter(10, bytes(PART_BYTES + 1)), letter(10, sub=1), letter(10, sub=2), letter(NUMBER)]
    await destination.bury(letters[::-1])
    read = [each async for each in destination.read("orders", ShardId("shardId-000000000003"))]
    assert read == letters


@pytest.mark.parametrize("server", [MINISTACK], indirect=True)
async def test_the_time_of_burial_is_kept_in_utc(destination):
    """Whatever zone the worker thinks in."""
    elsewhere = BURIED_AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await destination.bury([replace(letter(), buried_at=elsewhere)])
    (read,) = await everything(destination)
    assert (read.buried_at, read.buried_at.utcoffset()) == (BURIED_AT, timedelta(0))


@pytest.mark.parametrize("server", [MINISTACK], indirect=True)
@pytest.mark.parametrize("character", ["x", "ü", "漢", "\N{PILE OF POO}"])
async def test_a_long_message_is_cut_with_a_mark_and_never_inside_a_character(destination, character):
    """At most 4 KB, counted in bytes."""
    await destination.bury([letter(message=character * 10_000)])
    (read,) = await everything(destination)
    assert TEXT_BYTES - 3 <= len(read.message.encode()) <= TEXT_BYTES
    assert set(read.message.removesuffix(" [cut]")) == {character}
    assert read.message.endswith(" [cut]")


@pytest.mark.parametrize("server", [MINISTACK, SQS, S3], indirect=True)
async def test_what_is_no_valid_text_is_kept_as_far_as_it_is(destination):
    """Error messages and the tracebacks that hold them quote broken data."""
    broken = "bad \ud800 text \ufffe\uffff\x00"
    attempt = FailedAttempt(BURIED_AT, 1, broken)
    await destination.bury([replace(letter(message=broken), error=broken, traceback=broken, log=(attempt,))])
    (read,) = await everything(destination)
    assert {read.message, read.error, read.traceback, read.log[0].error} == {"bad ? text \ufffe\uffff\x00"}


@pytest.mark.parametrize("server", [MINISTACK], indirect=True)
async def test_the_longest_texts_leave_room_for_a_whole_part_of_payload(destination):
    """A row that DynamoDB refuses for its size would hold its shard for ever."""
    long = "漢" * 8192
    attempts = (FailedAttempt(BURIED_AT, 1, long),) * 10
    worst = replace(letter(data=bytes(PART_BYTES), message=long), error=long, traceback=long + "end", handler=long)
    await destination.bury([replace(worst, log=attempts)])
    (read,) = await everything(destination)
    assert read.record.data == bytes(PART_BYTES)
    assert read.traceback.endswith("漢end")


@pytest.mark.servers
async def test_a_row_of_an_earlier_version_is_read_with_what_it_has(aws, ministack):
    """It knew no stream ARN, handler, traceback, request and attempts."""
    newer = ("stream_arn", "handler", "traceback", "request_id", "function_error", "log")
    async with aws(ministack) as clients:
        name = next(_names)
        await ensure_table(clients.dynamodb, name, setting="X", create=True)
        table = DeadLetterTable(clients.dynamodb, name)
        await table.bury([letter()])
        (item,) = (await clients.dynamodb.scan(TableName=name))["Items"]
        old = {key: value for key, value in item.items() if key not in newer}
        await clients.dynamodb.put_item(TableName=name, Item=old)
        (read,) = await everything(table)
    known = {"stream_arn": "", "handler": "", "traceback": "", "request_id": "", "log": (), "is_function_error": True}
    assert read == replace(letter(), **known)


async def test_what_is_removed_is_gone_and_the_rest_stays(destination):
    """Also a payload in parts; and removing it again is no error."""
    letters = [letter(NUMBER + turn, bytes(900 * 1024 if turn == 2 else 10)) for turn in range(5)]
    await destination.bury(letters)
    read = await everything(destination)
    await destination.remove(read[1:3])
    assert await everything(destination) == [letters[0], *letters[3:]]
    await destination.remove(read[1:3])
    await destination.bury(letters[1:2])
    assert await everything(destination) == [*letters[:2], *letters[3:]]


@pytest.mark.parametrize("server", [SQS], indirect=True)
async def test_a_record_of_a_queue_that_is_read_and_buried_again_keeps_one_letter(destination):
    """As everywhere else, once the old one is known."""
    await destination.bury([letter(data=bytes(900 * 1024))])
    (read,) = await everything(destination)
    await destination.bury([replace(read, message="another failure")])
    assert await everything(destination) == [replace(read, message="another failure")]
    await destination.remove([read])
    assert await everything(destination) == []


@pytest.mark.parametrize("server", [SQS], indirect=True)
async def test_a_queue_that_holds_a_letter_twice_gives_it_once_and_loses_both(destination):
    """SQS cannot know that it is the same; whoever delivers it again must not do it twice."""
    await destination.bury([letter(), letter(NUMBER + 1)])
    await destination.bury([letter()])
    read = await everything(destination)
    assert read == [letter(), letter(NUMBER + 1)]
    await destination.remove(read[:1])
    assert await everything(destination) == [letter(NUMBER + 1)]


@pytest.mark.servers
async def test_a_missing_table_is_an_error_of_its_own(aws, ministack):
    """Nothing may look buried that is not."""
    async with aws(ministack) as clients:
        with pytest.raises(NotFound):
            await DeadLetterTable(clients.dynamodb, "nowhere").bury([letter()])


async def test_a_scripted_failure_keeps_nothing_and_the_next_burial_works():
    """For tests of what waits for a destination."""
    destination = MemoryDeadLetters()
    destination.fail_next(Throttled("no"), times=2)
    for _ in range(2):
        with pytest.raises(Throttled):
            await destination.bury([letter()])
    assert destination.letters == []
    await destination.bury([letter()])
    assert destination.letters == [letter()]
