"""A Lambda handler, imported in its own process. What is wrong with it is told in the words of a SettingsError."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from headrace.handlers.function import FORM, split_name
from headrace.handlers.last_words import last_words
from headrace.handlers.wire import Unusable

Function: TypeAlias = Callable[[Any, Any], Any]


def load(handler: str, root: str) -> Function | Unusable:
    """The function that `handler` names; `root` is where modules are looked for first, told in the message."""
    names = split_name(handler)
    if names is None:
        return Unusable("names no function", FORM)
    module = _module(names[0], root)
    return module if isinstance(module, Unusable) else _function(module, names[1])


def _module(name: str, root: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's module may raise anything while it is imported
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            return Unusable(f"there is no module {error.name!r} in {root} or where Python looks", FORM)
        return Unusable(f"cannot be imported: {last_words(error, __file__)}", "Mend the module")


def _function(module: Any, name: str) -> Function | Unusable:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            return Unusable(f"{module.__name__} has no {part!r}", _what_it_has(module))
        found = getattr(found, part)
    problem = _problem(found)
    return found if problem is None else Unusable(problem, "Lambda calls handler(event, context)")


def _what_it_has(module: Any) -> str:
    functions = [name for name, value in vars(module).items() if inspect.isfunction(value) and name[0] != "_"]
    return f"It has {', '.join(functions)}" if functions else "Define it there"


def _problem(target: Any) -> str | None:
    """Why it is no handler. Decorators are taken at their word: what they wrap may have any signature."""
    if isinstance(target, type):
        return "is a class"
    if not callable(target):
        return f"is not callable but of type {type(target).__name__}"
    plain = target if inspect.isroutine(target) else type(target).__call__
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        return "is async"
    if inspect.isgeneratorfunction(plain):
        return "yields"
    return _misfit(target)


def _misfit(target: Any) -> str | None:
    try:
        signature = inspect.signature(target, follow_wrapped=False)
    except ValueError:
        return None  # a builtin without a signature: called as it is
    try:
        signature.bind(object(), object())
    except TypeError:
        return f"cannot be called with two arguments, it takes {signature}"
    return None
