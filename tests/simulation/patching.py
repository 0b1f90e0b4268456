"""The one way in which the simulation changes shipped code: what is patched must be there, and be of the same shape."""

from __future__ import annotations

import inspect
from typing import Any


class StalePatch(Exception):
    """The code that was to be changed is not what it was."""


def patch(owner: Any, name: str, replacement: Any) -> None:
    """Put `replacement` in the place of `owner.name`. Raises StalePatch when there is nothing of that shape."""
    where = f"{owner.__name__}.{name}"
    if not hasattr(owner, name):
        raise StalePatch(f"there is no {where} any more")
    original = getattr(owner, name)
    if callable(original):
        _compare(where, original, replacement)
    elif type(original) is not type(replacement):
        raise StalePatch(f"{where} is a {type(original).__name__}, not a {type(replacement).__name__}")
    setattr(owner, name, replacement)


def _compare(where: str, original: Any, replacement: Any) -> None:
    if inspect.iscoroutinefunction(original) != inspect.iscoroutinefunction(replacement):
        raise StalePatch(f"only one of {where} and its replacement is a coroutine function")
    was, now = _shape(original), _shape(replacement)
    if was != now:
        raise StalePatch(f"{where} takes {was}, its replacement {now}")


def _shape(function: Any) -> list[tuple[str, Any]]:
    parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    return [(parameter.name, parameter.kind) for parameter in parameters]
