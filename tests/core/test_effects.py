"""What a handler may return."""

import pytest

from headrace.core.effects import effects_of
from headrace.operations import Condition, Delete, Increment, Put, Update


@pytest.mark.parametrize(
    ("answer", "effects"),
    [
        (None, []),
        ([], []),
        ({"a": 1}, [Put({"a": 1})]),
        (Put({"a": 1}, "other"), [Put({"a": 1}, "other")]),
        ([{"a": 1}, None, Delete({"a": 2})], [Put({"a": 1}), Delete({"a": 2})]),
        ((Put({"a": 1}), [Put({"a": 2})]), [Put({"a": 1}), Put({"a": 2})]),
        (
            [Increment({"a": 1}, {"n": 1}), Update({"a": 1}, remove=["b"])],
            [Increment({"a": 1}, {"n": 1}), Update({"a": 1}, remove=["b"])],
        ),
    ],
)
def test_every_documented_answer_is_understood(answer, effects):
    """In the order in which it was given."""
    assert list(effects_of(answer)) == effects


@pytest.mark.parametrize("answer", ["text", b"bytes", 1, True, {"a"}, object()])
def test_any_other_answer_is_the_records_failure_and_says_what_is_allowed(answer):
    """A string is no sequence of writes."""
    with pytest.raises(TypeError, match="returns Put, Delete, Update, Increment, a dict"):
        list(effects_of(answer))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Put("text"), "Put takes a dict of attributes as item; this one has str"),
        (Delete({"a": 1}, 7), "Delete takes the name of a table as table; this one has int"),
        (Put({"a": 1}, condition="attribute_exists(a)"), "Put takes a Condition as condition; this one has str"),
        (Update({"a": 1}, {"b": 1}, remove="b"), "Update takes a list of names as remove; this one has str"),
        (Update({"a": 1}), "Update changes nothing"),
        (Update({"a": 1}, {"b": 1}, {"b": 1}), "Update names an attribute twice"),
        (Increment({"a": 1}, {}), "Increment changes nothing"),
        (Increment({"a": 1}, "n"), "Increment takes a dict of attributes as by; this one has str"),
    ],
)
def test_an_operation_made_of_the_wrong_parts_is_the_records_failure_and_says_which(answer, told):
    """Users' code need not have been type-checked."""
    with pytest.raises(TypeError, match=told):
        list(effects_of(answer))


def test_a_condition_stands_beside_the_operation():
    """Placeholders and stand-ins are what DynamoDB takes them for."""
    put = Put({"a": 1}, condition=Condition("#a < :b", {":b": 2}, {"#a": "a"}))
    assert list(effects_of(put)) == [put]
