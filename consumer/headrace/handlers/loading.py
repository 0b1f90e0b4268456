"""From `module:function` to a `ports.Handler`: imports the user's code and finds out what it wants to be called with.

Everything that can be wrong with it is found here, before anything starts, and told in one line.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from headrace.errors import SettingsError
from headrace.handlers.last_words import last_words
from headrace.handlers.payloads import Reader, Unsupported, reader
from headrace.ports import Handler

SETTING: Final = "HEADRACE_HANDLER"
_FORM: Final = "Write it as module:function"


def load(spec: str, setting: str = SETTING) -> Handler:
    """The user's function as a record handler. Raises SettingsError, under the name `setting`, for what is wrong with it."""
    return record_handler(find(spec, setting), spec, setting)


def find(spec: str, setting: str = SETTING) -> Any:
    """What the spec names, imported. Raises SettingsError."""
    with _told(spec, setting):
        return _attribute(_module(spec), spec)


def annotation_of(target: Any, spec: str, setting: str = SETTING) -> Any:
    """What the first parameter is annotated with, evaluated. Raises SettingsError where that cannot be."""
    with _told(spec, setting):
        return _annotation(target)


def record_handler(target: Any, spec: str, setting: str = SETTING) -> Handler:
    """A function that is called with one record. Raises SettingsError for what is wrong with it."""
    with _told(spec, setting):
        _check_callable(target, "handle(record)")
        read = _reader(_annotation(target))
    is_async = is_async_function(target)
    call = target if read is None else _reading(target, read, is_async=is_async)
    return Handler(name=spec, call=call, is_async=is_async)


def batch_reader(target: Any, spec: str, setting: str = SETTING) -> Reader | None:
    """How the records of a batch are read for a function that takes them all; None where it takes them as they are.

    Raises SettingsError for what is wrong with it.
    """
    with _told(spec, setting):
        _check_callable(target, "handle(batch)")
        annotation = _annotation(target)
        elements = typing.get_args(annotation)
        return _reader(elements[0]) if elements else None


@contextmanager
def _told(spec: str, setting: str) -> Iterator[None]:
    try:
        yield
    except _Unusable as unusable:
        raise SettingsError(setting, spec, unusable.problem, unusable.mend) from unusable.__cause__


class _Unusable(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mend = mend


def look_here() -> str:
    """Have modules of the working directory found first; that directory."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return here


def _module(spec: str) -> Any:
    name, colon, function = spec.partition(":")
    if not (colon and function and all(part.isidentifier() for part in f"{name}.{function}".split("."))):
        raise _Unusable("is not of the form module:function", f"{_FORM}, for example app.orders:handle")
    here = look_here()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # broad: the user's module may raise anything while it is imported
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise _Unusable(f"there is no module {error.name!r} in {here} or where Python looks", _FORM) from error
        raise _Unusable(f"cannot be imported: {last_words(error, __file__)}", "Mend the module") from error


def _attribute(module: Any, spec: str) -> Any:
    found = module
    for part in spec.partition(":")[2].split("."):
        if not hasattr(found, part):
            functions = [name for name, value in vars(module).items() if inspect.isfunction(value) and name[0] != "_"]
            mend = f"It has {', '.join(functions)}" if functions else "Define it there"
            raise _Unusable(f"{module.__name__} has no {part!r}", mend)
        found = getattr(found, part)
    return found


def _check_callable(target: Any, form: str) -> None:
    if isinstance(target, type):
        raise _Unusable("is a class", "Name a function, or an object of the class with __call__")
    if not callable(target):
        raise _Unusable(f"is not callable but {_a(type(target).__name__)}", "Name a function")
    function = _function(target)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _Unusable("yields", "Return a list of writes instead")
    try:
        inspect.signature(target).bind(object())
    except TypeError:
        shown = str(inspect.signature(target))
        raise _Unusable(f"cannot be called with one argument, it takes {shown}", f"Make it {form}") from None
    except ValueError:
        return  # a builtin without a signature: called as it is


def _function(target: Any) -> Any:
    """The plain function under partials, decorators that say so, and objects with `__call__`."""
    while isinstance(target, functools.partial):
        target = target.func
    target = inspect.unwrap(target)
    return target if inspect.isroutine(target) else type(target).__call__


def is_async_function(target: Any) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(_function(target))


def _annotation(target: Any) -> Any:
    """What the first parameter is annotated with, evaluated; `inspect.Parameter.empty` without an annotation."""
    try:
        first = next(iter(inspect.signature(target).parameters.values()))
    except (ValueError, StopIteration):
        return inspect.Parameter.empty
    if not isinstance(first.annotation, str):
        return first.annotation
    names = getattr(_function(target), "__globals__", {})
    try:
        return typing.get_type_hints(SimpleNamespace(__annotations__={"it": first.annotation}), names)["it"]
    except Exception as error:  # broad: an annotation is any expression of the user's
        raise _Unusable(
            f"the annotation {first.annotation!r} of {first.name!r} cannot be resolved: {last_words(error, __file__)}",
            "Import the type at run time, at the top of the module",
        ) from error


def _reader(annotation: Any) -> Reader | None:
    try:
        return reader(annotation)
    except Unsupported as error:
        shown = getattr(annotation, "__qualname__", None) or str(annotation)
        raise _Unusable(
            f"its first parameter is annotated {shown}, which no payload can be read as{f': {error}' if error.args else ''}",
            "Use Record, dict, bytes, or a pydantic model, a msgspec Struct or a dataclass",
        ) from error


def _reading(target: Callable[[Any], Any], read: Callable[[Any], Any], *, is_async: bool) -> Callable[[Any], Any]:
    if not is_async:
        return lambda record: target(read(record))

    async def call(record: Any) -> Any:
        return await target(read(record))

    return call


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
