"""Items that become text as the handler returns them: what is written is the same, and what cannot be written too."""

import json
from collections import OrderedDict
from decimal import Decimal

import pytest

from headrace.core.item_keys import key_of
from headrace.core.items import N, encode_attributes
from headrace.core.native import installed
from headrace.core.rendered_items import RenderedItem
from headrace.handlers.early_items import early
from headrace.model import Record
from headrace.operations import Condition, Put

NATIVE = installed()

pytestmark = pytest.mark.skipif(
    NATIVE is None, reason="headrace_native is not installed: it needs cargo, then `make setup`"
)

ITEM = {
    "pk": "a",
    "sk": 1.50,
    "n": Decimal("1.10"),
    "b": b"\x00\xff",
    "map": {"list": [None, True, (1, "é")]},
    "sets": [{"x"}, {b"y"}, {2.5}],
}


def returned(answer):
    call = early(lambda _: answer, ("pk", "sk"), NATIVE)
    return call(Record(b"", "p", 1, 0.0))


@pytest.mark.parametrize("answer", [ITEM, Put(ITEM)], ids=["a dict", "a Put of it"])
def test_an_item_is_text_with_its_key(answer):
    """And read as a dict it says what the handler said."""
    item = returned(answer).item
    assert type(item) is RenderedItem
    assert item.text == encode_attributes(ITEM)
    assert item.key == key_of(ITEM, ("pk", "sk"))
    assert json.loads(encode_attributes(dict(item))) == json.loads(item.text)
    assert (item["sk"], item.get("map"), item.get("none")) == (N("1.5"), {"list": [None, True, [N("1"), "é"]]}, None)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [ITEM],
        {"pk": "a"},
        {"pk": "a", "sk": None},
        {**ITEM, "x": object()},
        {**ITEM, "x": "\ud800"},
        OrderedDict(ITEM),
        Put(ITEM, table="another"),
        Put(ITEM, condition=Condition("attribute_not_exists(pk)")),
    ],
    ids=[
        "none",
        "a list",
        "no key",
        "a null key",
        "no type",
        "no text",
        "a kind of dict",
        "another table",
        "a condition",
    ],
)
def test_everything_else_is_left_as_it_is(answer):
    """The sink judges it, in its own words."""
    assert returned(answer) is answer
