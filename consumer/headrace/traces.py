"""What the flow and the AWS edge tell to whoever traces them. `Ports.traces` is None unless tracing is on: then nobody is told.

No part of a trace holds a payload, nor the text of an error, which may quote one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self

from headrace.model import Record

FLUSH_S: Final = 3.0
"""What the last spans may take of a stop, and so of the shutdown timeout."""


class Trace(Protocol):
    """A piece of work from its beginning to its end. As a context it is the current one, and ends with it.

    What is raised within a context fails it, except for a cancellation.
    """

    def __enter__(self) -> Self:
        """Make it the current one."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End it."""

    def here(self) -> AbstractContextManager[None]:
        """What runs within belongs to it; it goes on afterwards."""

    def begin(self, part: str) -> Trace:
        """A part of it."""

    @property
    def whole(self) -> Trace:
        """What it is a part of; itself if it is no part."""

    def fail(self, error: str) -> None:
        """It failed, and so did what it is a part of; `error` is a class of errors or a code."""

    def end(self) -> None:
        """It is over; the first time counts."""


class Traces(Protocol):
    """Where traces begin."""

    def batch(self, records: Sequence[Record]) -> Trace:
        """The handling of records of one shard, linked to the traces that their producers began."""

    def current(self) -> Trace | None:
        """The one that is current here, if there is one."""

    def request(self, service: str, operation: str, of: Iterable[Trace | None]) -> Trace:
        """A request to AWS for the sake of others: a part of the first one, linked to the rest."""
