"""Python values to attribute values: exact, complete, and refusing in words that name the place and no value."""

import enum
import json
import math
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headrace.core.items import ItemError, N, attributes, careful_attributes, decode_payload
from headrace.core.number_range import fits


def named(value: object) -> str:
    """The same in every process: the text of a set or of a long number does not name a test."""
    if isinstance(value, set | frozenset):
        return f"a set of {len(value)}: {', '.join(sorted(map(repr, value)))}"
    return "a whole number" if isinstance(value, int) else repr(value)


def wire(item, convert=attributes):
    """What DynamoDB would be sent, parsed again."""
    return json.loads(msgspec.json.encode(convert(item)))


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(str):
    __slots__ = ()


class Word2(enum.StrEnum):
    RED = "red"


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the plain kind is what is tested


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", {"S": "text"}),
        ("", {"S": ""}),
        ("zwölf €", {"S": "zwölf €"}),
        (7, {"N": "7"}),
        (-(10**38), {"N": "-1" + "0" * 38}),
        (True, {"BOOL": True}),
        (False, {"BOOL": False}),
        (None, {"NULL": True}),
        (1.5, {"N": "1.5"}),
        (0.1, {"N": "0.1"}),
        (1e22, {"N": "1e+22"}),
        (Decimal("1.10"), {"N": "1.10"}),
        (Decimal("1E+5"), {"N": "1E+5"}),
        (N("1.10"), {"N": "1.10"}),
        (b"\x00\xff", {"B": "AP8="}),
        (bytearray(b"\x00\xff"), {"B": "AP8="}),
        ([], {"L": []}),
        ([1, "a", [None]], {"L": [{"N": "1"}, {"S": "a"}, {"L": [{"NULL": True}]}]}),
        ((1, 2), {"L": [{"N": "1"}, {"N": "2"}]}),
        ({}, {"M": {}}),
        ({"a": {"b": True}}, {"M": {"a": {"M": {"b": {"BOOL": True}}}}}),
        ({"x"}, {"SS": ["x"]}),
        (frozenset({b"x"}), {"BS": ["eA=="]}),
        ({1}, {"NS": ["1"]}),
        ({Decimal("2.50")}, {"NS": ["2.50"]}),
        ({N("2.50")}, {"NS": ["2.50"]}),
        # subclasses and other kinds of the same
        (Word("text"), {"S": "text"}),
        (Word2.RED, {"S": "red"}),
        (Level.HIGH, {"N": "3"}),
        (OrderedDict(a=1), {"M": {"a": {"N": "1"}}}),
        (MappingProxyType({"a": 1}), {"M": {"a": {"N": "1"}}}),
        (Point(1, 2), {"L": [{"N": "1"}, {"N": "2"}]}),
        ([Level.HIGH, {"a": Word("b")}], {"L": [{"N": "3"}, {"M": {"a": {"S": "b"}}}]}),
        ({Word("x")}, {"SS": ["x"]}),
    ],
    ids=named,
)
def test_each_type_becomes_the_attribute_type_that_boto3_gives_it(value, expected):
    """The good path and the careful one agree, at the top and inside a map and a list."""
    for convert in (attributes, careful_attributes):
        assert wire({"a": value}, convert) == {"a": expected}
        assert wire({"a": {"b": [value]}}, convert) == {"a": {"M": {"b": {"L": [expected]}}}}


def test_a_set_of_several_numbers_keeps_each_text():
    """Numbers of different Python types may share a set."""
    assert sorted(wire({"a": {1, Decimal("2.50"), 3.5, N("4e1")}})["a"]["NS"]) == ["1", "2.50", "3.5", "4e1"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "NaN"),
        (math.inf, "infinity"),
        (Decimal("NaN"), "NaN"),
        (Decimal("-Infinity"), "infinity"),
        (set(), "empty set"),
        (frozenset(), "empty set"),
        ({"a", 1}, "only strings, only numbers or only bytes"),
        ({True, 2}, "only strings, only numbers or only bytes"),
        ({(1, 2)}, "only strings, only numbers or only bytes"),
        ({math.nan}, "NaN"),
        (datetime(2026, 1, 1, tzinfo=UTC), "isoformat"),
        (date(2026, 1, 1), "isoformat"),
        (time(1), "isoformat"),
        (Colour.RED, "no type for Colour"),
        pytest.param(object(), "no type for object", id="object"),
        (1j, "no type for complex"),
        (10**5000, "more than 38 digits"),
        (10**38 + 1, "more than 38 digits"),
        (N("1e400"), "beyond DynamoDB's range"),
        (Decimal("1E-131"), "beyond DynamoDB's range"),
        (1e126, "beyond DynamoDB's range"),
        ({10**39 + 1}, "more than 38 digits"),
    ],
    ids=named,
)
def test_what_dynamodb_has_no_type_for_is_refused_with_its_place(value, problem):
    """The message names path and type."""
    with pytest.raises(ItemError, match=r"attribute 'reading\.values\[1\]\.v'") as caught:
        attributes({"ok": 1, "reading": {"values": [0, {"v": value}]}})
    assert problem in str(caught.value)
    assert caught.value.path == "reading.values[1].v"


def test_a_refusal_never_tells_the_value():
    """Payloads do not leak into dead-letter reasons or logs."""
    with pytest.raises(ItemError) as caught:
        attributes({"card": {"secret-4111", 1}, "x": 1})
    assert "4111" not in str(caught.value)


def test_nesting_beyond_what_the_stack_or_dynamodb_takes_is_refused():
    """A document of a thousand levels is one bad item, not a crash."""
    deep = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ItemError, match="deeper than DynamoDB's 32 levels"):
        attributes({"a": deep})


def test_text_that_is_no_unicode_is_found_by_the_careful_walk():
    """An unpaired surrogate passes every type check and would fail only when the whole request is encoded."""
    for item, path in (({"a": {"b": "\ud800"}}, "a.b"), ({"a": {"\ud800": 1}}, "a")):
        with pytest.raises(ItemError, match="surrogate") as caught:
            careful_attributes(item)
        assert caught.value.path == path


def test_names_in_maps_are_strings_or_numbers():
    """Numbers as keys become text, as in JSON; anything else is refused."""
    assert wire({"a": {1: "x", 2.5: "y"}}, careful_attributes) == {"a": {"M": {"1": {"S": "x"}, "2.5": {"S": "y"}}}}
    assert wire({"a": {1: "x", 2.5: "y"}}) == wire({"a": {1: "x", 2.5: "y"}}, careful_attributes)
    for name in (None, True, (1, 2), b"x"):
        with pytest.raises(ItemError, match=f"a name in a map must be str, not {type(name).__name__}"):
            careful_attributes({"a": {name: 1}})


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40).filter(lambda number: fits(str(number)))
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: fits(str(number))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=25,
)


def plain(attribute):
    """Attribute values back to Python, by DynamoDB's own rules."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "N":
            return Decimal(value)
        case "NULL":
            return None
        case "L":
            return [plain(inner) for inner in value]
        case "M":
            return {name: plain(inner) for name, inner in value.items()}


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=6))
def test_what_is_stored_means_what_was_given(item):
    """Read back by DynamoDB's rules, every item equals itself; the careful walk says the same."""
    assert {name: plain(value) for name, value in wire(item).items()} == item
    assert wire(item, careful_attributes) == wire(item)


DIGITS = st.text("0123456789", min_size=1, max_size=12)


@given(st.integers(-(10**30), 10**30), DIGITS, st.integers(-120, 100) | st.none())
def test_a_json_number_keeps_its_text(whole, fraction, exponent):
    """Digits, trailing zeros and the exponent's spelling all survive; no float is ever made."""
    text = f"{whole}.{fraction}" + ("" if exponent is None else f"E{exponent:+}")
    assume(fits(text) and fits(str(whole)))
    assert wire(decode_payload(f'{{"a":{text},"b":[{whole}]}}'.encode())) == {
        "a": {"N": text},
        "b": {"L": [{"N": str(whole)}]},
    }


@pytest.mark.parametrize("payload", [b"[1]", b"7", b"", b"{", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":1}x'])
def test_a_payload_that_is_no_json_object_is_refused(payload):
    """The errors are msgspec's, and Python's own for bytes that are no UTF-8."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_payload(payload)
