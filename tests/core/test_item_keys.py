"""When two items are the same item."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.item_keys import key_of, stored_key
from headrace.core.items import ItemError, N, attributes
from headrace.core.number_range import fits


def test_numbers_are_one_key_whatever_their_spelling():
    """DynamoDB compares by value."""
    spellings = [1, 1.0, Decimal("1.00"), N("1"), N("1.0"), N("10E-1"), Decimal("0.1E1")]
    assert len({key_of({"pk": spelling}, ("pk",)) for spelling in spellings}) == 1


def test_a_float_is_the_number_its_text_says():
    """0.1 is written as 0.1, so it is the key 0.1 and not the nearest binary fraction."""
    assert key_of({"pk": 0.1}, ("pk",)) == key_of({"pk": N("0.1")}, ("pk",))


def test_types_are_different_keys():
    """The string 1, the bytes 1 and the number 1 never meet."""
    assert len({key_of({"pk": value}, ("pk",)) for value in ("1", b"1", 1)}) == 3


def test_numbers_beyond_float_precision_are_told_apart():
    """2**53 and 2**53 + 1 are two items."""
    assert key_of({"pk": 2**53}, ("pk",)) != key_of({"pk": 2**53 + 1}, ("pk",))


def test_only_key_attributes_count_and_in_schema_order():
    """Other attributes do not matter; ("a", "b") is not ("b", "a")."""
    assert key_of({"sk": "b", "pk": "a", "x": 1}, ("pk", "sk")) == ("a", "b")
    assert key_of({"pk": "b", "sk": "a"}, ("pk", "sk")) == ("b", "a")


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({}, "missing"),
        ({"pk": None}, "missing"),
        ({"pk": True}, "not bool"),
        ({"pk": ["secret"]}, "not list"),
        ({"pk": float("nan")}, "NaN"),
        ({"pk": Decimal("Infinity")}, "NaN nor infinity"),
        ({"pk": N("NaN")}, "NaN"),
        ({"pk": Decimal("sNaN")}, "NaN"),
        ({"pk": N("secret")}, "not a number"),
    ],
    ids=str,
)
def test_what_cannot_be_a_key_is_refused_by_name(item, problem):
    """The message names the attribute, not its value."""
    with pytest.raises(ItemError, match="attribute 'pk'") as caught:
        key_of(item, ("pk",))
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


KEY_VALUES = (
    st.text()
    | st.binary()
    | st.integers(-(10**38), 10**38)
    | st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: fits(str(number)))
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: fits(repr(number)))
)


@given(KEY_VALUES, KEY_VALUES)
def test_the_key_that_comes_back_is_the_key_that_was_sent(first, second):
    """An unprocessed item is recognised whatever the spelling DynamoDB returns it in."""
    item = {"pk": first, "sk": second}
    answer = json.loads(msgspec.json.encode(attributes(item)))
    assert stored_key(answer, ("pk", "sk")) == key_of(item, ("pk", "sk"))
    for value in answer.values():
        if "N" in value:
            value["N"] = format(Decimal(value["N"]).normalize(), "E") if len(value["N"]) < 28 else value["N"]
    assert stored_key(answer, ("pk", "sk")) == key_of(item, ("pk", "sk"))


def test_an_answer_without_the_key_is_refused():
    """An answer that is out of shape is an error, not a key."""
    with pytest.raises(ItemError):
        stored_key({"pk": {"BOOL": True}}, ("pk",))
