"""Same seed, same records; each numbered within its key."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import islice

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_producer.workload import WORKLOADS, Shape, drafts

shapes = st.builds(
    Shape,
    workload=st.sampled_from(sorted(WORKLOADS)),
    seed=st.integers(),
    keys=st.integers(1, 50),
    skew=st.floats(0, 3),
    poison_rate=st.sampled_from([0.0, 0.2, 1.0]),
    record_bytes=st.sampled_from([0, 300, 2000]),
)


def first(shape, count=60):
    return list(islice(drafts(shape), count))


@given(shapes)
def test_the_same_shape_gives_the_same_records(shape):
    """Byte for byte, so that a run can be repeated anywhere."""
    assert first(shape) == first(shape)


@given(shapes)
def test_each_key_counts_its_records_from_one_without_a_gap(shape):
    """Poison ones too: the count is of what was produced."""
    seen = Counter()
    for draft in first(shape):
        seen[draft.key] += 1
        assert draft.n == seen[draft.key]


@given(shapes)
def test_every_payload_names_its_key_and_count(shape):
    """Whoever reads the payload can prove the order."""
    for draft in first(shape):
        assert draft.data.startswith(b'{"key":"%b","n":%d,' % (draft.key.encode(), draft.n))


@given(shapes)
def test_poison_is_exactly_what_is_not_json(shape):
    """No handler that reads JSON can take it, and it can take all others."""
    for draft in first(shape):
        if draft.poison:
            with pytest.raises(msgspec.DecodeError):
                msgspec.json.decode(draft.data)
        else:
            assert msgspec.json.decode(draft.data)["key"] == draft.key


@given(shapes)
def test_another_poison_rate_changes_nothing_but_the_poison(shape):
    """The healthy records of two runs can be compared."""
    healthy = first(replace(shape, poison_rate=0.0))
    for draft, whole in zip(first(shape), healthy, strict=True):
        assert (draft.key, draft.n, draft.data) == (whole.key, whole.n, whole.data[:-1] if draft.poison else whole.data)


@pytest.mark.parametrize("workload", sorted(WORKLOADS))
def test_padding_fills_a_payload_to_the_byte(workload):
    """As long as there is room for the field that holds it."""
    for draft in first(Shape(workload, record_bytes=3000)):
        assert len(draft.data) == 3000


def test_money_is_written_with_all_its_digits():
    """19.90 stays 19.90: the number's text is the amount."""
    decode = msgspec.json.Decoder(float_hook=Decimal).decode
    for draft in first(Shape("orders")):
        order = decode(draft.data)
        amounts = order["amounts"]
        assert amounts["total"].as_tuple().exponent == -2
        assert amounts["net"] == sum(line["quantity"] * line["unit_price"] for line in order["lines"])
        assert amounts["total"] == amounts["net"] + amounts["shipping"]


def test_no_skew_shares_the_records_evenly():
    """Of 10 keys none gets half as many again as its share."""
    counts = Counter(draft.key for draft in first(Shape("iot", keys=10), 5000))
    assert len(counts) == 10
    assert max(counts.values()) < 750


def test_skew_gives_the_first_key_the_most():
    """With exponent 1 over 10 keys the first has 34 of 100."""
    counts = Counter(draft.key for draft in first(Shape("iot", keys=10, skew=1.0), 5000))
    assert counts.most_common(1)[0][0] == "device-000001"
    assert 1500 < counts["device-000001"] < 1900
