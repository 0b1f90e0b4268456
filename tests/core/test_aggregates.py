"""Records of the Kinesis Producer Library, taken apart."""

from __future__ import annotations

from hashlib import md5

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.aggregates import MAGIC, Expansion, expand, hash_of, is_aggregate
from headrace.model import TRIM_HORIZON, Checkpoint, Lease, Record, ShardId

HIGHEST = 2**128 - 1

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
users = st.tuples(keys, st.binary(min_size=1, max_size=60), st.none() | st.integers(0, HIGHEST))


def aggregate(records) -> bytes:
    """As the reference library of AWS makes it."""
    made = RecordAggregator()
    for key, data, hash_key in records:
        made.add_user_record(key, data, None if hash_key is None else str(hash_key))
    return made.clear_and_get().get_contents()[2]


def record(data: bytes, number: int = 7) -> Record:
    return Record(data, "container", number, 12.5, "shardId-0")


def lease(first: int = 0, last: int = HIGHEST, checkpoint: Checkpoint = TRIM_HORIZON) -> Lease:
    return Lease(ShardId("shardId-0"), 1, checkpoint, first_hash_key=first, last_hash_key=last)


@given(st.lists(users, min_size=1, max_size=20))
def test_what_the_reference_library_put_together_comes_apart_in_order(records):
    """With the key, the hash key and the data of each, under the container's number and time."""
    found = expand(record(aggregate(records)))

    assert found is not None
    assert [(one.record.partition_key, one.record.data) for one in found] == [(key, data) for key, data, _ in records]
    assert [one.hash_key for one in found] == [hash_of(key) if given is None else given for key, _, given in records]
    assert [one.record.sub_sequence_number for one in found] == list(range(len(records)))
    assert {(one.record.sequence_number, one.record.arrival_s, one.record.shard_id) for one in found} == {
        (7, 12.5, "shardId-0")
    }


@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_whatever_else_begins_alike_is_an_ordinary_record(noise, begins_alike, has_digest):
    """Also noise with the right magic bytes and the right digest, unless it happens to be a message."""
    data = (MAGIC if begins_alike else b"") + noise
    if has_digest:
        data += md5(noise).digest()
    found = expand(record(data))

    assert found is None or all(isinstance(one.record.data, bytes) for one in found)
    if not (begins_alike and has_digest):
        assert found is None


@given(st.lists(users, min_size=1, max_size=5), st.data())
def test_one_wrong_byte_makes_it_an_ordinary_record(records, data):
    """The digest tells."""
    whole = bytearray(aggregate(records))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))

    assert expand(record(bytes(whole))) is None


@given(st.lists(users, min_size=1, max_size=4), st.data())
def test_a_message_that_is_cut_or_changed_under_a_right_digest_never_raises(records, data):
    """Fuzzed: it is taken apart or taken as it is."""
    message = bytearray(aggregate(records)[4:-16])
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(message) - 1))
        message[position] = data.draw(st.integers(0, 255))
    message = message[: data.draw(st.integers(1, len(message)))]
    expand(record(MAGIC + bytes(message) + md5(message).digest()))


def test_fields_that_nobody_knows_are_passed_over():
    """A later version of the library may add some; and tags are read over."""
    tagged = b"\x08\x00\x1a\x01x" + b"\x22\x03\x0a\x01t" + b"\x29" + bytes(8) + b"\x35" + bytes(4)
    message = b"\x0a\x01k" + b"\x1a" + bytes([len(tagged)]) + tagged + b"\x20\x05"
    found = expand(record(MAGIC + message + md5(message).digest()))

    assert found is not None
    assert [(one.record.partition_key, one.record.data) for one in found] == [("k", b"x")]


def test_a_page_without_aggregates_is_the_same_list():
    """Nothing is copied on the way of most streams."""
    page = [record(b"a"), record(b"b", 8)]

    assert Expansion(lease()).of(page) is page


def test_records_of_another_shard_are_left_out_and_counted():
    """The producer sends them again to where they belong; numbers count all of them."""
    page = [record(b"plain", 6), record(aggregate([("a", b"1", 5), ("b", b"2", 500), ("c", b"3", 7)]))]
    expansion = Expansion(lease(0, 100))

    found = expansion.of(page)

    assert [(one.data, one.sub_sequence_number) for one in found] == [(b"plain", -1), (b"1", 0), (b"3", 2)]
    assert expansion.foreign == 1


@pytest.mark.parametrize("sub", [-1, 0, 1, 2])
def test_what_is_settled_of_an_aggregate_is_not_handled_again(sub):
    """The checkpoint stands inside of it."""
    container = record(aggregate([("a", b"0", None), ("a", b"1", None), ("a", b"2", None)]))
    found = Expansion(lease(checkpoint=Checkpoint.at(7, sub))).of([container])

    assert [one.sub_sequence_number for one in found] == list(range(sub + 1, 3))
    assert is_aggregate(container)
