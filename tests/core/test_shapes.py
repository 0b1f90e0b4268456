"""Payloads of a known shape: what comes out without decoding is what comes out with it."""

import json
import re
from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.items import attributes, decode_payload
from headrace.core.shapes import BETWEEN, MOST_SHAPES, REST, WINDOW, Layout, Shapes, shape_of

READING = {
    "id": "d-1",
    "text": "Zürich, 大阪 100 %s",
    "whole": 7,
    "exact": 1.5,
    "yes": True,
    "nothing": None,
    "place": {"lat": 47.25, "name": "É", "more": {}},
    "list": [1, "two", {"three": 3.0}, [], [False]],
}

UNUSUAL = re.compile(rb"[-+.0-9]{27}|[0-9][eE][-+]?[0-9]{3}")
"""Numbers that are long, or far from one."""

text = st.text(st.sampled_from('abé大%:,"\\ \x00\x7f'), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | text | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)
payloads = st.dictionaries(text, values, min_size=1, max_size=5)
styles = st.sampled_from([(",", ":"), (", ", ": ")])


def encoded(payload, separators=(",", ":")):
    return json.dumps(payload, ensure_ascii=False, separators=separators).encode()


def shape(data, *wanted, layout=Layout.ITEM):
    return shape_of(data, decode_payload(data), wanted, layout)


def exact(value):
    """Numbers by value, for -0 and 0 are one."""
    match value:
        case {"N": number}:
            return Decimal(number)
        case dict():
            return {name: exact(inner) for name, inner in value.items()}
        case list():
            return [exact(inner) for inner in value]
        case _:
            return value


def by_shape(known, data):
    """The item's JSON as the shape gives it, or None."""
    found = known.read(data)
    return None if found is None else exact(json.loads(b"{%b}" % found[1], object_pairs_hook=once))


def once(pairs):
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def values_by_shape(known, data):
    """The same, of the names and the values beside them."""
    found = known.read(data)
    return (
        None
        if found is None
        else dict(zip(found[2], map(exact, map(json.loads, found[1].split(BETWEEN))), strict=True))
    )


def by_hand(data):
    """The same the ordinary way. Raises what that raises."""
    return exact(json.loads(msgspec.json.encode(attributes(decode_payload(data)))))


def test_the_next_payload_of_a_shape_comes_out_as_it_would_the_ordinary_way():
    """Other values in the same places, the order of the fields included."""
    known = shape(encoded(READING))
    other = encoded({**READING, "id": "", "whole": -12345678901234567890123, "exact": -1e-7, "yes": False})
    assert by_shape(known, other) == by_hand(other)


@given(payloads, styles)
@example(READING, (", ", ": "))
def test_a_shape_reads_the_payload_that_it_was_made_of(payload, separators):
    """Unless there are escapes in it, or numbers that DynamoDB may not take: no shape has them."""
    data = encoded(payload, separators)
    known = shape(data)
    if known is None:
        assert b"\\" in data or UNUSUAL.search(data)
    else:
        assert by_shape(known, data) == by_hand(data)
        assert values_by_shape(shape(data, layout=Layout.VALUES), data) == by_hand(data)


@given(payloads, payloads)
def test_a_payload_of_another_shape_is_not_read_wrong(payload, other):
    """It is not read at all, or it is read as it is."""
    for layout, read_by in ((Layout.ITEM, by_shape), (Layout.VALUES, values_by_shape)):
        known = shape(encoded(payload), layout=layout)
        found = known and read_by(known, encoded(other))
        assert found is None or found == by_hand(encoded(other))


def test_the_names_beside_the_values_end_with_those_that_are_added():
    """In the order in which a statement takes both."""
    data = encoded({"b": 1, "a": "x"})
    found = shape_of(data, decode_payload(data), [], Layout.VALUES, ("pk", "at")).read(data)
    assert found == ({}, b'{"N":"1"}\0{"S":"x"}', ("b", "a", "pk", "at"))


SPOILERS = [
    b'"',
    b"\\",
    b"\n",
    b"\x00",
    b"\x1f",
    b"\x7f",
    b"0",
    b"-",
    b"+",
    b".",
    b"e",
    b",",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
]
SPOILERS += [
    b" ",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"1e999",
    b"9" * 400,
    b"9" * 4400,
    b"null",
    b'","x":"',
]


@given(st.integers(0, 400), st.integers(0, 3), st.sampled_from(SPOILERS))
@example(encoded(READING).index(b"7"), 0, b"0")
@example(encoded(READING).index(b"d-1"), 0, b"\n")
@example(encoded(READING).index(b"d-1"), 0, b"\xff")
@example(encoded(READING).index(b"d-1"), 0, b"\\u00e9")
def test_a_spoiled_payload_is_not_read_wrong(place, length, spoiler):
    """Whatever a shape takes, the ordinary way takes too, and gives the same."""
    data = encoded(READING)
    known = shape(data)
    spoiled = data[:place] + spoiler + data[place + length :]
    found = by_shape(known, spoiled)
    assert found is None or found == by_hand(spoiled)


def test_wanted_fields_come_apart_as_the_decoder_gives_them():
    """Also from inside of objects, and numbers digit for digit."""
    data = encoded(READING)
    paths = [("id",), ("whole",), ("yes",), ("place", "name"), ("place", "lat")]
    fields, *_ = shape(data, *paths).read(data)
    whole = decode_payload(data)
    assert fields == {
        "id": "d-1",
        "whole": 7,
        "yes": True,
        "place": {"name": "É", "lat": whole["place"]["lat"]},
    }


@pytest.mark.parametrize("path", [("none",), ("nothing",), ("place",), ("list",), ("place", "none")])
def test_without_a_wanted_value_there_is_no_shape(path):
    """The ordinary way says what is wrong with it."""
    assert shape(encoded(READING), path) is None


def test_an_empty_payload_and_an_endless_one_have_no_shape():
    """The one gives nothing to add to, the other takes too long to compile."""
    assert shape(b"{}") is None
    assert shape(encoded({"list": list(range(1000))})) is None
    assert shape(b'{"deep":' + b"[" * 500 + b"]" * 500 + b"}") is None


# --- what is known ----------------------------------------------------------------------------------------------------


def read(shapes, payload):
    data = encoded(payload)
    found = shapes.read(data)
    if found is None:
        shapes.learn(data, decode_payload(data))
    return found is not None


def test_the_second_payload_of_a_stream_is_read():
    """One is enough to learn from."""
    shapes = Shapes([], ())
    assert [read(shapes, READING) for _ in range(3)] == [False, True, True]


def test_shapes_that_take_turns_are_all_read():
    """Within as many as are kept."""
    shapes = Shapes([], ())
    kinds = [{"kind": {f"k{kind}": "x"}} for kind in range(MOST_SHAPES)]
    for _ in range(200):
        for kind in kinds:
            read(shapes, kind)
    assert all(read(shapes, kind) for kind in kinds)


def test_a_payload_that_has_an_attribute_which_is_made_has_no_shape():
    """It would stand there twice."""
    shapes = Shapes([], ("id",))
    assert not any(read(shapes, READING) for _ in range(3))


def test_a_stream_without_shapes_is_left_alone(monkeypatch):
    """Lessons become rarer, and after a window without success nobody looks for a long while."""
    lessons = []
    monkeypatch.setattr("headrace.core.shapes.shape_of", lambda *_: lessons.append(1))
    shapes = Shapes([], ())
    for number in range(WINDOW + REST):
        read(shapes, {f"n{number}": 1})
    assert len(lessons) == 9  # after 1, 2, 4, ... 256 more payloads
    monkeypatch.undo()
    assert not read(shapes, READING)
    for _ in range(2000):
        read(shapes, READING)
    assert read(shapes, READING)


def test_of_many_shapes_the_one_seen_longest_ago_is_forgotten():
    """The frequent ones stay."""
    shapes = Shapes([], ())
    kinds = [{"kind": {f"k{kind}": "x"}} for kind in range(MOST_SHAPES + 1)]
    for _ in range(2000):
        for kind in kinds[:-1]:
            read(shapes, kind)
        read(shapes, kinds[0])
    assert all(read(shapes, kind) for kind in reversed(kinds[:-1]))
    while not read(shapes, kinds[-1]):
        read(shapes, kinds[0])
    assert [read(shapes, kind) for kind in kinds].count(False) == 1
    assert read(shapes, kinds[0])
