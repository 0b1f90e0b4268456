"""What workers tell in rows, and the hour that is made of it."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.history import POINTS, STEP_S, History, Point, Totals, together
from headrace.core.reports import (
    Event,
    Rates,
    Report,
    ShardFigures,
    events_of,
    events_row,
    history_row,
    newest,
    points_of,
    report_of,
    report_row,
)
from headrace.model import WorkerId

WALL_S = 1_800_000_000.0
ME = WorkerId("worker-1")


def read_back(request):
    return {"pk": request.key.pk, "sk": request.key.sk, **request.attributes}


def shard(number):
    return ShardFigures(f"shardId-{number:012d}", 1234.5, 12.3, 0.4, 1200, 34, 1.25, str(10**55), "")


def test_each_row_is_read_back_as_it_was_written():
    """Through JSON, and with an expiry that lets a dead worker's rows go."""
    report = Report(WALL_S, "1.0", Rates(1.5, 2, 3, 4, 0.5), (shard(1),), 7)
    row = report_row(ME, report)
    assert report_of(read_back(row)) == report
    assert row.attributes["exp"] > WALL_S
    events = [Event(WALL_S, "lease_claimed", "worker", "shardId-1")]
    assert events_of(read_back(events_row("p", events, WALL_S))) == events
    points = [Point(5, 1.5, 2, 3, 4, 5, 6, 7)]
    assert points_of(read_back(history_row("p", points, WALL_S))) == points


def test_a_row_that_cannot_be_read_is_as_if_it_were_not_there():
    """Another version wrote it: during a rollout both are there, and a page must not fail."""
    broken = {"pk": "F", "sk": "x", "body": '{"at_s": "noon"}'}
    assert report_of(broken) is None
    assert events_of(broken) == points_of({"pk": "H", "sk": "x"}) == []


def test_fields_that_a_later_version_adds_are_passed_over():
    """The same, forwards."""
    body = '{"at_s":1.0,"version":"2","rates":[1,2,3,4,5,6],"shards":[["s",1,2,3,4,5,0.1,"","","more"]],"new":1}'
    report = report_of({"pk": "R", "sk": "x", "body": body})
    assert report is not None
    assert report.shards[0].shard == "s"


def test_a_report_of_seven_shards_each_with_a_record_that_holds_it_is_one_write_unit():
    """A write unit is 1 KB: what telling costs is in the documentation."""
    row = report_row(ME, Report(WALL_S, "1.0.0", Rates(1, 2, 3, 4, 5), tuple(shard(n) for n in range(7))))
    assert len(str(row.attributes["body"])) + len(row.key.sk) < 1024


def test_events_are_shown_newest_first_up_to_a_number():
    """Of all workers together."""
    events = [Event(float(n), "x", "w") for n in (3, 1, 2)]
    assert [event.at_s for event in newest(events, 2)] == [3.0, 2.0]


def test_samples_of_one_step_become_one_point():
    """Counts are those of the step alone; lag, retries and unowned shards the worst in it."""
    history = History()
    history.add(WALL_S, Totals(10, 9, 1, 0), 5.0, 3, 1)
    history.add(WALL_S + 5, Totals(30, 29, 1, 2), 2.0, 1, 0)
    history.add(WALL_S + STEP_S, Totals(31, 30, 1, 2), 0.0, 0, 0)
    step = int(WALL_S // STEP_S)
    assert history.points == [Point(step, 5.0, 30, 29, 1, 3, 2, 1), Point(step + 1, 0.0, 1, 1, 0, 0, 0, 0)]
    assert history.buried_since(WALL_S + STEP_S) == 0
    assert history.buried_since(WALL_S) == 2


@given(st.lists(st.lists(st.tuples(st.integers(-5, POINTS + 5), st.integers(0, 99)), max_size=20), max_size=4))
def test_the_hour_of_a_fleet_has_every_step_and_loses_no_count_of_it(histories):
    """Whatever steps the workers have, old ones and ones in the future included."""
    end = int(WALL_S // STEP_S)
    points = [[Point(end - back, read=count) for back, count in history] for history in histories]
    hour = together(points, WALL_S)
    assert [point.step for point in hour] == list(range(end - POINTS + 1, end + 1))
    inside = sum(count for history in histories for back, count in history if 0 <= back < POINTS)
    assert sum(point.read for point in hour) == inside
