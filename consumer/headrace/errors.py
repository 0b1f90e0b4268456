"""The error family. The first split is whose fault it is: the user's settings, the user's handler, AWS, or the lease.

Foreign errors are translated into these once, at the edge, with the original chained as the cause.
"""

from __future__ import annotations

from datetime import timedelta


class HeadraceError(Exception):
    """Anything headrace itself raises."""


class SettingsError(HeadraceError):
    """The user's to mend, found before anything starts: exit code 2 and one line.

    `setting` is its name as the user wrote it (environment variable, file key or option), `value` what it held.
    """

    def __init__(self, setting: str, value: object, problem: str, mend: str) -> None:
        shown = "" if value is None else f" = {value!r}"
        super().__init__(f"{setting}{shown}: {problem}. {mend}")
        self.setting = setting
        self.value = value
        self.problem = problem
        self.mend = mend


# --- the handler's two signals ---------------------------------------------------------------------------------------


class Reject(Exception):
    """Raised by a handler: bury this record now, with this reason; no further attempt."""

    def __init__(self, reason: object) -> None:
        self.reason = str(reason)
        super().__init__(self.reason)


class Retry(Exception):
    """Raised by a handler: call me again with this record, not before `after` (None: the usual backoff).

    Spends an attempt like any other failure. `after` is a timedelta, or seconds.
    """

    def __init__(self, after: timedelta | float | None = None) -> None:
        if isinstance(after, int | float):
            after = timedelta(seconds=after)
        if after is not None and not isinstance(after, timedelta):
            raise TypeError(f"Retry takes a timedelta or seconds, not {type(after).__name__}")
        super().__init__(f"retry after {after}" if after is not None else "retry")
        self.after = after


class CallFailed(HeadraceError):
    """A call of user code in another process failed; `error` is the class of the error there, `message` its text."""

    def __init__(self, error: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{error}: {message}")
        self.error = error
        self.message = message
        self.traceback = traceback


class NotCalled(HeadraceError):
    """User code was not run at all, for a reason that is not its own: never counted against a record."""


# --- AWS --------------------------------------------------------------------------------------------------------------


class AwsError(HeadraceError):
    """AWS said no, or said nothing. The message names the service, the operation and AWS's own words."""


class Retryable(AwsError):
    """Worth another try later; never counted against a record."""


class Throttled(Retryable):
    """Refused for rate or capacity; certainly not applied."""


class Unavailable(Retryable):
    """A timeout, a broken connection or a 5xx: the request may have been applied, or may yet be."""


class IteratorExpired(Retryable):
    """The shard iterator is no longer valid: take a new one at the same position."""


class SubscriptionTaken(Retryable):
    """The shard was subscribed to less than 5 seconds ago, or its consumer is not active yet: read it another way meanwhile."""


class Denied(AwsError):
    """The credentials lack a permission, or are invalid."""


class NotFound(AwsError):
    """The stream, shard, consumer or table is not there."""


class Rejected(AwsError):
    """The request itself is wrong (validation): sending it again changes nothing."""


# --- leases -----------------------------------------------------------------------------------------------------------


class LeaseLost(HeadraceError):
    """This worker no longer holds the shard: stop at once, write nothing more under this epoch."""


class Fenced(HeadraceError):
    """Another worker marked this incarnation dead: drop every lease and start as a new incarnation."""


class OrderLost(HeadraceError):
    """The stream spreads records without regard to their partition keys: there is no order to keep."""


class StreamReplaced(HeadraceError):
    """The stream has another creation time than the one the leases were made for: it is another stream."""
