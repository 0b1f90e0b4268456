"""Lambda handler files as they are found in the wild, opened and called with real events."""

from __future__ import annotations

import json

import pytest

from headrace.errors import CallFailed
from headrace.handlers.opening import HandlerSpec, open_handler
from headrace.model import Record
from headrace.ports import BatchContext

STREAM = "arn:aws:kinesis:us-east-2:123456789012:stream/clicks"

POWERTOOLS = """
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
    from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

    processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
    logger = Logger(service="orders")

    def record_handler(record: KinesisStreamRecord):
        if record.kinesis.data_as_json()["bad"]:
            raise ValueError("bad")

    @logger.inject_lambda_context
    def lambda_handler(event, context: LambdaContext):
        logger.info("called")
        return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
"""

TUTORIAL = """
    from __future__ import print_function

    import base64
    import json

    import boto3

    print('Loading function')
    dynamodb = boto3.client('dynamodb')


    def lambda_handler(event, context):
        #print("Received event: " + json.dumps(event, indent=2))
        for record in event['Records']:
            # Kinesis data is base64 encoded so decode here
            payload = base64.b64decode(record['kinesis']['data']).decode('utf-8')
            print("Decoded payload: " + payload)
        return 'Successfully processed {} records.'.format(len(event['Records']))
"""


def records(*bad: bool) -> list[Record]:
    return [
        Record(json.dumps({"bad": one}).encode(), "1", 10**55 + number, 1545084650.987, "shardId-000000000006")
        for number, one in enumerate(bad)
    ]


def spec(name: str) -> HandlerSpec:
    return HandlerSpec(name, "orders", STREAM, processes=1)


@pytest.mark.parametrize("form", ["{}.lambda_handler", "{}:lambda_handler"])
async def test_a_tutorial_s_file_works_as_it_is(module, form, capfd):
    """boto3 finds its region when the module is imported; what it prints is the worker's standard error; a text is no report."""
    async with open_handler(spec(form.format(module(TUTORIAL))), lambda: 0.0) as handler:
        answer = await handler.call(records(False, True), BatchContext("r-1"))

    assert answer == b'"Successfully processed 2 records."'
    assert 'Decoded payload: {"bad": true}' in capfd.readouterr().err


async def test_powertools_batch_processor_works_as_it_is(module, capfd):
    """All good, some bad, all bad; its logger knows the function and the request."""
    pytest.importorskip("aws_lambda_powertools")
    async with open_handler(spec(f"{module(POWERTOOLS)}.lambda_handler"), lambda: 0.0) as handler:
        good = await handler.call(records(False, False), BatchContext("r-1"))
        some = await handler.call(records(False, True, False, True), BatchContext("r-2"))
        with pytest.raises(CallFailed) as all_bad:
            await handler.call(records(True), BatchContext("r-3"))

    assert json.loads(good) == {"batchItemFailures": []}
    assert json.loads(some) == {
        "batchItemFailures": [{"itemIdentifier": str(10**55 + 1)}, {"itemIdentifier": str(10**55 + 3)}]
    }
    assert all_bad.value.error == "BatchProcessingError"
    assert "record_handler" in all_bad.value.message + all_bad.value.traceback
    line = json.loads(capfd.readouterr().err.splitlines()[0])
    assert (line["function_name"], line["function_request_id"]) == ("orders", "r-1")
