"""Lambda and batch handlers in a whole worker: unmodified files, crashes under load, poison in a large batch."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from process.conftest import Stage, until

pytestmark = [pytest.mark.process, pytest.mark.servers]

POWERTOOLS = """
import json
import os

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="orders")
processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])


def record_handler(record: KinesisStreamRecord):
    payload = record.kinesis.data_as_json()
    if payload["n"] % 1000 == 500:
        raise ValueError("cannot be processed")
    table.put_item(Item={"pk": record.kinesis.sequence_number, "n": payload["n"]})


@logger.inject_lambda_context
def lambda_handler(event, context: LambdaContext):
    return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
"""

TUTORIAL = """
from __future__ import print_function

import base64
import json
import os

import boto3

print('Loading function')
dynamodb = boto3.client('dynamodb')


def lambda_handler(event, context):
    for record in event['Records']:
        # Kinesis data is base64 encoded so decode here
        payload = json.loads(base64.b64decode(record['kinesis']['data']))
        dynamodb.put_item(
            TableName=os.environ['TABLE_NAME'],
            Item={'pk': {'S': record['kinesis']['sequenceNumber']}, 'n': {'N': str(payload['n'])}},
        )
    return 'Successfully processed {} records.'.format(len(event['Records']))
"""

BATCHES = '''
"""Writes what it is given, and notes the size of every call."""
import os
from headrace import Put, Record

def handle(batch: list[Record]) -> list[Put]:
    with open(os.environ["CALLS"], "a") as calls:
        print(len(batch), file=calls)
    numbers = [record.json()["n"] for record in batch]
    if 6789 in numbers:
        raise ValueError("poison")
    return [Put({"pk": str(record.sequence_number), "n": number}) for record, number in zip(batch, numbers)]
'''


def processes_of(worker: int) -> list[int]:
    """The processes that it started."""
    children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    return [int(child) for child in children]


async def letters_of(s: Stage) -> list[dict]:
    table = f"{s.environment['HEADRACE_APPLICATION']}-dead-letters"
    answer = await s.clients.dynamodb.scan(TableName=table)
    return answer["Items"]


@pytest.mark.parametrize(
    ("source", "poison"), [(POWERTOOLS, {500, 1500}), (TUTORIAL, set())], ids=["powertools", "tutorial"]
)
async def test_an_unmodified_lambda_file_runs_under_load_and_outlives_its_processes(stage, source, poison):
    """Its process is killed in the middle, twice: nothing is missing, and only what it could not process is buried."""
    async with stage(shards=2) as s:
        (s.folder / "app.py").write_text(source)
        worker = s.start(
            HEADRACE_HANDLER="app.lambda_handler",
            HEADRACE_SINK_TABLE="none",
            HEADRACE_HANDLER_PROCESSES="2",
            HEADRACE_BATCH_SIZE="50",
            HEADRACE_RETRY_MAXIMUM_ATTEMPTS="4",
            TABLE_NAME=s.table,
            AWS_ENDPOINT_URL=s.environment["AWS_ENDPOINT_URL_DYNAMODB"],
        )
        await worker.ready()
        await s.put(0, 2000, keys=200)
        for _ in range(2):
            await more_written(s, len(await s.written()) + 200)
            os.kill(processes_of(worker.pid)[0], signal.SIGKILL)
        expected = set(range(2000)) - poison
        await until_written(s, expected)

        buried = {json.loads(letter["payload"]["B"])["n"]: letter["reason"]["S"] for letter in await letters_of(s)}
        assert buried == dict.fromkeys(poison, "RetryAttemptsExhausted")
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(within_s=10) == 0
        assert len(worker.events("lambda_process_ended")) >= 2


async def more_written(s: Stage, count: int) -> None:
    for _ in range(600):
        if len(await s.written()) >= count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"fewer than {count} written")


async def until_written(s: Stage, expected: set[int]) -> None:
    written: set[int] = set()
    for _ in range(600):
        written = await s.written()
        if written >= expected:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{len(expected - written)} missing\n{s.processes[0].log.read_text()[-3000:]}")


async def test_one_poison_record_among_ten_thousand_costs_itself(stage):
    """A batch handler, bisect on, 3 retries: it is buried alone, after as many calls as are computed."""
    async with stage(shards=1) as s:
        (s.folder / "app.py").write_text(BATCHES)
        await s.put(0, 10_000, keys=1)
        worker = s.start(
            HEADRACE_HANDLER="app:handle",
            HEADRACE_BATCH_SIZE="10000",
            HEADRACE_BATCH_WINDOW="20s",
            HEADRACE_RETRY_MAXIMUM_ATTEMPTS="3",
        )
        await worker.ready()
        await until_written(s, set(range(10_000)) - {6789})
        await until(lambda: worker.events("record_buried"), 30)

        (letter,) = await letters_of(s)
        assert (letter["reason"]["S"], letter["attempts"]["N"]) == ("RetryAttemptsExhausted", "4")
        assert json.loads(letter["payload"]["B"]) == {"n": 6789}
        sizes = [int(line) for line in (s.folder / "calls").read_text().split()]
        assert sizes[0] == 10_000
        # the whole, then two calls for each split, and three retries of the one that is alone at last
        assert len(sizes) == 1 + 2 * depth_of(6789, 10_000) + 3


def depth_of(index: int, size: int) -> int:
    """Splits until a record is alone; of an odd number the right half has one more."""
    depth = 0
    while size > 1:
        left = size // 2
        index, size = (index, left) if index < left else (index - left, size - left)
        depth += 1
    return depth
