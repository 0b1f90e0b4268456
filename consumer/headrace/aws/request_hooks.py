"""What botocore's clients tell of their calls, by its public events: each is a part of the trace that it is made in.

Calls that are made in no trace (polls, heartbeats, checkpoints) are not traced: they would bury the others. A call includes
the tries that the client makes by itself; one that is cancelled tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiobotocore.session import AioSession

from headrace.traces import Trace, Traces

_TRACE: Final = "headrace-trace"
"""Where a call's trace is in the context that botocore hands from event to event."""


@dataclass(frozen=True, slots=True)
class TracedCalls:
    """Attached to a session, it traces the calls of every client made from then on."""

    traces: Traces

    def attach(self, session: AioSession) -> None:
        """Listen to the events of the session's clients to be."""
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
