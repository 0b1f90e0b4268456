"""What a function says that it returns, held against what the write mode carries.

A hint only: without an annotation, or where it cannot be resolved, every record is looked at when it is written.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

from headrace.core.effects import KINDS
from headrace.core.write_modes import CARRIED, Operation, WriteMode, not_carried
from headrace.errors import SettingsError

MODE_SETTING: Final = "HEADRACE_SINK_MODE"


def check_operations(target: Any, spec: str, mode: WriteMode) -> None:
    """Raises SettingsError for an operation in the return annotation that the mode does not carry."""
    named = set(_operations(_annotation(target)))
    if named >= set(KINDS):
        return  # whatever there is: it says nothing about what comes
    for operation in KINDS:
        if operation in named and operation not in CARRIED[mode]:
            mend = "Choose a mode that carries it, or return something else"
            raise SettingsError(
                "HEADRACE_HANDLER", spec, f"returns {operation.__name__}, and {not_carried(operation, mode)}", mend
            )


def _annotation(target: Any) -> Any:
    function = inspect.unwrap(target)
    function = function if inspect.isroutine(function) else type(function).__call__
    hint = getattr(function, "__annotations__", {}).get("return")
    try:
        return typing.get_type_hints(SimpleNamespace(__annotations__={"it": hint}), function.__globals__)["it"]
    except Exception:  # noqa: BLE001 - an annotation is any expression of the user's, and this one is only a hint
        return None


def _operations(annotation: Any) -> Iterator[Operation]:
    if annotation in KINDS:
        yield annotation
    annotation = getattr(annotation, "__value__", annotation)  # a `type` statement's
    for part in typing.get_args(annotation):
        yield from _operations(part)
