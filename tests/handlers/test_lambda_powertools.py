"""Powertools' batch processing, unchanged, as its documentation shows it."""

import base64
import json
from textwrap import dedent

import pytest

from headrace.handlers.function import HandlerFunction
from headrace.handlers.outcomes import Raised, Returned
from headrace.handlers.pool import PoolRules, open_pool

pytest.importorskip("aws_lambda_powertools")

SOURCE = """
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


def event(*bad):
    return json.dumps({"Records": [record(100 + number, bad=one) for number, one in enumerate(bad)]}).encode()


def record(sequence_number, *, bad):
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "1",
            "sequenceNumber": str(sequence_number),
            "data": base64.b64encode(json.dumps({"bad": bad}).encode()).decode(),
            "approximateArrivalTimestamp": 1545084650.987,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000006:{sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
        "awsRegion": "us-east-2",
        "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/clicks",
    }


async def test_powertools_batch_processor_works_unchanged(tmp_path, monkeypatch, capfd):
    """All good, some bad, all bad; its logger knows the function and the request."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders_function.py").write_text(dedent(SOURCE))
    stream_arn = "arn:aws:kinesis:us-east-2:123456789012:stream/clicks"
    function = HandlerFunction("orders_function.lambda_handler", "orders", stream_arn)
    async with open_pool(function, PoolRules(), lambda: 0.0) as pool:
        assert await pool.call(event(False, False), "r-1") == Returned(b'{"batchItemFailures": []}')
        answer = await pool.call(event(False, True, False, True))
        assert json.loads(answer.value_json) == {
            "batchItemFailures": [{"itemIdentifier": "101"}, {"itemIdentifier": "103"}]
        }
        answer = await pool.call(event(True))
        assert isinstance(answer, Raised)
        assert answer.error_type == "BatchProcessingError"
    line = json.loads(capfd.readouterr().err.splitlines()[0])
    assert (line["function_name"], line["function_request_id"]) == ("orders", "r-1")
