"""What comes of one call of a handler in a process of its own: a closed set of frozen values.

Those that the child process tells itself are tagged, so that `wire` carries them as they are. The words of
`error_of` are the ones that Lambda puts into its own error answers, for dead letters and the destinations' documents.
"""

from __future__ import annotations

from typing import Final, TypeAlias, assert_never

import msgspec

MARSHAL_ERROR: Final = "Runtime.MarshalError"
"""Lambda's error type for a result that is not JSON (awslambdaric, `FaultException.MARSHAL_ERROR`)."""

TOO_LARGE: Final = "Function.ResponseSizeTooLarge"
"""Lambda's error type for a result over its limit (developer guide, invocation errors)."""


class Returned(msgspec.Struct, frozen=True, tag="returned"):
    """The handler returned this JSON text, UTF-8. Like Lambda's it may hold NaN and Infinity, which `json` reads."""

    value_json: bytes


class Wrote(msgspec.Struct, frozen=True, tag="wrote"):
    """The batch handler returned writes: a list of Put and Delete, pickled, so that numbers and sets stay what they are."""

    effects: bytes


class Raised(msgspec.Struct, frozen=True, tag="raised"):
    """The handler raised; the traceback begins in the user's code. Message and traceback are cut where they are huge."""

    error_type: str
    message: str
    traceback: str
    was_out_of_memory: bool = False
    asks: str = ""
    """`reject` or `retry` where a batch handler raised headrace's own Reject or Retry."""
    after_s: float | None = None


class Unserializable(msgspec.Struct, frozen=True, tag="unserializable"):
    """The handler returned what cannot be an answer: `error_type` is MARSHAL_ERROR or TOO_LARGE."""

    error_type: str
    message: str


class TimedOut(msgspec.Struct, frozen=True):
    """The handler had not returned in time; its process was killed, so it may have done half of its work."""

    after_s: float


class Crashed(msgspec.Struct, frozen=True):
    """The process ended in the middle of the call: by itself with an exit code, or by a signal (its name)."""

    exit_code: int | None = None
    signal: str | None = None


Failure: TypeAlias = Raised | Unserializable | TimedOut | Crashed
Answer: TypeAlias = Returned | Wrote | Failure


def error_of(failure: Failure) -> tuple[str, str]:
    """The error's type and message, in Lambda's words."""
    match failure:
        case Raised() | Unserializable():
            return failure.error_type, failure.message
        case TimedOut():
            return "Sandbox.Timedout", f"Task timed out after {failure.after_s:.2f} seconds"
        case Crashed():
            return "Runtime.ExitError", _end(failure)
        case _:
            assert_never(failure)


def _end(crash: Crashed) -> str:
    if crash.signal is not None:
        return f"Runtime exited with error: signal: {crash.signal}"
    if crash.exit_code:
        return f"Runtime exited with error: exit status {crash.exit_code}"
    return "Runtime exited without providing a reason"
