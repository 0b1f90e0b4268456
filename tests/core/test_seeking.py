"""What a seek means is told before it is done: nothing is skipped that was not said to be."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.reading import Reading
from headrace.core.seeking import Rereads, Seen, Skips, Stays, effect_of, place_of, up_to_s
from headrace.model import SHARD_END, TRIM_HORIZON, AtSequence, AtTimestamp, Checkpoint, Lease, ShardId, TrimHorizon

NOW = datetime(2026, 1, 2, tzinfo=UTC)
seen = st.none() | st.builds(Seen, st.integers(1, 50), st.just(1.0))


@given(unread=seen, target=seen)
def test_records_between_the_two_places_are_skipped_or_read_again_and_never_both(unread, target):
    """Forward of the first unread record means that records are lost to this application; behind it, repeats."""
    infinity = 10**9
    stands, goes = (infinity if x is None else x.sequence_number for x in (unread, target))
    match effect_of(unread, target):
        case Skips(since, until):
            assert goes > stands
            assert (since, until) == (unread, target)
        case Rereads(since, until):
            assert goes < stands
            assert (since, until) == (target, unread)
        case Stays():
            assert goes == stands


def test_what_arrived_up_to_the_place_is_given_up_and_nothing_that_arrives_later():
    """A place behind the retention begins with whatever is left, as a first start does."""
    now_s, day_s = NOW.timestamp(), 86_400.0
    hour_ago, long_ago = NOW - timedelta(hours=1), NOW - timedelta(days=2)

    assert up_to_s(AtTimestamp(hour_ago), None, now_s, day_s) == hour_ago.timestamp()
    assert up_to_s(AtTimestamp(long_ago), None, now_s, day_s) == now_s
    assert up_to_s(TrimHorizon(), Seen(1, 5.0), now_s, day_s) == now_s
    assert up_to_s(AtSequence(7), Seen(7, now_s - 60), now_s, day_s) == now_s - 60
    assert up_to_s(AtSequence(7), None, now_s, day_s) == now_s


def test_a_shard_that_was_put_at_a_record_begins_with_that_record_itself():
    """The stream is asked as for a record inside an aggregate: the whole of it is read."""
    lease = Lease(ShardId("s"), 1, TRIM_HORIZON, start=AtSequence(70))

    assert Reading(lease).position == Checkpoint.at(70, 0)
    assert Reading(Lease(ShardId("s"), 1, Checkpoint.at(80), start=AtSequence(70))).position == Checkpoint.at(80)


def test_a_place_is_told_in_words():
    """In the event log and before the question."""
    at = AtTimestamp(NOW)
    places = {
        "after 80": Lease(ShardId("s"), 1, Checkpoint.at(80), start=at),
        "after 80.3": Lease(ShardId("s"), 1, Checkpoint.at(80, 3)),
        "2026-01-02T00:00:00.000Z": Lease(ShardId("s"), 1, TRIM_HORIZON, start=at),
        "record 70": Lease(ShardId("s"), 1, TRIM_HORIZON, start=AtSequence(70)),
        "its end": Lease(ShardId("s"), 1, SHARD_END, done=True),
    }
    assert {words: place_of(lease) for words, lease in places.items()} == {words: words for words in places}
