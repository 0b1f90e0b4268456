"""Lambda handlers in processes of their own: whatever one does costs one call."""

import asyncio
import itertools
import json
import os
import random
import select
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from textwrap import dedent

import pytest
import uvloop
from structlog.testing import capture_logs

from headrace.handlers.function import HandlerFunction
from headrace.handlers.outcomes import Crashed, Raised, Returned, TimedOut, Unserializable
from headrace.handlers.pool import PoolRules, open_pool
from headrace.handlers.process import HandlerProcess, NotInvoked

numbers = itertools.count()

PREAMBLE = """
import asyncio, atexit, ctypes, json, logging, os, pathlib, signal, subprocess, sys, threading, time
pid = os.getpid()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the user's module in the working directory, under a fresh name, and gives that name."""
    monkeypatch.chdir(tmp_path)

    def write(source):
        name = f"function_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(PREAMBLE + dedent(source))
        return name

    return write


@pytest.fixture
def handler(module):
    """The handler of a module with the source of its body, opened in a pool."""

    @asynccontextmanager
    async def opened(body, size=1, limit_s=20.0, close_s=5.0):
        name = module("def handler(event, context):\n" + dedent(body).replace("\n", "\n    ").join(("    ", "\n")))
        async with open_pool(function(f"{name}.handler", limit_s), PoolRules(size, 20.0, close_s), never) as pool:
            yield pool

    return opened


def function(name, limit_s=20.0):
    return HandlerFunction(name, "orders", "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks", limit_s)


def never():
    """The random number that makes no replacement wait."""
    return 0.0


async def value(pool, **event):
    answer = await pool.call(json.dumps(event).encode())
    assert isinstance(answer, Returned), answer
    return json.loads(answer.value_json)


async def written(path):
    while not (path.exists() and path.read_text()):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.01)


def wait_until_ended(pid):
    """Blocks; the process may be anybody's child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(descriptor):
        has_ended = bool(select.select([descriptor], [], [], 10)[0])
        if not has_ended:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)  # a failing test leaves nothing behind either
        assert has_ended, f"{pid} was alive"


# --- what a handler returns and raises ----------------------------------------------------------------------------------


async def test_the_handler_gets_the_event_and_its_result_comes_back(handler):
    """Plain dicts, lists, texts and floats: what the standard library makes of the bytes."""
    async with handler("return [type(event['at']).__name__, event]") as pool:
        answer = await pool.call(b'{"at": 1545084650.987}')
    assert answer == Returned(b'["float", {"at": 1545084650.987}]')


async def test_the_state_of_the_module_lives_from_call_to_call(module):
    """As in a warm Lambda environment."""
    name = module("calls = []\ndef handle(event, context):\n    calls.append(context.aws_request_id)\n    return calls")
    async with open_pool(function(f"{name}:handle"), PoolRules(), never) as pool:
        await value(pool)
        first, second = await value(pool)
        assert first != second
        answer = await pool.call(b"{}", request_id="given")
        assert json.loads(answer.value_json) == [first, second, "given"]


async def test_an_error_is_told_with_its_traceback_from_the_users_code_on(handler):
    """The process goes on."""
    async with handler("if event: raise KeyError('x')\nreturn pid") as pool:
        before = await value(pool)
        answer = await pool.call(b"[1]")
        assert isinstance(answer, Raised)
        assert (answer.error_type, answer.message) == ("KeyError", "'x'")
        first, place, *_ = answer.traceback.splitlines()
        assert first == "Traceback (most recent call last):"
        assert "function_" in place
        assert "handlers/child" not in answer.traceback
        assert await value(pool) == before
        assert pool.replaced == 0


async def test_an_error_that_cannot_be_told_as_it_is_is_told_as_well_as_can_be(handler):
    """Huge, not encodable, or failing itself: none of them costs the process."""
    async with handler("""
        class Mute(Exception):
            def __str__(self):
                raise ValueError
        raise {"mute": Mute(), "huge": ValueError("x" * 10_000_000), "surrogate": ValueError("\\ud800")}[event["do"]]
    """) as pool:
        mute, huge, surrogate = [
            await pool.call(json.dumps({"do": do}).encode()) for do in ("mute", "huge", "surrogate")
        ]
        assert (mute.error_type, mute.message) == ("Mute", "<exception str() failed>")
        assert (len(huge.message), len(huge.traceback)) == (10_000, 50_000)
        assert surrogate.message == "\\ud800"
        assert pool.replaced == 0


async def test_a_result_that_is_not_json_costs_only_the_call(handler):
    """The process goes on."""
    async with handler("return {1} if event else pid") as pool:
        before = await value(pool)
        answer = await pool.call(b"[1]")
        assert answer == Unserializable(
            "Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable"
        )
        assert await value(pool) == before


async def test_an_event_and_an_answer_of_the_largest_size_pass(handler):
    """Six megabytes each way, many times what a socket holds."""
    async with handler("return event") as pool:
        event = json.dumps("x" * 6_000_000).encode()
        assert await pool.call(event) == Returned(event)


# --- what it does to its process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "end"),
    [
        ("os._exit(3)", Crashed(exit_code=3)),
        ("os._exit(0)", Crashed(exit_code=0)),
        ("sys.exit(4)", Crashed(exit_code=4)),
        ("raise KeyboardInterrupt", Crashed(signal="SIGINT")),
        ("raise asyncio.CancelledError", Crashed(exit_code=1)),
        ("ctypes.string_at(0)", Crashed(signal="SIGSEGV")),
        ("os.kill(pid, signal.SIGKILL)", Crashed(signal="SIGKILL")),
        ("os.abort()", Crashed(signal="SIGABRT")),
        ("os.kill(pid, signal.SIGRTMIN + 1)", Crashed(signal="35")),
    ],
)
async def test_a_process_that_ends_in_a_call_costs_that_call(handler, act, end):
    """It is replaced."""
    async with handler(f"if event: {act}\nreturn pid") as pool:
        before = await value(pool)
        assert await pool.call(b"[1]") == end
        assert await value(pool) != before
        assert pool.replaced == 1


async def test_an_endless_loop_is_ended_at_the_time_limit(handler):
    """Also one that lets nothing else run."""
    async with handler("if event:\n    while True: pass\nreturn pid", limit_s=0.3) as pool:
        before = await value(pool)
        assert await pool.call(b"[1]") == TimedOut(0.3)
        wait_until_ended(before)
        assert await value(pool) != before


async def test_memory_that_ran_out_costs_the_process_too(handler):
    """What filled it is likely to be there still."""
    async with handler("if event: bytearray(1 << 60)\nreturn pid") as pool:
        before = await value(pool)
        answer = await pool.call(b"[1]")
        assert isinstance(answer, Raised)
        assert (answer.error_type, answer.was_out_of_memory) == ("MemoryError", True)
        assert await value(pool) != before


async def test_a_cancelled_call_is_killed_in_the_middle(handler, tmp_path):
    """It must not go on once nobody owns it."""
    async with handler("if event:\n    open('begun', 'w').write(str(pid))\n    time.sleep(60)\nreturn pid") as pool:
        begun = tmp_path / "begun"
        async with asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(pool.call(b"[1]"))
            await written(begun)
            calling.cancel()
        wait_until_ended(int(begun.read_text()))
        assert await value(pool) != int(begun.read_text())


@pytest.mark.parametrize("leave", ["sys.exit(1)", "raise asyncio.CancelledError"])
async def test_threads_left_behind_do_not_hold_up_the_end(handler, leave):
    """Python waits for them when it ends; the worker does not."""
    async with handler(f"threading.Thread(target=time.sleep, args=(60,)).start()\n{leave}") as pool:
        assert await pool.call(b"{}") == Crashed(signal="SIGKILL")


HOLDS = {
    "a program": "subprocess.Popen(['sleep', '60']).pid",
    "a fork": "os.fork() or time.sleep(60)",
    "a daemon": "os.fork() or [os.setsid(), time.sleep(60)]",
}


@pytest.mark.parametrize("hold", HOLDS.values(), ids=HOLDS)
async def test_what_a_crashed_process_started_does_not_hide_its_end(handler, tmp_path, hold):
    """A fork holds the very stream that should end."""
    async with handler(
        f"started = {hold}\nopen('started', 'w').write(str(started))\nos._exit(7)", limit_s=10.0
    ) as pool:
        assert await pool.call(b"{}") == Crashed(exit_code=7)
    started = int((tmp_path / "started").read_text())
    if "setsid" in hold:
        os.kill(started, signal.SIGKILL)  # it left the process's session, as daemons do, and is nobody's to end
    wait_until_ended(started)


async def test_what_a_process_started_ends_with_it(handler):
    """Also with one that ends in good order."""
    async with handler(f"return {HOLDS['a program']}") as pool:
        program = await value(pool)
    wait_until_ended(program)


async def test_a_fork_that_comes_back_from_the_users_code_does_not_answer(handler):
    """Its answer would be taken for that of the next call."""
    async with handler("child = os.fork()\nif not child: return 'fork'\nos.wait()\nreturn event") as pool:
        assert [await value(pool, n=n) for n in range(3)] == [{"n": n} for n in range(3)]


async def test_a_process_heeds_the_signals_of_a_service_manager_through_the_worker_alone(handler):
    """A call is finished; programs that it starts can be ended all the same."""
    async with handler("""
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        program = subprocess.Popen(["sleep", "60"])
        program.terminate()
        return [program.wait(), os.getsid(0) == pid]
    """) as pool:
        assert await value(pool) == [-signal.SIGTERM, True]


# --- the pool -----------------------------------------------------------------------------------------------------------


async def test_each_process_has_one_call_at_a_time(handler):
    """Module state is safe: the other calls wait."""
    async with handler("""
        inside = globals().setdefault("inside", [])
        inside.append(1)
        time.sleep(0.02)
        return [pid, len(inside), inside.pop()]
    """) as pool:
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(value(pool)) for _ in range(5)]
        assert {tuple(call.result()[1:]) for call in calls} == {(1, 1)}
        assert len({call.result()[0] for call in calls}) == 1


async def test_as_many_calls_run_at_once_as_there_are_processes(handler):
    """Each waits here until the other has begun."""
    async with handler(
        """
        pathlib.Path(event["mine"]).touch()
        while not pathlib.Path(event["other"]).exists():
            time.sleep(0.005)
        return pid
    """,
        size=2,
    ) as pool:
        async with asyncio.TaskGroup() as tasks:
            one = tasks.create_task(value(pool, mine="1", other="2"))
            two = tasks.create_task(value(pool, mine="2", other="1"))
        assert one.result() != two.result()


async def test_a_call_that_no_process_got_goes_to_another_one(handler):
    """The process ends while the event is on its way: the handler was not called, so no attempt is spent."""
    async with handler("return [pid, event]") as pool:
        before, _ = await value(pool)
        os.kill(before, signal.SIGSTOP)
        async with asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(value(pool, n=1))
            await asyncio.sleep(0)
            os.kill(before, signal.SIGKILL)
        after, event = calling.result()
        assert (after != before, event) == (True, {"n": 1})


async def test_an_event_that_no_process_lives_to_read_is_a_failure_in_the_end(handler, monkeypatch):
    """Else it would hold up its shard for ever, without a word."""
    async with handler("return pid") as pool:
        tries = []

        async def vanish(process, *_):
            tries.append(process.pid)
            process.kill()
            raise NotInvoked

        monkeypatch.setattr(HandlerProcess, "call", vanish)
        assert await pool.call(b"{}") == Crashed()
        assert len(set(tries)) == 3


async def test_processes_that_end_unused_come_back_after_longer_and_longer_waits(module, tmp_path, monkeypatch):
    """A handler that can no longer be imported is told in the log; calls wait until it can be."""
    waits = []
    monkeypatch.setattr("headrace.handlers.pool.delay_s", lambda in_a_row, *_: waits.append(in_a_row) or 0.0)
    name = module("""
        left = int(open("failures").read())
        open("failures", "w").write(str(left - 1))
        if left in (2, 1):
            raise OSError("not now")
        def handler(event, context):
            return pid
    """)
    (tmp_path / "failures").write_text("3")
    with capture_logs() as logs:
        async with open_pool(function(f"{name}.handler"), PoolRules(), never) as pool:
            os.kill(await value(pool), signal.SIGKILL)
            await noticed(pool)
            await value(pool)
    assert waits == [1, 2, 3]
    assert [line["event"] for line in logs] == [
        "lambda_process_ended",
        "lambda_handler_unusable",
        "lambda_handler_unusable",
        "lambda_process_started",
    ]
    assert "OSError: not now" in logs[1]["problem"]


async def noticed(pool):
    while not pool.replaced:  # noqa: ASYNC110 - the system says when a process has ended
        await asyncio.sleep(0.01)


async def test_crashes_in_calls_make_no_replacement_wait(handler, monkeypatch):
    """The call was to blame, and its own retries wait."""
    monkeypatch.setattr("headrace.handlers.pool.delay_s", lambda *_: pytest.fail("it waits"))
    async with handler("if event: os._exit(1)\nreturn 1") as pool:
        for _ in range(3):
            assert isinstance(await pool.call(b"[1]"), Crashed)
        assert await value(pool) == 1


async def test_what_the_users_code_prints_goes_to_the_workers_standard_error_and_nowhere_else(
    handler, capfd, monkeypatch
):
    """Line by line, unchanged; the worker's standard output holds its own log lines only."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with capture_logs() as logs:
        async with handler("""
            print("printed")
            os.write(1, b"in between\\n")
            print("complained", file=sys.stderr)
            context.log("contextual\\n")
            logging.warning("logged")
            os.write(1, b"last words\\n")
            os._exit(0)
        """) as pool:
            assert isinstance(await pool.call(b"{}"), Crashed)
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split("\t")[-1] for line in err.splitlines()] == [
        "printed",
        "in between",
        "complained",
        "contextual",
        "logged",
        "last words",
    ]
    assert "printed" not in repr(logs)


async def test_the_process_is_a_clean_interpreter_with_lambdas_environment(handler, tmp_path):
    """Nothing of the worker is in it; modules are found beside the handler."""
    (tmp_path / "neighbour.py").write_text("here = True")
    async with handler("""
        import neighbour
        names = ("AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "_HANDLER", "LAMBDA_TASK_ROOT", "TZ")
        return {
            "environment": [os.environ[name] for name in names],
            "worker": [name for name in ("structlog", "aiobotocore", "headrace.flow") if name in sys.modules],
            "arguments": sys.argv[1:],
            "input": sys.stdin.read(),
            "stream": context.log_stream_name,
            "arn": context.invoked_function_arn,
            "left": context.get_remaining_time_in_millis(),
            "trace": os.environ["_X_AMZN_TRACE_ID"],
        }
    """) as pool:
        seen = await value(pool)
    *names, root, zone = seen["environment"]
    assert names[:2] == ["orders", "eu-west-1"]
    assert names[2].startswith("function_")
    assert (root, zone) == (str(tmp_path), ":UTC")
    assert (seen["worker"], seen["arguments"], seen["input"]) == ([], [], "")
    assert "/[$LATEST]" in seen["stream"]
    assert seen["arn"] == "arn:aws:lambda:eu-west-1:123456789012:function:orders"
    assert 19_000 < seen["left"] <= 20_000
    assert seen["trace"].endswith("Sampled=0")


# --- the end ------------------------------------------------------------------------------------------------------------


async def test_at_the_end_the_processes_end_by_themselves(module, tmp_path):
    """What they registered for their exit runs."""
    name = module("""
        atexit.register(lambda: open(f"left-{pid}", "w"))
        def handler(event, context):
            return pid
    """)
    async with open_pool(function(f"{name}.handler"), PoolRules(), never) as pool:
        process = await value(pool)
    assert (tmp_path / f"left-{process}").exists()
    wait_until_ended(process)


@pytest.mark.parametrize(
    ("lasts_s", "close_s", "answer"), [(0.2, 10.0, Returned(b"1")), (60, 0.2, Crashed(signal="SIGKILL"))]
)
async def test_a_call_under_way_at_the_end_may_finish_within_the_limit(handler, tmp_path, lasts_s, close_s, answer):
    """And is killed after it."""
    begun = tmp_path / "begun"
    async with asyncio.TaskGroup() as tasks:  # noqa: SIM117 - the pool ends first
        async with handler(
            f"pathlib.Path('begun').write_text('now')\ntime.sleep({lasts_s})\nreturn 1", close_s=close_s
        ) as pool:
            calling = tasks.create_task(pool.call(b"{}"))
            await written(begun)
    assert calling.result() == answer


WORKER = """
import asyncio, random, sys
from headrace.handlers.function import HandlerFunction
from headrace.handlers.process import HandlerProcess, NotInvoked
from headrace.handlers.pool import PoolRules, open_pool

async def main():
    function = HandlerFunction(sys.argv[1], "orders", "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
    async with open_pool(function, PoolRules(), random.random) as pool:
        await pool.call(b"{}")

asyncio.run(main())
"""


def test_no_process_outlives_its_worker(module):
    """Not even in the middle of a call that never ends."""
    name = module("def handler(event, context):\n    print(pid)\n    while True: pass")
    worker = subprocess.Popen([sys.executable, "-c", WORKER, f"{name}.handler"], stderr=subprocess.PIPE, text=True)
    with worker:
        child = int(worker.stderr.readline())
        worker.kill()
    wait_until_ended(child)


def test_on_uvloop_it_is_the_same(module):
    """The loop that workers run on."""
    name = module("def handler(event, context):\n    if event: os._exit(event['code'])\n    return pid")

    async def main():
        async with open_pool(function(f"{name}.handler", 5.0), PoolRules(2), random.random) as pool:
            assert await pool.call(b'{"code": 5}') == Crashed(exit_code=5)
            first = await value(pool)
            os.kill(first, signal.SIGKILL)
            assert await value(pool) != first
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await pool.call(b"{}")

    uvloop.run(main())
