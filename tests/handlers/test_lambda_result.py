"""A Lambda handler's result as JSON. The table was recorded from awslambdaric 4.2.2 with simplejson 4.3."""

import collections
import datetime as dt
import json
from decimal import Decimal

import pytest

from headrace.handlers.lambda_result import LARGEST_RESULT, marshal
from headrace.handlers.outcomes import Crashed, Raised, Returned, TimedOut, Unserializable, error_of

SEQUENCE_NUMBER = "49590338271490256608559692538361571095921575989136588898"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "null"),
        ("", '""'),
        ([], "[]"),
        ({"batchItemFailures": [{"itemIdentifier": SEQUENCE_NUMBER}]}, None),
        ((1, 2.5, True), "[1, 2.5, true]"),
        ({1: "a", None: "b", False: "c"}, '{"1": "a", "null": "b", "false": "c"}'),
        ("é\ud800", '"\\u00e9\\ud800"'),
        (float("nan"), "NaN"),
        (Decimal("NaN"), "NaN"),
        (Decimal("-NaN"), "NaN"),
        (float("inf"), "Infinity"),
        ({"sum": Decimal("1.10")}, '{"sum": 1.1}'),
        (Decimal("1E+3"), "1000.0"),
        (Decimal(2**70), str(2**70)),
        ({"text": b"abc"}, '{"text": "abc"}'),
        (b'{"batchItemFailures":[]}', '{"batchItemFailures":[]}'),
        (b"", "null"),
        (collections.OrderedDict(a=1), '{"a": 1}'),
    ],
    ids=repr,
)
def test_what_lambda_can_send_is_sent(result, text):
    """The same values, read back, as from Lambda's own runtime."""
    assert marshal(result) == Returned((text or json.dumps(result)).encode())


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({1}, "Object of type set is not JSON serializable"),
        (dt.date(2020, 1, 1), "Object of type date is not JSON serializable"),
        ({(1, 2): 3}, "keys must be str, int, float, bool or None, not tuple"),
        ({"x": b"\xff"}, "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"abc", "bytes that are not JSON"),
    ],
    ids=repr,
)
def test_what_lambda_cannot_send_is_a_marshal_error(result, message):
    """With Lambda's type and words; only bytes that are not JSON fail later there, where they are read."""
    assert marshal(result) == Unserializable("Runtime.MarshalError", f"Unable to marshal response: {message}")


def test_a_result_that_holds_itself_is_a_marshal_error():
    """It would never end."""
    endless = []
    endless.append(endless)
    answer = marshal(endless)
    assert isinstance(answer, Unserializable)
    assert "Circular reference" in answer.message


def test_a_result_may_be_as_large_as_lambda_allows_and_no_larger():
    """The limit is on the encoded text."""
    assert isinstance(marshal("x" * (LARGEST_RESULT - 2)), Returned)
    assert marshal("x" * (LARGEST_RESULT - 1)) == Unserializable(
        "Function.ResponseSizeTooLarge",
        "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    )


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (Raised("KeyError", "'x'", "Traceback"), ("KeyError", "'x'")),
        (Unserializable("Runtime.MarshalError", "why"), ("Runtime.MarshalError", "why")),
        (TimedOut(3.0), ("Sandbox.Timedout", "Task timed out after 3.00 seconds")),
        (Crashed(exit_code=1), ("Runtime.ExitError", "Runtime exited with error: exit status 1")),
        (Crashed(exit_code=0), ("Runtime.ExitError", "Runtime exited without providing a reason")),
        (Crashed(signal="SIGKILL"), ("Runtime.ExitError", "Runtime exited with error: signal: SIGKILL")),
    ],
)
def test_every_failure_has_an_error_type_and_a_message_in_lambdas_words(failure, told):
    """For the dead letter and the destination's document."""
    assert error_of(failure) == told
