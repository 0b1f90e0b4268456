"""What each write mode of the sink carries, and why it does not carry the rest.

A mode promises what a repeat of a record does, so it takes only operations of which it can keep that promise: `put` and
`insert` repeat whole items, `latest` compares an order that is stored in the item, and only `transactional`, which moves
the checkpoint along, can repeat nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from headrace.operations import Delete, Effect, Increment, Put, Update

Operation: TypeAlias = type[Put] | type[Delete] | type[Update] | type[Increment]


class WriteMode(StrEnum):
    """`sink.mode`."""

    PUT = "put"
    INSERT = "insert"
    LATEST = "latest"
    TRANSACTIONAL = "transactional"


CARRIED: Final[Mapping[WriteMode, frozenset[Operation]]] = {
    WriteMode.PUT: frozenset({Put, Delete}),
    WriteMode.INSERT: frozenset({Put}),
    WriteMode.LATEST: frozenset({Put}),
    WriteMode.TRANSACTIONAL: frozenset({Put, Delete, Update, Increment}),
}

_WHY: Final[Mapping[WriteMode, str]] = {
    WriteMode.PUT: "a repeat of the record would do it again",
    WriteMode.INSERT: "it only adds items, and a repeat must find them as they are",
    WriteMode.LATEST: "it needs the whole item, with the order that a newer record is compared by",
    WriteMode.TRANSACTIONAL: "",
}


class NotCarried(ValueError):  # noqa: N818 - a refusal of the record, with the mend
    """The write mode does not carry this operation."""


def insist(effect: Effect, mode: WriteMode) -> None:
    """Raises NotCarried for an operation that the mode does not carry."""
    if type(effect) not in CARRIED[mode]:
        raise NotCarried(not_carried(type(effect), mode))
    if mode is not WriteMode.TRANSACTIONAL and getattr(effect, "condition", None) is not None:
        raise NotCarried(f"mode {mode} takes no condition of yours; HEADRACE_SINK_MODE=transactional does")


def not_carried(operation: Operation, mode: WriteMode) -> str:
    """Why the mode does not carry this operation, and which one does."""
    others = " or ".join(f"{other}" for other, carried in CARRIED.items() if operation in carried)
    return f"mode {mode} carries no {operation.__name__}: {_WHY[mode]}; HEADRACE_SINK_MODE={others} does"
