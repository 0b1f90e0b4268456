"""A handler from its settings to a call, of each kind."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
from decimal import Decimal

import pytest

from headrace.errors import CallFailed, Reject, Retry, SettingsError
from headrace.handlers.kinds import HandlerKind
from headrace.handlers.opening import HandlerSpec, open_handler
from headrace.model import Record
from headrace.operations import Delete, Put
from headrace.ports import BatchContext, BatchHandler, Handler

STREAM = "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"
CONTEXT = BatchContext("request-1")
chance = random.Random(1).random


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
    """Two wait for each other here, while the loop goes on."""
    name = module(
        """
        import threading
        both = threading.Barrier(2, timeout=10)
        def handle(record):
            both.wait()
            return {'pk': record.partition_key}
        """
    )
    async with open_handler(spec(f"{name}:handle", threads=2), chance) as handler:
        assert isinstance(handler, Handler)
        assert handler.is_async
        both = await asyncio.gather(*[handler.call(record) for record in records(b"x", b"y")])

        assert both == [{"pk": "k0"}, {"pk": "k1"}]


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


CRASHES = {
    "raises": ("raise KeyError('device')", "KeyError", "'device'"),
    "exits": ("os._exit(7)", "Runtime.ExitError", "Runtime exited with error: exit status 7"),
    "leaves": ("raise SystemExit", "Runtime.ExitError", "Runtime exited without providing a reason"),
    "crashes": ("os.kill(os.getpid(), 11)", "Runtime.ExitError", "Runtime exited with error: signal: SIGSEGV"),
    "loops": ("while True: pass", "Sandbox.Timedout", "Task timed out after 1.50 seconds"),
    "recurs": ("again = lambda: again(); again()", "RecursionError", "maximum recursion depth exceeded"),
}


@pytest.mark.parametrize("case", CRASHES)
@pytest.mark.parametrize(("form", "taken"), [("{}.handle", "batch, context"), ("{}:handle", "batch")])
async def test_what_a_handler_does_to_its_process_is_a_failed_call(module, tmp_path, case, form, taken):
    """In Lambda's own words, a batch handler's too; the next call is made."""
    body, error, message = CRASHES[case]
    name = module(f"import os\ndef handle({taken}):\n    if not os.path.exists('fine'):\n        {body}")
    async with open_handler(spec(form.format(name), timeout_s=1.5), chance) as handler:
        with pytest.raises(CallFailed) as caught:
            await handler.call(records(b"x"), CONTEXT)
        assert (caught.value.error, caught.value.message) == (error, message)
        (tmp_path / "fine").touch()
        assert await handler.call(records(b"x"), CONTEXT) == b"null"


@pytest.mark.parametrize(
    ("form", "taken", "returned"),
    [
        ("{}.handle", "event, context", "{1, 2}"),
        ("{}:handle", "batch", "{'batchItemFailures': {1, 2}}"),
        ("{}:handle", "batch", "[{'pk': open(__file__)}]"),
    ],
)
async def test_what_cannot_leave_the_process_fails_the_call(module, form, taken, returned):
    """Neither a set in an answer, which is JSON, nor an open file in an item."""
    name = module(f"def handle({taken}): return {returned}")
    async with open_handler(spec(form.format(name)), chance) as handler:
        with pytest.raises(CallFailed, match=r"Runtime\.MarshalError: Unable to marshal response"):
            await handler.call(records(b"x"), CONTEXT)


@pytest.mark.parametrize(("form", "taken"), [("{}.handle", "event, context"), ("{}:handle", "batch")])
async def test_a_call_that_is_cancelled_is_killed_in_the_middle(module, tmp_path, form, taken):
    """Whoever lost the lease must not go on writing."""
    name = module(
        f"import os\ndef handle({taken}):\n    open('pid', 'w').write(str(os.getpid()))\n    while True: pass"
    )
    async with open_handler(spec(form.format(name)), chance) as handler:
        calling = asyncio.ensure_future(handler.call(records(b"x"), CONTEXT))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


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


async def test_what_a_batch_handler_logs_names_its_call(module, capfd):
    """As a Lambda handler's lines do."""
    name = module("import logging\ndef handle(batch): logging.warning('%d of them', len(batch))")
    async with open_handler(spec(f"{name}:handle"), chance) as handler:
        await handler.call(records(b"x"), CONTEXT)

    assert "request-1\t1 of them" in capfd.readouterr().err


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
        with pytest.raises(Reject, match=r"^record 2 of 3: the payload is not JSON"):
            await handler.call(records(b'{"pk": "a"}', b"nonsense", b"\xff"), CONTEXT)
        with pytest.raises(Reject, match=r"^the payload is not JSON: not UTF-8$"):
            await handler.call(records(b'"\xff"'), CONTEXT)


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


async def test_a_lambda_handler_s_file_is_not_imported_by_the_worker(module, tmp_path):
    """Whichever way it is named: its source tells enough."""
    name = module(
        "import os\nopen('who', 'a').write(f'{os.getpid()} ')\ndef handler(event, context): return os.getpid()"
    )
    for form in ("{}.handler", "{}:handler"):
        async with open_handler(spec(form.format(name)), chance) as handler:
            await handler.call(records(b"x"), CONTEXT)

    assert str(os.getpid()) not in (tmp_path / "who").read_text().split()


async def test_an_error_of_whoever_opened_it_stays_as_it_is(module):
    """No group of errors around it."""
    name = module("def handler(event, context): ...")
    with pytest.raises(LookupError):
        async with open_handler(spec(f"{name}.handler"), chance):
            raise LookupError


async def test_a_named_kind_settles_what_a_signature_leaves_open(module):
    """A function of two arguments may still be a batch handler with a default."""
    name = module("def handle(batch, context=None): return None")
    async with open_handler(spec(f"{name}:handle", kind=HandlerKind.BATCH), chance) as handler:
        assert json.loads(await handler.call(records(b"x"), CONTEXT)) is None
