"""Which kind of handler a function is, from its signature: a record handler, a batch handler or a Lambda handler.

A guess that could be wrong would be paid for in production, so a function that shows signs of two kinds is refused, and
the message says how to name the kind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, get_origin

from headrace.errors import SettingsError

KIND_SETTING: Final = "HEADRACE_HANDLER_KIND"

_LISTS: Final = (list, tuple, Sequence, Iterable)
_BATCH_NAMES: Final = frozenset({"batch", "records"})
_EMPTY: Final = inspect.Parameter.empty


class HandlerKind(StrEnum):
    """What a handler is called with."""

    RECORD = "record"
    BATCH = "batch"
    LAMBDA = "lambda"


def kind_by_name(spec: str) -> HandlerKind | None:
    """`module.function` without a colon is how only Lambda names a handler; nothing has to be imported to know it."""
    return None if ":" in spec else HandlerKind.LAMBDA


def kind_by_signature(target: Callable[..., Any], annotation: Any, spec: str, setting: str) -> HandlerKind:
    """The kind of a function; `annotation` is that of its first parameter, evaluated. Raises SettingsError."""
    try:
        signs = _signs(inspect.signature(target), annotation)
    except ValueError:
        signs = {}  # a builtin without a signature
    if not signs:
        return HandlerKind.RECORD
    if len(signs) == 1:
        return next(iter(signs))
    seen = " and ".join(f"like a {kind} handler ({why})" for kind, why in signs.items())
    raise SettingsError(setting, spec, f"looks {seen}", f"Set {KIND_SETTING} to {' or '.join(signs)}")


def _signs(signature: inspect.Signature, annotation: Any) -> dict[HandlerKind, str]:
    """Every kind that something speaks for, and what."""
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in positional]
    required = [p for p in positional if p.default is _EMPTY]
    signs: dict[HandlerKind, str] = {}
    if names[:2] == ["event", "context"]:
        signs[HandlerKind.LAMBDA] = "it takes event and context"
    elif len(required) == 2:  # noqa: PLR2004 - nothing else is called with two arguments
        signs[HandlerKind.LAMBDA] = f"it needs two arguments, {required[0].name} and {required[1].name}"
    says_something = annotation is not _EMPTY and annotation not in (Any, object)
    if says_something and (HandlerKind.LAMBDA not in signs or _is_list(annotation)):
        kind = HandlerKind.BATCH if _is_list(annotation) else HandlerKind.RECORD
        signs[kind] = f"{names[0]} is annotated {_shown(annotation)}"
    if names and names[0] in _BATCH_NAMES:
        signs.setdefault(HandlerKind.BATCH, f"its parameter is named {names[0]}")
    return signs


def _is_list(annotation: Any) -> bool:
    return (get_origin(annotation) or annotation) in _LISTS


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not get_origin(annotation) else str(annotation)
