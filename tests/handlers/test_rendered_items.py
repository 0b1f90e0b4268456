"""Items that are text at once, for a sink that writes them whole: in all they say as good as the others."""

import json

import msgspec
import pytest

from headrace.aws.statement_call import careful, parameters, wrapped
from headrace.core.guarded import Guard
from headrace.core.item_keys import key_of
from headrace.core.items import ItemError, N, attributes
from headrace.core.rendered_items import RenderedItem, RenderedValues
from headrace.core.shapes import Layout
from headrace.errors import Reject
from headrace.handlers.mapping import ItemRules, item_mapping
from headrace.model import Record

PAYLOAD = {"id": "d-1", "n": 7, "x": 1.5, "place": {"site": "Zürich", "floor": None}, "tags": ["a", 2, True]}

RULES = [
    pytest.param(ItemRules(), {"id": "S"}, id="key from the payload"),
    pytest.param(ItemRules(), {"id": "S", "n": "N"}, id="number key from the payload"),
    pytest.param(ItemRules(key="pk={id}#{place.site} sk={n}"), {"pk": "S", "sk": "N"}, id="key of fields"),
    pytest.param(
        ItemRules(key="pk={partition_key} sk={sequence_number}"), {"pk": "S", "sk": "S"}, id="key of metadata"
    ),
    pytest.param(
        ItemRules(
            key="pk={.id}|{stream} sk={x}",
            ttl_attribute="ttl",
            ttl_after_s=60,
            sequence_attribute="seq",
            arrival_attribute="at",
        ),
        {"pk": "S", "sk": "S"},
        id="everything",
    ),
]


def records(*payloads):
    return [
        Record(
            data=payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode(),
            partition_key="p%s-1",
            sequence_number=10**55 + number,
            arrival_s=1_769_847_330.123 + number,
        )
        for number, payload in enumerate(payloads)
    ]


def called(rules, key_types, given, *, layout, native=None):
    call = item_mapping(rules, key_types, "orders", layout=layout, native=native).call
    return [call(record).item for record in given]


def wire(item):
    return json.loads(msgspec.json.encode(attributes(item)))


@pytest.mark.parametrize(("rules", "key_types"), RULES)
def test_a_rendered_item_is_the_item(rules, key_types, native):
    """As text, as a dict, and by its key."""
    given = records(PAYLOAD, PAYLOAD, {**PAYLOAD, "id": "50 % %s", "n": -3, "x": 1e-9})
    plain = called(rules, key_types, given, layout=None)
    rendered = called(rules, key_types, given, layout=Layout.ITEM, native=native)
    assert [type(item) for item in rendered[1:]] == [RenderedItem, RenderedItem]
    for one, other in zip(plain, rendered, strict=True):
        assert wire(one) == wire(other)
        assert dict(other) == one
        assert key_of(other, tuple(key_types)) == key_of(one, tuple(key_types))


@pytest.mark.parametrize(("rules", "key_types"), RULES)
def test_rendered_values_are_the_item(rules, key_types, native):
    """Beside their names, as a statement takes them, and as a dict."""
    given = records(PAYLOAD, PAYLOAD, {**PAYLOAD, "id": "50 % %s", "n": -3, "x": 1e-9})
    plain = called(rules, key_types, given, layout=None)
    rendered = called(rules, key_types, given, layout=Layout.VALUES, native=native)
    assert [type(item) for item in rendered[1:]] == [RenderedValues, RenderedValues]
    for one, other in zip(plain, rendered, strict=True):
        (names, values), (rendered_names, rendered_values) = wrapped(one), wrapped(other)
        assert rendered_names == names
        assert json.loads(msgspec.json.encode(parameters(rendered_values))) == json.loads(msgspec.json.encode(values))
        assert careful(other) == careful(one)
        assert dict(other) == one
        assert key_of(other, tuple(key_types)) == key_of(one, tuple(key_types))


def test_the_attribute_by_which_items_are_newer_is_at_hand(native):
    """Mode latest looks at it in every item: nothing is decoded for it, and it is compared as the ordinary way has it."""
    given = records(*[{"id": "d", "version": number} for number in range(3)])
    call = item_mapping(ItemRules(), {"id": "S"}, "s", layout=Layout.VALUES, order_by="version", native=native).call
    items = [call(record).item for record in given]
    guard = Guard("recordOrder", "version")
    assert [guard.value_of(item) for item in items] == [N("0"), N("1"), N("2")]
    assert "version" in items[2].fields


def test_an_item_with_the_name_that_keeps_the_order_is_refused_when_rendered_too(native):
    """Else a payload could say how new it is."""
    _, item = called(
        ItemRules(), {"id": "S"}, records(*[{"id": "d", "recordOrder": "9"}] * 2), layout=Layout.VALUES, native=native
    )
    assert type(item) is RenderedValues
    with pytest.raises(ItemError, match="order of records"):
        Guard("recordOrder").value_of(item)


def test_a_rendered_item_answers_like_a_dict(native):
    """For whoever looks into it: a test, a message."""
    _, item = called(ItemRules(), {"id": "S"}, records(PAYLOAD, PAYLOAD), layout=Layout.ITEM, native=native)
    assert (item["n"], item.get("x"), item.get("none"), item.get("none", 1), len(item)) == (7, N("1.5"), None, 1, 5)
    assert list(item) == list(PAYLOAD)
    assert item == {**PAYLOAD, "x": N("1.5")}


def test_a_field_that_an_added_attribute_replaces_stands_there_once(native):
    """Two attributes of one name are no item."""
    given = records(*[{"id": "a", "at": "theirs"}] * 3)
    items = called(ItemRules(arrival_attribute="at"), {"id": "S"}, given, layout=Layout.ITEM, native=native)
    assert all(wire(item)["at"]["S"].startswith("2026-") for item in items)


@pytest.mark.parametrize(
    "spoiled",
    [b"[]", b"{", b'{"id":7}', b'{"id":"a\xff"}', b'{"id":"a\n"}', b'{"id":null}', b'{"x":"a"}', b'{"id":"a"} x'],
)
def test_a_payload_is_rejected_for_the_same_reason(spoiled, native):
    """Whether its neighbours have a shape or not."""
    reasons = []
    for layout in (None, *Layout):
        call = item_mapping(ItemRules(), {"id": "S"}, "orders", layout=layout, native=native).call
        for record in records({"id": "a"}, {"id": "b"}):
            call(record)
        with pytest.raises(Reject) as caught:
            call(*records(spoiled))
        reasons.append(caught.value.reason)
    assert len(set(reasons)) == 1


def test_a_number_that_is_no_key_is_rejected_by_shape_too(native):
    """The steps are the same ones."""
    call = item_mapping(ItemRules(key="pk={n}"), {"pk": "N"}, "orders", layout=Layout.ITEM, native=native).call
    for record in records({"n": "1"}, {"n": "2"}):
        call(record)
    with pytest.raises(Reject, match="gives no number"):
        call(*records({"n": "x"}))
