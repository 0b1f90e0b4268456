"""Settings that were given and change nothing in the mode that the others choose: told at the start, not refused.

What can never be meant is refused (`model.conflicts`). What is here may stand in a file that several handlers share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from headrace.settings.model import Path, Settings
from headrace.settings.names import Name


class Called(Enum):
    """Who is called with what was read, and where; the text says it of a handler."""

    MAPPING = "there is no handler but the item mapping"
    RECORD = "the handler is a plain record handler"
    ASYNC_RECORD = "the handler is an async record handler"
    BATCH = "the handler is a plain batch handler"
    ASYNC_BATCH = "the handler is an async batch handler"
    LAMBDA = "the handler is a Lambda handler"


@dataclass(frozen=True, slots=True)
class WithoutEffect:
    """One setting, and why it changes nothing."""

    name: Name
    reason: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """A setting, what it is for, and for whom it works."""

    path: Path
    purpose: str
    works: frozenset[Called]


_BATCHES: Final = frozenset({Called.BATCH, Called.ASYNC_BATCH, Called.LAMBDA})
_PROCESSES: Final = frozenset({Called.BATCH, Called.LAMBDA})

_RULES: Final = (
    _Rule(("handler_name",), "it is told to Lambda handlers", _PROCESSES),
    _Rule(("handler_timeout",), "it ends calls of batch and Lambda handlers", _BATCHES),
    _Rule(("handler_processes",), "plain batch handlers and Lambda handlers have processes", _PROCESSES),
    _Rule(("handler_threads",), "plain record handlers may have threads", frozenset({Called.RECORD})),
    _Rule(("handler_memory",), "it is told to Lambda handlers", _PROCESSES),
    _Rule(("batch", "parallelization_factor"), "lanes are for batch and Lambda handlers; records fail key by key", _BATCHES),
    _Rule(("batch", "bytes"), "it limits the events of Lambda handlers", frozenset({Called.LAMBDA})),
    _Rule(("retry", "bisect"), "it splits batches of batch and Lambda handlers", _BATCHES),
    _Rule(("retry", "report_batch_item_failures"), "it reads the answers of batch and Lambda handlers", _BATCHES),
)  # fmt: skip

_OF_WRITES: Final = (("sink", "mode"), ("sink", "fold"), ("sink", "depth"))


def without_effect(settings: Settings, called: Called) -> Iterator[WithoutEffect]:
    """Each of them that has another value than its default, in the order of the rules."""
    for rule in _RULES:
        if called not in rule.works:
            yield from _if_given(settings, rule.path, f"{rule.purpose}, and {called.value}")
    if settings.sink.table is None:
        for path in _OF_WRITES:
            yield from _if_given(settings, path, "sink.table names no table: headrace writes nothing")
    if not settings.filter.patterns:
        yield from _if_given(settings, ("filter", "non_json"), "filter.patterns holds none, so nothing is looked into")


def _if_given(settings: Settings, path: Path, reason: str) -> Iterator[WithoutEffect]:
    name = Name(path)
    value: Any = settings
    for part in path:
        value = getattr(value, part)
    if value != name.field.default:
        yield WithoutEffect(name, reason)
