"""The state of a window from one call to the next: told to the handler, taken from its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec
import structlog

from headrace.core.answers import PartialFailure, Success, WholeFailure
from headrace.core.windows import Windows
from headrace.flow.delivery.invoke import Invocation, Invoker
from headrace.model import WindowCall

log = structlog.get_logger(__name__)

NO_STATE: Final = "NoState"
"""The class of error that stands for an answer without a state; Lambda has no word for it."""


class StateCarrier:
    """Implements `lane_batch.Carrier`."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def call(self) -> WindowCall:
        """What a call that is not the last one is told."""
        return self._windows.call()

    def take(self, invocation: Invocation) -> Invocation:
        """Documented: an answer without `state` is a failed call, also of a partial success."""
        if isinstance(invocation.answer, Success | PartialFailure) and _state(invocation) is None:
            told = "with tumbling windows the answer has to be an object with a state, itself an object"
            return replace(invocation, answer=WholeFailure(NO_STATE, told))
        return invocation

    def carry(self, invocation: Invocation) -> None:
        """What it returned is the state from now on."""
        if (state := _state(invocation)) is not None:
            self._windows.carry(state)

    async def make_last_call(self, invoker: Invoker, *, is_early: bool) -> bool:
        """The call that ends the open window; whether it succeeded. Raises LeaseLost."""
        call = self._windows.call(is_final=True, is_early=is_early)
        invocation = await invoker.invoke([], call)
        if isinstance(invocation.answer, Success):
            return True
        error = invocation.answer.error if isinstance(invocation.answer, WholeFailure) else ""
        log.warning("window_not_ended", shard=call.shard_id, window_start_s=call.start_s, error=error)
        return False


def _state(invocation: Invocation) -> Mapping[str, Any] | None:
    returned = invocation.returned
    if isinstance(returned, bytes):
        try:
            returned = msgspec.json.decode(returned)
            msgspec.json.encode(returned)  # what cannot be written back (half a surrogate pair) is no state
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
    state = returned.get("state") if isinstance(returned, Mapping) else None
    return state if isinstance(state, Mapping) else None
