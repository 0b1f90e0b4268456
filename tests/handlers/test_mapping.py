"""Without a handler: payloads become items by settings alone."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.items import N
from headrace.errors import Reject, SettingsError
from headrace.handlers.mapping import ItemRules, item_mapping
from headrace.model import Record
from headrace.operations import Put

NUMBER = 49590338271490256608559692538361571095921575989136588898
ARRIVAL = datetime(2026, 1, 31, 8, 15, 30, 123_000, tzinfo=UTC)
TEXTS = {"pk": "S", "sk": "S"}


def record(payload, **changes):
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    facts = {
        "partition_key": "p-1",
        "sequence_number": NUMBER,
        "arrival_s": ARRIVAL.timestamp(),
        "shard_id": "shardId-7",
    }
    return Record(data=data, **{**facts, **changes})


def item(payload, key_types=TEXTS, *, changes=None, **rules):
    put = item_mapping(ItemRules(**rules), key_types, "orders").call(record(payload, **(changes or {})))
    assert isinstance(put, Put)
    return put.item


def reason(payload, key_types=TEXTS, **rules):
    with pytest.raises(Reject) as caught:
        item(payload, key_types, **rules)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.reason


def refusal(key_types=TEXTS, **rules):
    with pytest.raises(SettingsError) as caught:
        item_mapping(ItemRules(**rules), key_types, "orders")
    return str(caught.value)


def test_without_a_template_the_payload_is_the_item():
    """Its key attributes are the table's."""
    assert item({"pk": "a", "sk": "b", "n": 1}) == {"pk": "a", "sk": "b", "n": 1}


def test_numbers_keep_their_exact_text():
    """No float comes near a payload's number."""
    whole = item(b'{"pk": "a", "sk": "b", "x": 1.10, "y": [1e-7, {"z": 12345678901234567890.5}]}')
    assert whole["x"] == N("1.10")
    assert whole["y"] == [N("1e-7"), {"z": N("12345678901234567890.5")}]


def test_a_template_builds_the_key_from_fields_and_a_time_bucket():
    """The example of the settings page."""
    built = item({"device_id": "d-1"}, key="pk={device_id}#{arrival:%Y-%m-%dT%H} sk={sequence_number}")
    assert built == {"device_id": "d-1", "pk": "d-1#2026-01-31T08", "sk": str(NUMBER)}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{partition_key}", "p-1"),
        ("{shard_id}/{stream}", "shardId-7/orders"),
        ("{arrival}", "2026-01-31T08:15:30.123Z"),
        ("{arrival:%H:%M %f}", "08:15 123000"),
        ("{a.b.c}", "deep"),
        ("{.stream}", "theirs"),
        ("{n}|{x}|{yes}", "7|1.50|true"),
        ("{{{n}}}%s%", "{7}%s%"),
        ("{n}-{n}-{n}-{n}", "7-7-7-7"),
        ("fixed", "fixed"),
    ],
)
def test_what_may_stand_in_a_template(template, text):
    """Metadata, nested fields, numbers digit for digit, braces, and per cent signs as they are."""
    payload = b'{"a": {"b": {"c": "deep"}}, "stream": "theirs", "n": 7, "x": 1.50, "yes": true}'
    assert item(payload, key=f"sk={template} pk={{n}}")["sk"] == text


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_the_time_bucket_of_a_record_is_its_own_whatever_came_before(first, second):
    """The last bucket is kept for the next record; it must not leak into another second."""
    mapping = item_mapping(ItemRules(key="pk={arrival:%Y-%m-%dT%H:%M:%S}", arrival_attribute="at"), {"pk": "S"}, "s")
    for arrival_s in (first, second, first):
        made = mapping.call(record(b"{}", arrival_s=arrival_s)).item
        assert made["pk"] == datetime.fromtimestamp(int(arrival_s), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        at = datetime.fromisoformat(made["at"]).timestamp()
        assert abs(at - arrival_s) <= 0.000_502


def test_expiry_sequence_and_arrival_are_added_under_the_names_given():
    """Over whatever the payload has there."""
    made = item(
        {"pk": "a", "sk": "b", "ttl": "theirs"},
        ttl_attribute="ttl",
        ttl_after_s=86_400,
        sequence_attribute="seq",
        arrival_attribute="at",
    )
    assert made == {
        "pk": "a",
        "sk": "b",
        "ttl": int(ARRIVAL.timestamp()) + 86_400,
        "seq": str(NUMBER),
        "at": "2026-01-31T08:15:30.123Z",
    }


def test_a_number_key_takes_numbers_only():
    """From the payload and from a template."""
    keys = {"pk": "S", "n": "N"}
    assert item({"pk": "a", "n": 5}, keys)["n"] == 5
    assert item({"d": "a"}, keys, key="pk={d} n={arrival:%Y%m%d}")["n"] == N("20260131")
    assert "'n' is not a number" in reason({"pk": "a", "n": "5"}, keys)
    assert "template of 'n' gives no number" in reason({"d": "a"}, keys, key="pk={d} n={d}")


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ([1], "the payload is a JSON array, not an object"),
        (b"secret", "the payload is not JSON: JSON is malformed: invalid character (byte 0)"),
        (b"", "the payload is not JSON: Input data was truncated"),
        (b'{"id": "\xff"}', "the payload is not JSON: not UTF-8"),
        (b'{"a":' * 100_000, "the payload is not JSON: nested too deeply"),
        ({}, "the payload has no field 'id'"),
        ({"id": None}, "the payload has no field 'id'"),
        ({"id": {"secret": 1}}, "the field 'id' is an object"),
        ({"id": "x", "a": "secret"}, "the payload has no field 'a.b'"),
        ({"id": "x", "a": {"b": ["secret"]}}, "the field 'a.b' is an array"),
    ],
)
def test_a_payload_without_what_the_template_needs_is_rejected_by_field(payload, words):
    """The reason names the field, never a value."""
    assert reason(payload, key="pk={id} sk={a.b}") == words


def test_a_payload_without_its_key_is_rejected_by_field():
    """Also without a template."""
    assert "no field 'sk'" in reason({"pk": "a"})
    assert "'sk' is not a text" in reason({"pk": "a", "sk": 1})


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("pk={id}", "gives pk, but the table's key is pk (S), sk (S)"),
        ("id={id} sk={id}", "gives id, sk, but the table's key is pk (S), sk (S)"),
        ("pk={id} pk={id}", "'pk' appears twice"),
        ("pk=a sk=b", "gives every record the same key"),
        ("nonsense", "'nonsense' is not of the form attribute=template"),
        ("pk={id sk={id}", "is not of the form attribute=template"),
        ("pk={id} sk={id:%Y}", "only arrival takes a format"),
        ("pk={id} sk={arrival:%Q}", "not a strftime format"),
        ("pk={id} sk={}", "is not a field name"),
        ("pk={id} sk={a..b}", "is not a field name"),
        ("pk={id} sk={a[0]}", "is not a field name"),
        ("pk={id} sk={a!r}", "a conversion is not supported"),
        ("pk={id} sk={id}}", "is not of the form attribute=template"),
    ],
)
def test_a_template_that_cannot_give_the_tables_key_is_refused_at_start(key, problem):
    """Not at the first record."""
    text = refusal(key=key)
    assert text.startswith(f"HEADRACE_ITEM_KEY = {key!r}: ")
    assert problem in text


def test_a_sequence_number_is_refused_as_a_number_key():
    """It has 56 digits; DynamoDB's numbers hold 38, and would refuse every record."""
    assert "56 digits" in refusal({"pk": "S", "sk": "N"}, key="pk={id} sk={sequence_number}")


def test_a_binary_key_needs_a_handler():
    """JSON has no bytes."""
    assert "binary" in refusal({"pk": "B"})


@pytest.mark.parametrize("name", ["ttl_attribute", "sequence_attribute", "arrival_attribute"])
def test_an_added_attribute_must_not_overwrite_the_key(name):
    """Every item would land on another key than meant."""
    text = refusal(**{name: "sk"})
    assert text.startswith(f"HEADRACE_ITEM_{name.upper()} = 'sk': is the table's key as well")


def test_two_added_attributes_must_not_share_a_name():
    """One of them would be lost."""
    assert "as well" in refusal(ttl_attribute="x", sequence_attribute="x")
