"""The root logger as a Lambda handler finds it: with a handler on it already, which writes to standard output.

Many handlers only set the root logger's level and rely on that. The line's form follows `AWS_LAMBDA_LOG_FORMAT` (Text or
JSON), the level `AWS_LAMBDA_LOG_LEVEL`; both as in awslambdaric (`bootstrap`, `lambda_runtime_log_utils`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from typing import Any, Final

_TEXT: Final = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
_TIME: Final = "%Y-%m-%dT%H:%M:%S"

_KNOWN: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "aws_request_id", "message", "asctime", "taskName"},
)
"""Attributes of a log record that are not the caller's `extra`; taskName is new in Python 3.12."""


class RequestStamp(logging.Filter):
    """Puts the current call's request id on every log record; `request_id` is empty between the calls."""

    request_id = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp it and let it pass."""
        record.aws_request_id = self.request_id
        return True


def set_up_logging() -> RequestStamp:
    """Set up the root logger; gives what has to be told each call's request id."""
    logging.Formatter.converter = time.gmtime
    as_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLine(datefmt=_TIME) if as_json else logging.Formatter(_TEXT, _TIME))
    stamp = RequestStamp()
    handler.addFilter(stamp)
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper().replace("TRACE", "DEBUG")
    if level in logging.getLevelNamesMapping():
        root.setLevel(level)
    return stamp


class _JsonLine(logging.Formatter):
    """One JSON object a line, with the field names of Lambda's own."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {
            "timestamp": f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            **_failure(record),
            "requestId": getattr(record, "aws_request_id", ""),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _KNOWN and name not in facts}
        return json.dumps({**facts, **extra}, ensure_ascii=False, default=str)


def _failure(record: logging.LogRecord) -> dict[str, Any]:
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    kind, error, trace = record.exc_info
    return {
        "stackTrace": traceback.format_tb(trace),
        "errorType": kind.__name__,
        "errorMessage": str(error),
        "location": f"{record.pathname}:{record.funcName}:{record.lineno}",
    }
