"""Lambda handlers that can be used, and every way in which one cannot be."""

import asyncio
import itertools
from textwrap import dedent

import pytest

from headrace.errors import SettingsError
from headrace.handlers.function import HandlerFunction
from headrace.handlers.outcomes import Returned
from headrace.handlers.pool import PoolRules, open_pool

PREAMBLE = "import asyncio, os, sys, threading, time\n"
numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the user's module in the working directory, under a fresh name, and gives that name."""
    monkeypatch.chdir(tmp_path)

    def write(source):
        name = f"loaded_function_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(PREAMBLE + dedent(source))
        return name

    return write


def function(name):
    return HandlerFunction(name, "orders", "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")


def never():
    """The random number that makes no replacement wait."""
    return 0.0


@pytest.mark.parametrize(
    ("source", "name", "told"),
    [
        ("", "{}", "names no function. Write it as module:function"),
        ("", "nowhere.{}.handler", "there is no module 'nowhere' in "),
        (
            "import not_installed",
            "{}.handler",
            "cannot be imported: ModuleNotFoundError: No module named 'not_installed' (",
        ),
        ("x = 1\nprint(1 / 0)", "{}.handler", "cannot be imported: ZeroDivisionError: division by zero ("),
        ("def handler(:", "{}.handler", "cannot be imported: SyntaxError: invalid syntax ("),
        ("sys.exit('no table')", "{}.handler", "cannot be imported: SystemExit: no table ("),
        (
            "os._exit(9)",
            "{}.handler",
            "ended its process while it was imported: Runtime exited with error: exit status 9.",
        ),
        ("time.sleep(60)", "{}.handler", "was not imported within 0.5 s. Do less when the module is imported"),
        ("def handle(event, context): ...", "{}.handler", "has no 'handler'. It has handle"),
        ("handler = 5", "{}.handler", "is not callable but of type int. Lambda calls handler(event, context)"),
        ("class handler: ...", "{}.handler", "is a class. "),
        ("async def handler(event, context): ...", "{}.handler", "is async. "),
        ("def handler(event, context): yield", "{}.handler", "yields. "),
        ("def handler(event): ...", "{}.handler", "cannot be called with two arguments, it takes (event). "),
    ],
)
async def test_a_handler_that_cannot_be_used_is_told_before_anything_starts(module, source, name, told):
    """Which setting, what it held, what is wrong and where, and the mend, in one line."""
    spec = name.format(module(source))
    rules = PoolRules(start_s=0.5 if "sleep" in source else 20.0)
    with pytest.raises(SettingsError) as caught:
        async with open_pool(function(spec), rules, never):
            pass
    text = str(caught.value)
    assert text.startswith(f"HEADRACE_HANDLER = {spec!r}: ")
    assert told in text
    assert len(text.splitlines()) == 1


async def test_a_thread_started_by_a_failing_import_does_not_hold_up_the_message(module):
    """The process is killed once it has told."""
    name = module("threading.Thread(target=time.sleep, args=(60,)).start()\n1 / 0")
    with pytest.raises(SettingsError, match="ZeroDivisionError"):
        async with asyncio.timeout(10), open_pool(function(f"{name}.handler"), PoolRules(), never):
            pass


@pytest.mark.parametrize(
    "source",
    [
        "class App:\n    def __call__(self, event, context): return 1\nhandler = App()",
        "import functools\ndef three(e, c, db): return 1\n@functools.wraps(three)\ndef handler(*args): return three(*args, 3)",
        "import functools\nasync def work(event): return 1\n@functools.wraps(work)\ndef handler(e, c): return asyncio.run(work(e))",
        "def handler(event, context=None, *, verbose=False): return 1",
    ],
    ids=["an object", "decorated, three arguments", "decorated, async", "with defaults"],
)
async def test_whatever_takes_two_arguments_is_a_handler(module, source):
    """Decorators and objects are taken at their word."""
    async with open_pool(function(f"{module(source)}.handler"), PoolRules(), never) as pool:
        assert await pool.call(b"{}") == Returned(b"1")
