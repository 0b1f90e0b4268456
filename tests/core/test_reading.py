"""How far a shard was read, and whether the retention has overtaken it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.reading import Reading
from headrace.model import TRIM_HORIZON, Checkpoint, Lease, Page, Record, ShardId, TrimHorizon

RETENTION_S = 86_400.0
NOW_S = 1e9


FIVE = Checkpoint.at(5)


def lease(up_to_s: float, checkpoint: Checkpoint = FIVE) -> Lease:
    return Lease(ShardId("s"), 1, checkpoint, up_to_s=up_to_s)


def page(*arrivals: float, behind_s: float = 0.0) -> Page:
    records = [Record(b"x", "k", 10 + n, arrival) for n, arrival in enumerate(arrivals)]
    return Page(records, "next", behind_s, len(records))


@given(st.floats(0, 3 * RETENTION_S))
def test_a_checkpoint_is_overtaken_when_it_is_older_than_the_retention(age_s):
    """And not a moment earlier."""
    reading = Reading(lease(NOW_S - age_s))

    assert reading.is_overtaken(NOW_S, RETENTION_S) == (NOW_S - age_s < NOW_S - RETENTION_S)


def test_a_row_that_does_not_tell_the_time_raises_no_alarm():
    """Nothing is known, so nothing is claimed."""
    assert not Reading(lease(0.0)).is_overtaken(NOW_S, RETENTION_S)


def test_an_empty_page_moves_the_time_to_where_the_stream_says_the_reader_is():
    """Empty pages far behind the tip are normal."""
    reading = Reading(lease(NOW_S - 1000))
    reading.took_in(page(behind_s=600.0), 0, NOW_S, RETENTION_S)

    assert reading.up_to_s == NOW_S - 600


def test_a_page_with_records_moves_it_to_the_last_of_them_and_an_empty_one_to_the_tip():
    """What arrived meanwhile is not read yet while the page is behind."""
    reading = Reading(lease(NOW_S - 1000))
    reading.took_in(page(NOW_S - 900, NOW_S - 800, behind_s=700.0), 10, NOW_S, RETENTION_S)
    assert reading.up_to_s == NOW_S - 800
    assert reading.position == Checkpoint.at(11)
    reading.took_in(page(NOW_S - 2), 10, NOW_S, RETENTION_S)
    assert reading.up_to_s == NOW_S - 2, "some servers say that nothing is behind, whatever there is"


def test_an_event_says_where_to_go_on_also_where_no_records_came():
    """A subscription is renewed behind what was looked through, not behind the last record."""
    reading = Reading(lease(NOW_S - 1000))
    reading.took_in(replace(page(NOW_S - 2), continuation=40), 10, NOW_S, RETENTION_S)
    assert reading.position == Checkpoint.at(40)
    reading.took_in(replace(page(), continuation=50), 0, NOW_S, RETENTION_S)
    assert reading.position == Checkpoint.at(50)


def test_a_reader_that_begins_at_the_edge_means_nothing_until_it_is_inside():
    """From TRIM_HORIZON records are trimmed while they are asked for."""
    edge = NOW_S - RETENTION_S
    reading = Reading(lease(NOW_S, TRIM_HORIZON))
    assert reading.position == TrimHorizon()
    reading.took_in(page(edge + 1, behind_s=RETENTION_S - 1), 10, NOW_S, RETENTION_S)
    assert not reading.is_overtaken(NOW_S + 10, RETENTION_S)
    reading.took_in(page(edge + 0.02 * RETENTION_S, behind_s=0.98 * RETENTION_S), 10, NOW_S, RETENTION_S)
    assert reading.is_overtaken(NOW_S + 0.03 * RETENTION_S, RETENTION_S)


def test_a_child_that_waited_for_longer_than_the_retention_is_overtaken_before_it_is_read():
    """Its row remembers when it was made; nothing that arrived since then may be missed."""
    assert Reading(lease(NOW_S - RETENTION_S - 1, TRIM_HORIZON)).is_overtaken(NOW_S, RETENTION_S)


def test_after_a_loss_that_was_accepted_reading_goes_on_at_the_oldest_record_without_another_alarm():
    """Until the reader is inside again."""
    reading = Reading(lease(NOW_S - 2 * RETENTION_S))
    reading.begin_anew()

    assert reading.position == TrimHorizon()
    assert not reading.is_overtaken(NOW_S, RETENTION_S)
