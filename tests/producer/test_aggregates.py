"""Several records in one: for our own reader, for AWS's, and in the right shard."""

import base64
from collections import defaultdict

import pytest
from aws_kinesis_agg.deaggregator import deaggregate_records
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.aggregates import expand
from headrace.model import Record, Shard, ShardId
from headrace_producer.aggregates import (
    ENVELOPE,
    RECORD_FRAME,
    Routes,
    alone,
    encoded,
    hash_of,
    key_weight,
    packed,
    weight,
)
from headrace_producer.outbox import MAX_AGGREGATED, CallRules, Outbox
from headrace_producer.workload import Draft

HIGHEST = 2**128 - 1

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
payloads = st.binary(max_size=40) | st.integers(100, 20_000).map(bytes)


def numbered(pairs):
    """Drafts of these keys and payloads, each numbered within its key."""
    counts = defaultdict(int)
    for key, data in pairs:
        counts[key] += 1
        yield Draft(key, counts[key], data, poison=False)


draft_lists = st.lists(st.tuples(keys, payloads), min_size=1, max_size=30).map(lambda pairs: list(numbered(pairs)))


def shards(*edges):
    """Shards that begin at these hash keys, and have no parents."""
    ends = [edge - 1 for edge in edges[1:]] + [HIGHEST]
    return [
        Shard(ShardId(f"shard-{place}"), (), first, last)
        for place, (first, last) in enumerate(zip(edges, ends, strict=True))
    ]


FOUR = Routes(shards(0, 2**126, 2**127, 2**127 + 2**126))


def of_aws(data):
    """What AWS's own library takes out of it."""
    kinesis = {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": "container",
        "sequenceNumber": "7",
        "data": base64.b64encode(data).decode(),
        "approximateArrivalTimestamp": 1.0,
    }
    event = {"eventVersion": "1.0", "eventID": "e", "eventSource": "aws:kinesis", "kinesis": kinesis}
    return [
        (found["kinesis"]["partitionKey"], base64.b64decode(found["kinesis"]["data"]))
        for found in deaggregate_records([event])
    ]


@given(draft_lists)
def test_an_aggregate_comes_apart_with_awss_own_library(drafts):
    """Key and data of each, in order."""
    assert of_aws(encoded(drafts)) == [(draft.key, draft.data) for draft in drafts]


@given(draft_lists)
def test_an_aggregate_comes_apart_with_our_own_reader(drafts):
    """With the hash key that the consumer compares with its shard's range."""
    found = expand(Record(encoded(drafts), "container", 7, 1.0))
    assert found is not None
    assert [(one.record.partition_key, one.record.data, one.hash_key) for one in found] == [
        (draft.key, draft.data, hash_of(draft.key)) for draft in drafts
    ]


@given(draft_lists)
def test_an_aggregate_is_never_larger_than_it_was_weighed(drafts):
    """What is weighed decides on what fits into a record."""
    weighed = ENVELOPE + sum(map(key_weight, {draft.key for draft in drafts})) + sum(map(weight, drafts))
    assert len(encoded(drafts)) <= weighed <= len(encoded(drafts)) + RECORD_FRAME * len(drafts) + len(drafts)


def taken(pairs, most_bytes):
    """A call as the outbox gives it, from all of these."""
    outbox = Outbox(CallRules(MAX_AGGREGATED, run_bytes=most_bytes))
    outbox.add(numbered(pairs))
    return outbox.take()


@given(
    st.lists(st.tuples(st.sampled_from("abcdef") | keys, payloads), min_size=1, max_size=60),
    st.integers(1024, 60_000),
)
def test_every_record_of_a_call_is_in_one_parcel_that_fits_and_goes_to_its_shard(pairs, most_bytes):
    """A key's records are in one parcel, in order; only a record that is too large in itself is larger."""
    drafts = taken(pairs, most_bytes)
    parcels = packed(drafts, FOUR, most_bytes)
    assert sorted(place for parcel in parcels for place in parcel.places) == list(range(len(drafts)))
    parcel_of = {}
    for number, parcel in enumerate(parcels):
        assert [drafts[place] for place in parcel.places] == parcel.drafts
        assert {FOUR.shard_of(draft.key) for draft in parcel.drafts} == {parcel.shard}
        assert all(parcel_of.setdefault(draft.key, number) == number for draft in parcel.drafts)
        if alone(parcel.drafts[0]) <= most_bytes or len(parcel.drafts) > 1:
            assert len(parcel.data()) + len(parcel.key.encode()) <= parcel.size <= most_bytes
    for key in parcel_of:
        ns = [draft.n for draft in drafts if draft.key == key]
        assert ns == list(range(1, len(ns) + 1))


def test_a_parcel_of_one_record_is_that_record():
    """It needs no taking apart, as with the Kinesis Producer Library."""
    (parcel,) = packed([Draft("a", 1, b"payload", poison=False)], FOUR, 1024)
    assert parcel.data() == b"payload"


@given(keys, st.lists(st.integers(1, HIGHEST), unique=True, max_size=10).map(sorted))
def test_a_key_belongs_to_the_shard_whose_range_holds_its_hash(key, edges):
    """And to no other."""
    listed = shards(0, *edges)
    routes = Routes(listed)
    owner = routes.shard_of(key)
    assert [shard.shard_id for shard in listed if routes.belongs(key, shard.shard_id)] == [owner]


@pytest.mark.parametrize("key", ["a", "b", "c", "d"])
def test_after_a_split_and_a_merge_keys_belong_to_the_youngest_shards(key):
    """Their parents are still listed, for as long as the retention lasts."""
    half = 2**127
    left, right = Shard(ShardId("l"), (), 0, half - 1), Shard(ShardId("r"), (), half, HIGHEST)
    first = Shard(ShardId("ll"), (ShardId("l"),), 0, half // 2 - 1)
    second = Shard(ShardId("lr"), (ShardId("l"),), half // 2, half - 1)
    merged = Shard(ShardId("m"), (ShardId("lr"), ShardId("r")), half // 2, HIGHEST)
    routes = Routes([left, right, first, second, merged])
    assert routes.shard_of(key) == ("ll" if hash_of(key) < half // 2 else "m")
    assert routes.belongs(key, "l") == (hash_of(key) < half)


def test_of_a_shard_that_is_not_known_no_key_is():
    """What went there may be dropped: it is sent again."""
    assert not FOUR.belongs("a", "shard-99")
