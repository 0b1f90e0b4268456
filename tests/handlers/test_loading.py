"""User code: what a handler is called with, and every way in which it cannot be used."""

import inspect
import itertools
from textwrap import dedent

import pytest

from headrace.errors import Reject, SettingsError
from headrace.handlers.loading import load
from headrace.model import Record

PAYLOAD = b'{"id": "d-1", "total": 1.10}'
numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the user's module in the working directory, under a fresh name, and gives that name."""
    monkeypatch.chdir(tmp_path)

    def write(source):
        name = f"users_code_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(dedent(source))
        return name

    return write


def record(data=PAYLOAD):
    return Record(data=data, partition_key="k", sequence_number=1, arrival_s=0.0)


def refusal(spec):
    with pytest.raises(SettingsError) as caught:
        load(spec)
    text = str(caught.value)
    assert text.startswith(f"HEADRACE_HANDLER = {spec!r}: ")
    assert len(text.splitlines()) == 1
    return text


MODELS = """
    from __future__ import annotations
    import dataclasses, functools, typing
    from decimal import Decimal
    import msgspec, pydantic
    from headrace import Record

    @dataclasses.dataclass
    class Plain:
        id: str
        total: Decimal

    class Struct(msgspec.Struct):
        id: str
        total: Decimal

    class Model(pydantic.BaseModel):
        id: str
        total: Decimal
"""


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ("", "'d-1'"),
        (": Record", "'d-1'"),
        (": typing.Any", "'d-1'"),
        (": dict", "'d-1'"),
        (": dict[str, object]", "'d-1'"),
        (": typing.Mapping[str, typing.Any]", "'d-1'"),
        (": bytes", "'d-1'"),
        (": Plain", "'d-1'"),
        (": Struct", "'d-1'"),
        (": Model", "'d-1'"),
    ],
)
def test_the_annotation_of_the_first_parameter_decides_what_the_handler_gets(module, annotation, told):
    """Record, dict, bytes, or a model that is validated from the payload."""
    name = module(
        MODELS
        + f"""
    def handle(it{annotation}):
        if isinstance(it, bytes):
            it = msgspec.json.decode(it)
        if isinstance(it, Record):
            it = it.json()
        return repr(it["id"] if isinstance(it, dict) else it.id)
    """
    )
    handler = load(f"{name}:handle")
    assert (handler.call(record()), handler.is_async, handler.name) == (told, False, f"{name}:handle")


@pytest.mark.parametrize("kind", ["Plain", "Struct"])
def test_a_decimal_field_keeps_the_digits_of_the_payload(module, kind):
    """1.10 is not 1.1000000000000001."""
    name = module(MODELS + f"    def handle(it: {kind}):\n        return str(it.total)\n")
    assert load(f"{name}:handle").call(record()) == "1.10"


async def test_async_handlers_are_awaited_also_behind_a_model_and_as_objects(module):
    """`is_async` is told, and the call gives an awaitable."""
    name = module(
        MODELS
        + """
    async def handle(it: Struct):
        return it.id

    class Callable:
        async def __call__(self, it: dict):
            return it["id"]

    instance = Callable()
    bound = instance.__call__
    part = functools.partial(handle)
    """
    )
    for target in ("handle", "instance", "bound", "part"):
        handler = load(f"{name}:{target}")
        assert handler.is_async
        assert await handler.call(record()) == "d-1"


def test_an_async_handler_fails_when_awaited_and_not_when_called(module):
    """One place to catch a record's failure."""
    name = module("async def handle(it: dict):\n    return it\n")
    call = load(f"{name}:handle").call(record(b"[]"))
    assert inspect.iscoroutine(call)
    with pytest.raises(Reject):
        call.send(None)


def test_partials_and_callable_objects_are_handlers(module):
    """Anything that can be called with one argument."""
    name = module(
        """
    import functools

    def both(prefix, record):
        return prefix + record.partition_key

    class Namespace:
        @staticmethod
        def inner(record, verbose=False):
            return record.partition_key

    handle = functools.partial(both, "p-")
    """
    )
    assert load(f"{name}:handle").call(record()) == "p-k"
    assert load(f"{name}:Namespace.inner").call(record()) == "k"


@pytest.mark.parametrize(
    ("annotation", "data", "reason"),
    [
        ("dict", b"[1]", "the payload is a JSON array, not an object"),
        ("dict", b"12", "the payload is a JSON number, not an object"),
        ("dict", b"null", "the payload is a JSON null, not an object"),
        ("dict", b"secret", "the payload is not JSON: JSON is malformed: invalid character (byte 0)"),
        ("dict", b'"\xff"', "the payload is not JSON: not UTF-8"),
        ("dict", b"[" * 100_000, "the payload is not JSON: nested too deeply"),
        ("Struct", b'{"id": 7, "total": 1}', "the payload does not fit: Expected `str`, got `int` at $.id"),
        ("Struct", b'{"id": "x"}', "the payload does not fit: Object missing required field `total` at $"),
        ("Struct", b'{"id": "x", "total": "secret"}', "the payload does not fit: not valid at $.total"),
        ("Plain", b"secret", "the payload is not JSON: JSON is malformed: invalid character (byte 0)"),
        (
            "Model",
            b'{"id": 7, "total": "secret"}',
            "the payload does not fit: $.id (string_type), $.total (decimal_parsing)",
        ),
        ("Model", b"secret", "the payload does not fit: $ (json_invalid)"),
    ],
)
def test_a_payload_that_does_not_fit_is_rejected_without_its_values(module, annotation, data, reason):
    """It never will fit, so no attempt is spent; field and type are told, no value, not even in a chained error."""
    name = module(MODELS + f"    def handle(it: {annotation}):\n        return None\n")
    with pytest.raises(Reject) as caught:
        load(f"{name}:handle").call(record(data))
    assert caught.value.reason == reason
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("spec", ["app", "app:", ":handle", "app.py:handle()", "a b:c", ""])
def test_a_spec_that_is_no_module_and_function_is_refused(module, spec):
    """The form is told."""
    module("")
    assert "is not of the form module:function" in refusal(spec)


def test_a_module_that_is_not_there_is_told_with_the_place_looked_at(module, tmp_path):
    """Mostly the working directory is the wrong one."""
    module("")
    assert f"there is no module 'nowhere_at_all' in {tmp_path}" in refusal("nowhere_at_all:handle")
    assert "there is no module 'nowhere_at_all'" in refusal("nowhere_at_all.inner:handle")


@pytest.mark.parametrize(
    ("source", "words", "line"),
    [
        ("x = 1\nimport nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'", 2),
        ("def f(:\n    pass\n", "SyntaxError: invalid syntax", 1),
        ("\n\nraise RuntimeError('first\\nsecond')\n", "RuntimeError: first", 3),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3", 2),
        ("\nimport os\nTABLE = os.environ['NOT_SET_ANYWHERE']\n", "KeyError: 'NOT_SET_ANYWHERE'", 3),
    ],
)
def test_a_module_that_fails_is_told_with_its_last_words_and_the_line(module, source, words, line):
    """No traceback, but the place to look at."""
    name = module(source)
    text = refusal(f"{name}:handle")
    assert f"cannot be imported: {words}" in text
    assert f"{name}.py:{line})" in text


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("handel", "has no 'handel'. It has handle, two, none, gen, odd, lost"),
        ("Class", "is a class"),
        ("number", "is not callable but an int"),
        ("two", "cannot be called with one argument, it takes (event, context)"),
        ("none", "cannot be called with one argument, it takes ()"),
        ("gen", "yields"),
        ("odd", "its first parameter is annotated int, which no payload can be read as"),
        ("lost", "the annotation 'Nowhere' of 'it' cannot be resolved: NameError: name 'Nowhere' is not defined"),
    ],
)
def test_what_cannot_be_a_handler_is_refused_before_anything_starts(module, target, problem):
    """A mistake in the user's module is found at start, not at the first record."""
    name = module(
        """
    def handle(record): ...
    def two(event, context): ...
    def none(): ...
    def gen(record):
        yield record
    def odd(it: int): ...
    def lost(it: "Nowhere"): ...
    class Class:
        def __init__(self, record): ...
    number = 7
    """
    )
    assert problem in refusal(f"{name}:{target}")
