"""What a handler may return."""

import pytest

from headrace.core.effects import effects_of
from headrace.operations import Delete, Put


@pytest.mark.parametrize(
    ("answer", "effects"),
    [
        (None, []),
        ([], []),
        ({"a": 1}, [Put({"a": 1})]),
        (Put({"a": 1}, "other"), [Put({"a": 1}, "other")]),
        ([{"a": 1}, None, Delete({"a": 2})], [Put({"a": 1}), Delete({"a": 2})]),
        ((Put({"a": 1}), [Put({"a": 2})]), [Put({"a": 1}), Put({"a": 2})]),
    ],
)
def test_every_documented_answer_is_understood(answer, effects):
    """In the order in which it was given."""
    assert list(effects_of(answer)) == effects


@pytest.mark.parametrize("answer", ["text", b"bytes", 1, True, {"a"}, object()])
def test_any_other_answer_is_the_records_failure_and_says_what_is_allowed(answer):
    """A string is no sequence of writes."""
    with pytest.raises(TypeError, match="returns Put, Delete, a dict"):
        list(effects_of(answer))
