"""The compiled transcoder says what the Python way says: the same bytes, or the same error in the same words."""

import base64
import json
import math
from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.items import N
from headrace.core.native import installed
from headrace.handlers.mapping import ItemRules
from headrace.model import Record
from transcoder import corpus, twins

NATIVE = installed()

pytestmark = pytest.mark.skipif(
    NATIVE is None, reason="headrace_native is not installed: it needs cargo, then `make setup`"
)

RULES = [
    (ItemRules(), {"id": "S"}, None),
    (ItemRules(), {"id": "S", "n": "N"}, "n"),
    (ItemRules(key="pk={id}#{place.site} sk={n}", sequence_attribute="seq"), {"pk": "S", "sk": "N"}, "place"),
    (
        ItemRules(
            key="pk={{{partition_key}}}|{stream}|{arrival:%Y-%m-%dT%H} sk={sequence_number}@{shard_id}@{arrival}",
            ttl_attribute="ttl",
            ttl_after_s=60.5,
            sequence_attribute="seq",
            arrival_attribute="at",
        ),
        {"pk": "S", "sk": "S"},
        "a",
    ),
    (ItemRules(key="pk={id} sk={pk}"), {"pk": "S", "sk": "S"}, None),
]


@pytest.fixture(scope="module")
def mappings():
    """One for each of the rules."""
    return [twins.Mappings(NATIVE, *rules) for rules in RULES]


def record(data, **changes):
    facts = {
        "partition_key": 'p"\\\n é',
        "sequence_number": 49590338271490256608559692538361571095921575989136588898,
        "arrival_s": 1_769_847_330.1235,
        "shard_id": "shardId-7",
    }
    return Record(data=data, **{**facts, **changes})


def check(mappings, given):
    """Equal by all rules, in both layouts."""
    found = [compared for one in mappings for compared in (one.item(given), one.values(given))]
    for compared in found:
        assert compared.native == compared.python
    return found


@pytest.mark.parametrize("payload", corpus.ACCEPTED, ids=lambda payload: ascii(payload[:60]))
def test_a_payload_that_is_good_comes_out_the_same(mappings, payload):
    """Or is rejected for the same reason, where it has no key."""
    check(mappings, record(payload))


@pytest.mark.parametrize("payload", corpus.ACCEPTED, ids=lambda payload: ascii(payload[:60]))
def test_no_good_payload_is_left_to_python(payload):
    """Else the transcoder would be of no use for it."""
    any_payload = twins.Mappings(NATIVE, ItemRules(key="pk={partition_key}"), {"pk": "S"})
    for compared in check([any_payload], record(payload)):
        assert compared.declined is None


@pytest.mark.parametrize("payload", [*corpus.REJECTED, *corpus.UNFIT], ids=lambda payload: ascii(payload[:60]))
def test_a_payload_that_is_not_good_is_refused_in_the_same_words(mappings, payload):
    """The words are Python's."""
    for compared in check(mappings, record(payload)):
        assert compared.python[0] in {"Reject", "ItemError"}
        assert compared.declined is not None


@pytest.mark.parametrize("payload", corpus.TOO_DEEP, ids=lambda payload: ascii(payload[:60]))
def test_nesting_beyond_dynamodb_is_left_to_python(mappings, payload):
    """Which leaves it to the server."""
    for compared in check(mappings, record(payload)):
        assert compared.declined is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence_number": 0},
        {"sequence_number": 10**128, "sub_sequence_number": 7},
        {"arrival_s": 0.0},
        {"arrival_s": 1_767_225_599.9996},
        {"arrival_s": -1.5},
        {"arrival_s": 253_402_300_799.0},
        {"partition_key": ""},
        {"partition_key": "\x00\x1f大"},
        {"shard_id": '"'},
    ],
    ids=str,
)
def test_what_is_known_beside_the_payload_comes_out_the_same(mappings, changes):
    """Sequence numbers, arrival times and keys of any kind."""
    check(mappings, record(b'{"id":"x","n":1,"place":{"site":"s"}}', **changes))


names = st.text(max_size=4) | st.sampled_from(["id", "n", "place", "site", "pk", "sk", "at", "seq", "ttl", "a"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=12)
    | st.integers()
    | st.integers(-(10**45), 10**45)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


def stringent(payload, *, ascii_only, separators):
    """As JSON. Half of a surrogate pair is escaped, so that it can be written."""
    return json.dumps(payload, ensure_ascii=ascii_only, separators=separators).encode(errors="surrogatepass")


@settings(max_examples=300)
@given(
    st.dictionaries(names, values, max_size=8),
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r ")]),
)
def test_any_payload_comes_out_the_same(payload, ascii_only, separators):
    """Names that the settings use are among its names."""
    data = stringent({"id": "x", **payload}, ascii_only=ascii_only, separators=separators)
    check([twins.Mappings(NATIVE, *rules) for rules in RULES], record(data))


python_values = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.builds(N, st.decimals().map(str) | st.text(max_size=3))
    | st.sets(st.text(max_size=3), max_size=3)
    | st.frozensets(st.binary(max_size=3), max_size=3)
    | st.sets(st.integers() | st.floats(allow_nan=False) | st.decimals(allow_nan=False), max_size=3)
    | st.sampled_from(
        [
            bytearray(b"x"),
            datetime(2026, 1, 1, tzinfo=UTC),
            OrderedDict(a=1),
            {1: 2},
            {"a", 1},
            1j,
            "\ud800",
            {"\udfff": 1},
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=12,
)


@settings(max_examples=500)
@given(st.dictionaries(st.text(max_size=4), python_values, max_size=5))
def test_any_item_of_a_handler_comes_out_the_same(item):
    """Of every type that a handler may use, and some that it may not."""
    for compare in (twins.encoded, twins.encoded_values):
        compared = compare(NATIVE, item)
        assert compared.native == compared.python
    assert twins.batch(NATIVE, [item, {"pk": "x"}]) == twins.batch(None, [item, {"pk": "x"}])


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        -0.0,
        1.5,
        1e-4,
        9.9e-5,
        1e15,
        9007199254740993.0,
        1e16,
        1e22,
        5e-324,
        1e125,
        1e126,
        0.1 + 0.2,
        math.pi,
        -1e-7,
        123456.789e3,
    ],
)
def test_a_float_is_written_as_python_writes_it(value):
    """The shortest digits that mean it, in Python's form."""
    compared = twins.encoded(NATIVE, {"a": value, "b": Decimal(repr(value))})
    assert compared.native == compared.python


def test_an_item_of_400_kb_comes_out_the_same():
    """DynamoDB's limit."""
    item = {"pk": "x", "text": "é" * 100_000, "bytes": b"\x00\xff" * 50_000, "list": [1.5, "a"] * 20_000}
    compared = twins.encoded(NATIVE, item)
    assert compared.native == compared.python
    assert compared.declined is None


def test_an_item_that_contains_itself_is_refused_the_same():
    """The careful walk finds it."""
    item = {"pk": "x"}
    item["a"] = item
    compared = twins.encoded(NATIVE, item)
    assert compared.native == compared.python
    assert compared.python[0] == "ItemError"


def wire_record(**changes):
    return {
        "Data": "cGF5bG9hZA==",
        "PartitionKey": "key é",
        "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
        "ApproximateArrivalTimestamp": 1_769_847_330.123,
        **changes,
    }


def answer(*records, **rest):
    return json.dumps(
        {"Records": records, "NextShardIterator": "next", "MillisBehindLatest": 1500, **rest}, ensure_ascii=False
    ).encode()


CHILD = {
    "ShardId": "shardId-000000000007",
    "ParentShards": ["shardId-000000000000"],
    "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
}

PAGES = [
    answer(),
    answer(wire_record(), wire_record(Data="")),
    answer(wire_record(EncryptionType="KMS", Other={"a": [1, None]})),
    answer(
        wire_record(SequenceNumber="0"), wire_record(SequenceNumber="9" * 129), wire_record(SequenceNumber="9" * 130)
    ),
    answer(wire_record(SequenceNumber=7)),
    answer(wire_record(SequenceNumber="007")),
    answer(wire_record(SequenceNumber="-7")),
    answer(wire_record(SequenceNumber="")),
    answer(wire_record(SequenceNumber="1.0")),
    answer(wire_record(SequenceNumber=" 7")),
    answer(wire_record(PartitionKey='a"\\\n')),
    answer(wire_record(PartitionKey=None)),
    answer(wire_record(ApproximateArrivalTimestamp=1769847330)),
    answer(wire_record(ApproximateArrivalTimestamp="1769847330.5")),
    answer(wire_record(ApproximateArrivalTimestamp=None)),
    *[
        answer(wire_record(Data=data))
        for data in ("YWI", "YW=", "YWI=", "YWJ=", "YW I=", "YWI=\n", "=", "====", "Zm-_", None, 7)
    ],
    answer(ChildShards=[CHILD], NextShardIterator=None),
    answer(ChildShards=[{**CHILD, "ShardId": None}]),
    answer(ChildShards=None, MillisBehindLatest=None),
    answer(ChildShards=7),
    answer(NextShardIterator=7),
    answer(MillisBehindLatest="soon"),
    answer(MillisBehindLatest=1e400),
    answer(ContinuationSequenceNumber="495"),
    answer(ContinuationSequenceNumber=None, NextShardIterator=None),
    answer(wire_record())[:-1],
    answer(wire_record()) + b"x",
    answer(wire_record()).replace(b'"key', b'"\xff'),
    answer(wire_record()).replace(b'"Data"', b'"\\u0044ata"'),
    b"{}",
    b"[]",
    b"",
    b'{"Records":null}',
    b'{"Records":[null]}',
    b'{"Records":[{}]}',
    b'{"Records":[],"Records":[],"x":[[[]]]}',
    b'{"Records":[],"x":"\xff"}',
    b'{"Records":[],"\xff":1}',
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: ascii(page[:100]))
def test_a_page_comes_out_the_same(page):
    """Records, or the outage that an unreadable answer is."""
    compared = twins.pages(NATIVE, page)
    assert compared.native == compared.python


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=40),
            st.text(st.characters(codec="utf-8"), max_size=5),
            st.integers(0, 10**129 - 1),
            st.floats(0, 1e11),
        ),
        max_size=4,
    ),
    st.integers(0, 10**9) | st.floats(0, 1e9) | st.none(),
)
def test_any_page_comes_out_the_same(records, behind):
    """Payloads, keys, numbers and times of any kind; none of it is left to Python."""
    body = answer(
        *[
            wire_record(
                Data=base64.b64encode(data).decode(),
                PartitionKey=key,
                SequenceNumber=str(number),
                ApproximateArrivalTimestamp=arrival_s,
            )
            for data, key, number, arrival_s in records
        ],
        MillisBehindLatest=behind,
    )
    compared = twins.pages(NATIVE, body)
    assert compared.native == compared.python
    assert compared.declined is None


@pytest.mark.parametrize("damage", range(0, 400, 7))
def test_a_damaged_page_is_refused_the_same(damage):
    """Whatever byte is hit, and whatever becomes of it."""
    body = answer(wire_record(), wire_record(Data="AAAA"), ChildShards=[CHILD])
    place = damage % len(body)
    for byte in (b'"', b"\\", b"{", b"9", b"\xff", b""):
        compared = twins.pages(NATIVE, body[:place] + byte + body[place + 1 :])
        assert compared.native == compared.python
