"""What a record gives a handler."""

from decimal import Decimal

import msgspec
import pytest

from headrace import Record


def record(data: bytes) -> Record:
    return Record(data, "k", 1, 0.0)


def test_numbers_of_a_payload_keep_their_digits():
    """Money is no float."""
    assert record(b'{"a": 1.10, "b": 12345678901234567890}').json() == {"a": Decimal("1.10"), "b": 12345678901234567890}


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b'"\xff"', b"[" * 100_000], ids=["empty", "word", "no UTF-8", "deep"]
)
def test_whatever_is_no_json_raises_one_error(data):
    """A handler has one to catch."""
    with pytest.raises(msgspec.DecodeError, match=r"JSON|truncated|UTF-8|deeply"):
        record(data).json()
