"""What botocore's clients tell of their calls, by its public events: how long each took, and in which trace it was made.

A call includes the tries that the client makes by itself; one that is cancelled tells nothing. The signed channel is not
botocore's: `aws/timed_channel.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias

from aiobotocore.session import AioSession

from headrace.model import Instant
from headrace.ports import Clock
from headrace.traces import Trace, Traces

_BEGUN: Final = "headrace-begun"
_TRACE: Final = "headrace-trace"
"""Where these are in the context that botocore hands from event to event of one call."""

Took: TypeAlias = Callable[[str, str, float], None]
"""Is told service, operation and seconds of a call."""


class CallHooks(Protocol):
    """Listens to the calls of every client that a session makes from then on."""

    def attach(self, session: AioSession) -> None:
        """Begin to listen."""


@dataclass(frozen=True, slots=True)
class TimedCalls:
    """Tells how long calls take, those too that fail."""

    took: Took
    clock: Clock

    def attach(self, session: AioSession) -> None:
        """Listen to the events of the session's clients to be."""
        session.register("before-call", self._begun)
        session.register("after-call", self._over)
        session.register("after-call-error", self._over)

    def _begun(self, *, model: Any, context: dict[str, Any], **_: object) -> None:
        context[_BEGUN] = (model.service_model.service_name, model.name, self.clock.now())

    def _over(self, *, context: dict[str, Any], **_: object) -> None:
        begun: tuple[str, str, Instant] | None = context.pop(_BEGUN, None)
        if begun is not None:
            service, operation, at = begun
            self.took(service, operation, self.clock.now() - at)


@dataclass(frozen=True, slots=True)
class TracedCalls:
    """Makes each call a part of the trace that it is made in.

    Calls that are made in no trace (polls, heartbeats, checkpoints) are not traced: they would bury the others.
    """

    traces: Traces

    def attach(self, session: AioSession) -> None:
        """Likewise."""
        session.register("before-call", self._begun)
        session.register("after-call", self._answered)
        session.register("after-call-error", self._unanswered)

    def _begun(self, *, model: Any, context: dict[str, Any], **_: object) -> None:
        if (current := self.traces.current()) is not None:
            context[_TRACE] = self.traces.request(model.service_model.service_name, model.name, (current,))

    def _answered(self, *, http_response: Any, parsed: Any, context: dict[str, Any], **_: object) -> None:
        trace: Trace | None = context.pop(_TRACE, None)
        if trace is None:
            return
        if http_response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            trace.fail(parsed.get("Error", {}).get("Code") or str(http_response.status_code))
        trace.end()

    def _unanswered(self, *, exception: Exception, context: dict[str, Any], **_: object) -> None:
        trace: Trace | None = context.pop(_TRACE, None)
        if trace is not None:
            trace.fail(type(exception).__name__)
            trace.end()
