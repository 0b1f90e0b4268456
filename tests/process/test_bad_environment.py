"""What must be mended before anything starts: one line, exit code 2."""

from __future__ import annotations

import signal

import pytest
from process.conftest import until

pytestmark = [pytest.mark.process, pytest.mark.servers]


async def refused(stage, *arguments: str, **environment: str) -> str:
    """Start a worker that must not start; returns the one line that it left."""
    process = stage.start_cold(*arguments, **environment)
    assert await process.exit_code(within_s=30) == 2, process.log.read_text()
    said = [line for line in process.log.read_text().splitlines() if not line.startswith("{")]
    assert len(said) == 1, said
    assert "Traceback" not in said[0]
    return said[0]


async def test_each_missing_resource_is_named_with_its_setting_and_the_mend(stage):
    """The stream, the serving table, a lease table that may not be made."""
    async with stage(shards=1) as s:
        line = await refused(s, HEADRACE_CREATE_TABLES="false")
        assert line.startswith("HEADRACE_LEASE_TABLE = ")
        assert "there is no such table" in line
        line = await refused(s, HEADRACE_STREAM_NAME="no-such-stream")
        assert line.startswith("HEADRACE_STREAM_NAME = 'no-such-stream': there is no such stream. Create it")
        line = await refused(s, HEADRACE_SINK_TABLE="no-such-table")
        assert line.startswith("HEADRACE_SINK_TABLE = 'no-such-table': there is no such table. Create it")


async def test_a_setting_that_changes_nothing_for_this_handler_is_told_in_one_line_at_the_start(stage):
    """Threads of an async handler: the worker starts all the same, were there a stream."""
    async with stage(shards=1) as s:
        await refused(
            s,
            HEADRACE_HANDLER="slow_handler:handle",
            HEADRACE_HANDLER_THREADS="8",
            HEADRACE_STREAM_NAME="no-such-stream",
        )
        (told,) = s.processes[-1].events("setting_without_effect")
        assert (told["level"], told["setting"]) == ("warning", "HEADRACE_HANDLER_THREADS")
        assert told["reason"] == "plain record handlers may have threads, and the handler is an async record handler"


async def test_a_lease_table_with_another_key_is_refused(stage):
    """The serving table given as the lease table of a second application, say."""
    async with stage(shards=1) as s:
        other = f"{s.stream}-other"
        await s.clients.dynamodb.create_table(
            TableName=other,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )

        line = await refused(s, HEADRACE_LEASE_TABLE=other)

        assert "its key is id (N), not pk (S) and sk (S)" in line


async def test_a_handler_or_key_that_cannot_work_is_refused(stage):
    """An unimportable handler, and a template that lacks the table's key."""
    async with stage(shards=1) as s:
        line = await refused(s, HEADRACE_HANDLER="no_such_module:handle")
        assert line.startswith("HEADRACE_HANDLER = 'no_such_module:handle': ")
        line = await refused(s, HEADRACE_HANDLER="", HEADRACE_ITEM_KEY="id={n}")
        assert line.startswith("HEADRACE_ITEM_KEY = 'id={n}': ")


async def test_a_handler_that_does_not_go_with_the_write_mode_is_refused(stage):
    """One that takes many records at once, and one that returns what a repeat would do again."""
    async with stage(shards=1) as s:
        (s.folder / "batch_handler.py").write_text("def handle(batch):\n    pass\n")
        (s.folder / "count_handler.py").write_text(
            "from headrace import Increment\n\ndef handle(record) -> Increment:\n    pass\n"
        )
        line = await refused(s, HEADRACE_HANDLER="batch_handler:handle", HEADRACE_SINK_MODE="transactional")
        assert line.startswith("HEADRACE_SINK_MODE = 'transactional': moves the checkpoint with the writes")
        assert "batch_handler:handle is a batch handler. Write a record handler" in line
        line = await refused(s, HEADRACE_HANDLER="count_handler:handle")
        assert line.startswith(
            "HEADRACE_HANDLER = 'count_handler:handle': returns Increment, and HEADRACE_SINK_MODE=put"
        )


async def test_a_stop_before_there_was_anything_to_stop_ends_at_once(stage):
    """Kinesis cannot be reached, so the worker still waits for it; nothing is held that would have to be given up."""
    async with stage(shards=1) as s:
        worker = s.start_cold(AWS_ENDPOINT_URL_KINESIS="http://127.0.0.1:9")
        await until(lambda: worker.events("call_failed"), 20)
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(within_s=5) == 0, worker.log.read_text()
        assert "Traceback" not in worker.log.read_text()


async def test_a_stream_made_anew_under_the_same_name_is_refused(stage):
    """Its sequence numbers have nothing to do with the checkpoints."""
    async with stage(shards=1) as s:
        await s.put(0, 10)
        worker = s.start()
        await worker.ready()
        await s.all_written(10)
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(within_s=10) == 0
        name = s.environment["HEADRACE_APPLICATION"]
        key = {"pk": {"S": "M"}, "sk": {"S": s.stream}}
        await s.clients.dynamodb.update_item(
            TableName=name,
            Key=key,
            UpdateExpression="SET created = :earlier",
            ExpressionAttributeValues={":earlier": {"S": "2020-01-01T00:00:00+00:00"}},
        )

        line = await refused(s)

        assert line.startswith(f"HEADRACE_STREAM_NAME = '{s.stream}': the leases were made for a stream")
        assert "HEADRACE_APPLICATION" in line
