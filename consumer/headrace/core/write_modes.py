"""What each write mode of the sink carries, and why it does not carry the rest.

A mode promises what a repeat of a record does, so it takes only operations of which it can keep that promise.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from headrace.operations import Effect, Put


class WriteMode(StrEnum):
    """`sink.mode`."""

    PUT = "put"
    INSERT = "insert"
    LATEST = "latest"


WHY_NO_DELETE: Final[Mapping[WriteMode, str]] = {
    WriteMode.INSERT: "an older record that is repeated would bring the item back",
    WriteMode.LATEST: "with the item its order would be gone, and an older record would bring it back; "
    "Put an item that says it is deleted, with an expiry",
}


class NotCarried(ValueError):  # noqa: N818 - a refusal of the record, with the mend
    """The write mode does not carry this operation."""


def insist(effect: Effect, mode: WriteMode) -> None:
    """Raises NotCarried for an operation that the mode does not carry."""
    if mode in WHY_NO_DELETE and not isinstance(effect, Put):
        raise NotCarried(f"HEADRACE_SINK_MODE={mode} carries no {type(effect).__name__}: {WHY_NO_DELETE[mode]}")
