"""The checklist: what loses data fails, what was not asked is unknown, and every complaint says how to mend it."""

import pytest

from headrace.core import readiness
from headrace.core.readiness import Line, NotTold, StreamFacts, TableFacts, Word
from headrace.model import Checkpoint, Lease, ShardId, WorkerId, WorkerRow

GOOD_STREAM = StreamFacts("ACTIVE", "ON_DEMAND", 7 * 86_400, "KMS", 1, 4, keeps_key_order=True)
GOOD_TABLE = TableFacts(
    "t",
    "ACTIVE",
    "PAY_PER_REQUEST",
    is_protected=True,
    replicas=0,
    local_indexes=0,
    ttl_attribute="exp",
    has_recovery=True,
    has_customer_key=False,
)


def words(lines) -> dict[str, Word]:
    found = list(lines)
    assert all(line.mend for line in found if line.word is not Word.OK)
    return {line.check: line.word for line in found}


def changed(facts, **values):
    """Facts with some of them changed."""
    return type(facts)(**{name: values.get(name, getattr(facts, name)) for name in facts.__dataclass_fields__})


def test_a_stream_as_it_should_be_is_ok():
    """Nothing to do."""
    assert set(words(readiness.judge_stream(GOOD_STREAM, needs_order=True)).values()) == {Word.OK}


@pytest.mark.parametrize(
    ("change", "check", "word"),
    [
        ({"status": "DELETING"}, "stream", Word.FAIL),
        ({"retention_s": 86_400.0}, "stream retention", Word.WARN),
        ({"encryption": "NONE"}, "stream encryption", Word.WARN),
        ({"keeps_key_order": False}, "stream order", Word.FAIL),
        ({"fan_out_consumers": 20}, "stream consumers", Word.WARN),
    ],
)
def test_a_stream_that_may_lose_records_or_order_is_told(change, check, word):
    """Each with its word."""
    assert words(readiness.judge_stream(changed(GOOD_STREAM, **change), needs_order=True))[check] is word


@pytest.mark.parametrize(
    ("change", "check", "word"),
    [
        ({"status": "ARCHIVED"}, "lease table", Word.FAIL),
        ({"billing": "PROVISIONED"}, "lease table mode", Word.WARN),
        ({"ttl_attribute": None}, "lease table expiry", Word.WARN),
        ({"ttl_attribute": "other"}, "lease table expiry", Word.WARN),
        ({"ttl_attribute": NotTold("no right")}, "lease table expiry", Word.UNKNOWN),
        ({"has_recovery": False}, "lease table recovery", Word.WARN),
        ({"has_recovery": NotTold("no right")}, "lease table recovery", Word.UNKNOWN),
        ({"is_protected": False}, "lease table protection", Word.WARN),
        ({"replicas": 2}, "lease table replicas", Word.FAIL),
    ],
)
def test_a_table_that_does_not_carry_production_is_told(change, check, word):
    """A lease table with replicas breaks every condition."""
    found = words(readiness.judge_table("lease table", changed(GOOD_TABLE, **change), ttl="exp", holds_leases=True))
    assert found[check] is word
    others = {name for name, word in found.items() if word is not Word.OK}
    assert others == {check}


def test_a_right_that_a_worker_needs_too_fails_and_others_are_unknown():
    """What a worker cannot ask it cannot start without."""
    assert NotTold("denied", is_needed=True).line("stream").word is Word.FAIL
    assert NotTold("denied").line("x").word is Word.UNKNOWN
    assert "Create it" in NotTold("missing", is_needed=True, is_missing=True).line("x").mend


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ([], Word.WARN),
        (["arrival"], Word.WARN),
        (["stream", "arrival"], Word.WARN),
        (["shard_id"], Word.WARN),
        (["device_id", "arrival"], Word.OK),
        (["sequence_number"], Word.OK),
    ],
)
def test_a_partition_key_of_nothing_but_time_is_hot(fields, word):
    """All records of a moment go to one partition."""
    assert readiness.judge_key(fields, "pk").word is word


def lease(number: int, owner: str | None, up_to_s: float = 1000.0, **more) -> Lease:
    return Lease(
        ShardId(f"s{number}"), 1, Checkpoint.at(1), WorkerId(owner) if owner else None, up_to_s=up_to_s, **more
    )


def test_a_fleet_is_judged_by_its_owners_its_pauses_and_how_far_behind_its_rows_are():
    """Half of the retention gone is an alarm."""
    workers = {"w": WorkerRow(WorkerId("w"), 5, "live")}
    day_s = 86_400.0

    assert set(words(readiness.judge_fleet([lease(1, "w")], workers, 1001.0, day_s)).values()) == {Word.OK}
    assert words(readiness.judge_fleet([lease(1, None)], workers, 1001.0, day_s))["shards"] is Word.FAIL
    assert words(readiness.judge_fleet([lease(1, "gone")], workers, 1001.0, day_s))["shards"] is Word.FAIL
    paused = words(readiness.judge_fleet([lease(1, None, paused_by="ada")], workers, 1001.0, day_s))
    assert paused["shards"] is Word.WARN
    assert words(readiness.judge_fleet([lease(1, "w")], {}, 1001.0, day_s))["workers"] is Word.FAIL
    assert words(readiness.judge_fleet([lease(1, "w")], workers, 1000 + 3 * 3600, day_s))["lag"] is Word.WARN
    assert words(readiness.judge_fleet([lease(1, "w")], workers, 1000 + day_s / 2 + 1, day_s))["lag"] is Word.FAIL
    stalled = {"w": WorkerRow(WorkerId("w"), 5, "live", stalled=1)}
    assert words(readiness.judge_fleet([lease(1, "w")], stalled, 1001.0, day_s))["progress"] is Word.FAIL
    drained = {"w": WorkerRow(WorkerId("w"), 5, "live", drained_by="ada")}
    assert words(readiness.judge_fleet([lease(1, "w")], drained, 1001.0, day_s))["workers"] is Word.WARN


def test_clocks_versions_letters_and_rights_are_judged():
    """What nobody could be asked about is unknown, never OK."""
    assert [readiness.judge_clock(skew).word for skew in (1.0, -5.0, 300.0)] == [Word.OK, Word.WARN, Word.FAIL]
    assert readiness.judge_versions({"w": "1.0"}, "1.0").word is Word.OK
    assert readiness.judge_versions({"w": "1.0", "x": "0.9"}, "1.0").word is Word.WARN
    assert readiness.judge_versions({"w": NotTold("no route")}, "1.0").word is Word.UNKNOWN
    assert readiness.judge_versions({"w": "1.0", "x": NotTold("no route")}, "1.0").word is Word.UNKNOWN
    assert readiness.judge_letters(0, None, "d").word is Word.OK
    assert "the oldest 2.0 h old" in readiness.judge_letters(3, 7200.0, "d").found
    queue = words(readiness.judge_queue(0, 4 * 86_400.0, "sqs:q"))
    assert queue == {"dead letters": Word.OK, "dead letters kept": Word.WARN}
    assert set(words(readiness.judge_queue(0, 14 * 86_400.0, "sqs:q")).values()) == {Word.OK}
    assert readiness.judge_rights([]).word is Word.OK
    assert readiness.judge_rights(["kinesis:GetRecords"]) == Line(
        "permissions", Word.FAIL, "not allowed: kinesis:GetRecords", "`headrace iam` prints the policy"
    )
    assert readiness.judge_rights(NotTold("denied")).word is Word.UNKNOWN
