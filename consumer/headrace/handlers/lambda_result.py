"""A handler's result as JSON, as Lambda's own runtime makes it (awslambdaric 4.2, `lambda_runtime_marshaller`).

Decimals become numbers and bytes inside a result become text; sets, dates and anything else are errors; NaN stays NaN.
What is returned as bytes is sent as it is, for it may be JSON already. Two things are different and harmless for a batch's
answer: a named tuple becomes a list, there an object; and a key that is bytes is an error, there text.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, Final

from headrace.handlers.outcomes import MARSHAL_ERROR, TOO_LARGE, Returned, Unserializable

LARGEST_RESULT: Final = 6_291_556
"""Bytes of a synchronous response: 6 MB and 100 bytes, the number in Lambda's own error message."""


def marshal(result: Any) -> Returned | Unserializable:
    """The answer that carries the result, or says why none can."""
    try:
        text = _as_it_is(result) if isinstance(result, bytes) else _encode(result).encode()
    except Exception as error:  # noqa: BLE001 - a result may be any object, and its code may raise anything
        return Unserializable(MARSHAL_ERROR, f"Unable to marshal response: {error}")
    if len(text) > LARGEST_RESULT:
        limit = f"exceeded maximum allowed payload size ({LARGEST_RESULT} bytes)"
        return Unserializable(TOO_LARGE, f"Response payload size {limit}.")
    return Returned(text)


def _as_it_is(result: bytes) -> bytes:
    if not result:
        return b"null"
    try:
        json.loads(result)
    except ValueError:
        raise TypeError("bytes that are not JSON") from None
    return result


def _plain(value: Any) -> Any:
    """What `json` has no way to write itself."""
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _number(value: Decimal) -> int | float:
    """What a JSON parser reads where Lambda's runtime writes the Decimal's digits."""
    if value.is_nan():
        return math.nan
    number = json.loads(str(value))
    return number if isinstance(number, int) else float(number)


_encode: Final = json.JSONEncoder(default=_plain).encode
