"""What each write mode of the sink carries, and why it does not carry the rest.

A mode promises what a repeat of a record does, so it takes only operations of which it can keep that promise: `put` and
`insert` repeat whole items, `latest` compares an order that is stored in the item, and only `transactional`, which moves
the checkpoint along, repeats nothing at all.
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

WHY_NO_DELETE: Final[Mapping[WriteMode, str]] = {
    WriteMode.INSERT: "an older record that is repeated would bring the item back",
    WriteMode.LATEST: "with the item its order would be gone, and an older record would bring it back; "
    "Put an item that says it is deleted, with an expiry",
}

WHY_NO_CHANGE: Final = "a record that is repeated would do it again; HEADRACE_SINK_MODE=transactional carries it"


class NotCarried(ValueError):  # noqa: N818 - a refusal of the record, with the mend
    """The write mode does not carry this operation."""


def insist(effect: Effect, mode: WriteMode) -> None:
    """Raises NotCarried for an operation that the mode does not carry."""
    if type(effect) not in CARRIED[mode]:
        raise NotCarried(not_carried(type(effect), mode))
    if mode is not WriteMode.TRANSACTIONAL and getattr(effect, "condition", None) is not None:
        raise NotCarried(
            f"HEADRACE_SINK_MODE={mode} carries no {type(effect).__name__} with a condition; "
            "HEADRACE_SINK_MODE=transactional carries it"
        )


def not_carried(operation: Operation, mode: WriteMode) -> str:
    """Why the mode does not carry this operation."""
    why = WHY_NO_DELETE.get(mode, WHY_NO_CHANGE) if operation is Delete else WHY_NO_CHANGE
    return f"HEADRACE_SINK_MODE={mode} carries no {operation.__name__}: {why}"
