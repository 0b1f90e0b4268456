"""The `context` of a Lambda handler, with the attributes and methods of awslambdaric's `LambdaContext`."""

from __future__ import annotations

import os
import sys
import time
from typing import Final


class CognitoIdentity:
    """Who called: nobody, for a stream."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self) -> None:
        self.cognito_identity_id: str | None = None
        self.cognito_identity_pool_id: str | None = None

    def __repr__(self) -> str:
        return _shown(self, self.__slots__)


class LambdaContext:
    """What a handler is told about its call. Names and sizes come from the environment, as text, as in Lambda."""

    def __init__(self, request_id: str, function_arn: str, limit_s: float) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = function_arn
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = CognitoIdentity()
        self.client_context = None
        self.tenant_id = None
        self._deadline_s = _now_s() + limit_s

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the call is cut off; 0 at the end."""
        return max(0, int((self._deadline_s - _now_s()) * 1000))

    def w3c(self) -> dict[str, str]:
        """The trace context of the call: none, for a stream."""
        return {}

    def log(self, msg: object) -> None:
        """Write to the log, without a line's end of its own."""
        sys.stdout.write(str(msg))
        sys.stdout.flush()

    def __repr__(self) -> str:
        return _shown(self, SHOWN)


SHOWN: Final = (
    "aws_request_id",
    "log_group_name",
    "log_stream_name",
    "function_name",
    "memory_limit_in_mb",
    "function_version",
    "invoked_function_arn",
    "client_context",
    "identity",
    "tenant_id",
)


def _shown(value: object, names: tuple[str, ...]) -> str:
    fields = ",".join(f"{name}={getattr(value, name)}" for name in names)
    return f"{type(value).__name__}([{fields}])"


def _now_s() -> float:
    return time.monotonic()  # noqa: TID251 - in the handler's own process, which has no clock injected
