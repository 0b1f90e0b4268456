"""A handler from its settings to a call, of each kind."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
import time
from decimal import Decimal
from textwrap import dedent

import pytest

from headrace.errors import CallFailed, Reject, Retry, SettingsError
from headrace.handlers.kinds import HandlerKind
from headrace.handlers.opening import HandlerSpec, open_handler
from headrace.model import Delete, Put, Record
from headrace.ports import BatchContext, BatchHandler, Handler

STREAM = "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"
CONTEXT = BatchContext("request-1")
chance = random.Random(1).random
numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the user's module in the working directory, under a fresh name, and gives that name."""
    monkeypatch.chdir(tmp_path)

    def write(source):
        name = f"opened_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(dedent(source))
        return name

    return write


def records(*payloads: bytes) -> list[Record]:
    return [Record(data, f"k{n}", 10**55 + n, 1545084650.987, "shardId-0") for n, data in enumerate(payloads)]


def spec(name: str, **more) -> HandlerSpec:
    return HandlerSpec(name, "orders", STREAM, processes=1, **more)


async def test_a_record_handler_is_called_on_the_loop(module):
    """The fastest way, unless threads are asked for."""
    name = module("import threading\ndef handle(record): return {'pk': threading.current_thread().name}")
    async with open_handler(spec(f"{name}:handle"), chance) as handler:
        assert isinstance(handler, Handler)
        assert not handler.is_async
        assert handler.call(records(b"x")[0]) == {"pk": threading.current_thread().name}


async def test_a_plain_record_handler_may_wait_in_a_thread(module):
    """Two at once, while the loop goes on."""
    name = module("import time\ndef handle(record):\n    time.sleep(0.2)\n    return {'pk': record.partition_key}")
    async with open_handler(spec(f"{name}:handle", threads=2), chance) as handler:
        assert isinstance(handler, Handler)
        assert handler.is_async
        began = time.monotonic()
        both = await asyncio.gather(*[handler.call(record) for record in records(b"x", b"y")])

        assert both == [{"pk": "k0"}, {"pk": "k1"}]
        assert time.monotonic() - began < 0.39


async def test_an_error_in_a_thread_is_the_record_s(module):
    """Also one that no future can carry."""
    name = module("def handle(record): raise StopIteration")
    async with open_handler(spec(f"{name}:handle", threads=1), chance) as handler:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await handler.call(records(b"x")[0])


async def test_a_lambda_handler_gets_the_event_and_its_context(module):
    """In a process of its own; the answer is the JSON text that it returned."""
    name = module(
        """
        import os
        def handler(event, context):
            return {"n": len(event["Records"]), "id": context.aws_request_id, "name": context.function_name, "pid": os.getpid()}
        """
    )
    async with open_handler(spec(f"{name}.handler"), chance) as handler:
        assert isinstance(handler, BatchHandler)
        answer = json.loads(await handler.call(records(b"x", b"y"), CONTEXT))

        assert (answer["n"], answer["id"], answer["name"]) == (2, "request-1", "orders")
        assert handler.size_of is not None
        assert handler.size_of(records(b"xyz")[0]) > 400


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise KeyError('device')", "KeyError"),
        ("os._exit(7)", "Runtime.ExitError"),
        ("return {1, 2}", "Runtime.MarshalError"),
        ("time.sleep(60)", "Sandbox.Timedout"),
    ],
)
async def test_what_a_lambda_handler_does_to_its_process_is_a_failed_call(module, body, error):
    """In Lambda's own words; the next call is made."""
    name = module(f"import os, time\ndef handler(event, context):\n    if len(event['Records']) == 1: {body}")
    async with open_handler(spec(f"{name}.handler", timeout_s=1.0), chance) as handler:
        with pytest.raises(CallFailed) as caught:
            await handler.call(records(b"x"), CONTEXT)
        assert caught.value.error == error
        assert await handler.call(records(b"x", b"y"), CONTEXT) == b"null"


async def test_writes_of_a_batch_handler_come_back_as_they_are(module):
    """From another process: decimals, bytes and sets included."""
    name = module(
        """
        from decimal import Decimal
        from headrace import Delete, Put
        def handle(batch):
            return [Put({"pk": batch[0].partition_key, "n": Decimal("1.10"), "b": b"\\x00", "s": {"a"}}),
                    Delete({"pk": batch[1].partition_key}), {"pk": str(batch[1].sequence_number)}]
        """
    )
    async with open_handler(spec(f"{name}:handle"), chance) as handler:
        assert isinstance(handler, BatchHandler)
        assert await handler.call(records(b"x", b"y"), CONTEXT) == [
            Put({"pk": "k0", "n": Decimal("1.10"), "b": b"\x00", "s": {"a"}}),
            Delete({"pk": "k1"}),
            Put({"pk": str(10**55 + 1)}),
        ]


async def test_a_batch_handler_reports_failures_as_a_lambda_handler_does(module):
    """By sequence number."""
    name = module(
        "def handle(batch): return {'batchItemFailures': [{'itemIdentifier': str(batch[1].sequence_number)}]}"
    )
    async with open_handler(spec(f"{name}:handle"), chance) as handler:
        answer = json.loads(await handler.call(records(b"x", b"y"), CONTEXT))
        assert answer["batchItemFailures"][0]["itemIdentifier"] == str(10**55 + 1)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise Reject('no such device')", (Reject, "no such device")),
        ("raise Retry(5)", (Retry, "0:00:05")),
        ("raise ValueError('x')", (CallFailed, "x")),
        ("return 7", (CallFailed, "a batch handler returns None")),
        ("return [7]", (CallFailed, "a handler returns Put")),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_a_batch_handler_raises_is_told(module, body, expected, is_async):
    """Reject and Retry keep their meaning, wherever it runs."""
    kind, words = expected
    start = "async def" if is_async else "def"
    name = module(f"from headrace import Reject, Retry\n{start} handle(batch):\n    {body}")
    async with open_handler(spec(f"{name}:handle"), chance) as handler:
        with pytest.raises(Exception, match=words) as caught:
            await handler.call(records(b"x"), CONTEXT)
    as_it_is = is_async and kind is CallFailed
    assert type(caught.value) is kind or (as_it_is and isinstance(caught.value, ValueError | TypeError))


async def test_an_async_batch_handler_runs_on_the_loop_and_out_of_time_like_any_other(module):
    """It is cancelled then."""
    name = module("import asyncio\nasync def handle(batch):\n    await asyncio.sleep(30 if len(batch) == 1 else 0)")
    async with open_handler(spec(f"{name}:handle", timeout_s=0.2), chance) as handler:
        assert await handler.call(records(b"x", b"y"), CONTEXT) is None
        with pytest.raises(CallFailed, match=r"Sandbox.Timedout: Task timed out after 0.20 seconds"):
            await handler.call(records(b"x"), CONTEXT)


@pytest.mark.parametrize("start", ["def", "async def"])
async def test_the_records_of_a_batch_are_read_as_annotated(module, start):
    """And one whose payload does not fit rejects the call: a split will find it."""
    name = module(
        f"""
        from headrace import Put
        {start} handle(batch: list[dict]):
            return [Put(payload) for payload in batch]
        """
    )
    async with open_handler(spec(f"{name}:handle"), chance) as handler:
        assert await handler.call(records(b'{"pk": "a"}', b'{"pk": "b"}'), CONTEXT) == [
            Put({"pk": "a"}),
            Put({"pk": "b"}),
        ]
        with pytest.raises(Reject, match="not JSON"):
            await handler.call(records(b'{"pk": "a"}', b"nonsense"), CONTEXT)


@pytest.mark.parametrize(
    ("source", "named", "kind", "problem"),
    [
        ("def handle(): ...", "{}:handle", HandlerKind.BATCH, "cannot be called with one argument"),
        ("def handle(batch): ...", "{}:absent", HandlerKind.BATCH, "has no 'absent'"),
        ("def handle(batch): ...", "{}.handle", HandlerKind.BATCH, "is no name of a batch handler"),
        ("def handler(event): ...", "{}.handler", None, "cannot be called with two arguments"),
        ("raise ValueError('x')", "{}.handler", None, "cannot be imported: ValueError: x"),
        ("raise ValueError('x')", "{}:handle", None, "cannot be imported: ValueError: x"),
        ("handle = 7", "{}:handle", None, "is not callable"),
        ("def handle(batch, context): ...", "{}:handle", None, "Set HEADRACE_HANDLER_KIND to"),
    ],
)
async def test_what_is_wrong_with_a_handler_is_told_before_anything_starts(module, source, named, kind, problem):
    """In one line."""
    name = module(source)
    with pytest.raises(SettingsError, match=problem) as caught:
        async with open_handler(spec(named.format(name), kind=kind), chance):
            pass
    assert "\n" not in str(caught.value)


async def test_a_named_kind_settles_what_a_signature_leaves_open(module):
    """A function of two arguments may still be a batch handler with a default."""
    name = module("def handle(batch, context=None): return None")
    async with open_handler(spec(f"{name}:handle", kind=HandlerKind.BATCH), chance) as handler:
        assert json.loads(await handler.call(records(b"x"), CONTEXT)) is None
