"""What a ledger, a serving table and dead letters prove together."""

import itertools
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.ledger import Acknowledged, LedgerError, Position, digest_of, read_header, read_records
from headrace.core.verification import Design, Overtaken, Report, Trace, Verification, trace_of

KEYS = "abc"


def produced(keys, poison=frozenset()):
    """Records of these keys in stream order, numbered from 10**20 on."""
    counters = defaultdict(itertools.count)
    return [
        Acknowledged("shard-0", f"{10**20 + index:030d}", key, next(counters[key]) + 1, index in poison, 5, digest_of(key.encode()))
        for index, key in enumerate(keys)
    ]  # fmt: skip


def judged(records, traces=(), buried=(), design=None) -> Report:
    verification = Verification(records)
    for trace in traces:
        verification.see(trace)
    for record in buried:
        verification.bury(record.position)
    return verification.report(design)


def own(record, **changes):
    return Trace(**{"position": record.position, "is_own": True, "key": record.key, **changes})


def state(record):
    return Trace(record.position, is_own=False, key=record.key)


def last_of_each_key(records):
    return {record.key: record for record in records}.values()


def aggregated(keys):
    """The same records in aggregates of three."""
    return [
        Acknowledged(
            one.shard, f"{10**20 + place // 3:030d}", one.key, one.n, one.poison, one.size, one.digest, place % 3
        )
        for place, one in enumerate(produced(keys))
    ]


record_lists = st.lists(st.sampled_from(KEYS), min_size=1, max_size=12).flatmap(
    lambda keys: st.sampled_from([produced(keys), aggregated(keys)])
)


@given(record_lists, st.data())
def test_every_record_is_written_dead_lettered_or_missing_and_nothing_twice(records, data):
    """The three counts add up to what was produced, whatever is in the table, in every design."""
    seen = data.draw(st.lists(st.sampled_from(records)))
    states = data.draw(st.lists(st.sampled_from(records)))
    buried = data.draw(st.lists(st.sampled_from(records)))
    report = judged(records, [*map(own, seen), *map(state, states)], buried)
    assert report.written + report.dead_lettered + report.missing == report.produced == len(records)


@given(record_lists, st.data())
def test_exactly_the_records_without_own_item_and_dead_letter_are_missing(records, data):
    """With own items a missing record is named, and no other."""
    fate = data.draw(st.lists(st.sampled_from("wbm"), min_size=len(records), max_size=len(records)))
    by_fate = {one: [r for r, f in zip(records, fate, strict=True) if f == one] for one in "wbm"}
    report = judged(records, map(own, by_fate["w"]), by_fate["b"], Design.RECORDS)
    assert [(lost.key, lost.n) for lost in report.lost] == [(record.key, record.n) for record in by_fate["m"]][:10]
    assert report.missing == len(by_fate["m"])
    assert report.holds == (not by_fate["m"])


def test_a_table_with_own_items_and_last_states_of_all_keys_holds():
    """The good case: all there, nothing overtaken."""
    records = produced("abacab", poison={2})
    rest = [record for record in records if not record.poison]
    report = judged(records, [*map(own, rest), *map(state, last_of_each_key(rest))], [records[2]])
    assert report.design is Design.BOTH
    assert (report.written, report.dead_lettered, report.missing, report.misordered) == (5, 1, 0, 0)
    assert report.holds


def test_an_older_state_of_a_key_beside_own_items_is_an_overtaken_key():
    """All own items are there, so the newer record was written, and then overwritten by an older one."""
    records = produced("aab")
    report = judged(records, [*map(own, records), state(records[0]), state(records[2])])
    assert report.overtaken == (Overtaken("a", last_n=2, found_n=1),)
    assert report.missing == 0
    assert not report.holds


def test_a_key_with_own_items_and_no_state_is_overtaken_by_nothing_at_all():
    """A state that was never written is not the last one either."""
    records = produced("ab")
    report = judged(records, [*map(own, records), state(records[0])])
    assert report.overtaken == (Overtaken("b", last_n=1, found_n=None),)


def test_a_missing_last_record_is_told_once_where_own_items_prove_it():
    """The state can only come from what was written."""
    records = produced("aa")
    report = judged(records, [own(records[0]), state(records[0])])
    assert (report.missing, report.misordered) == (1, 0)


@given(record_lists)
def test_a_table_of_states_vouches_for_the_earlier_records_of_each_key(records):
    """Only the last of each key is seen; the others count as written and overwritten since."""
    last = last_of_each_key(records)
    report = judged(records, map(state, last))
    assert report.design is Design.LATEST
    assert (report.written, report.overwritten) == (len(records), len(records) - len(last))
    assert report.holds


def test_a_table_of_states_with_an_old_state_misses_what_came_after_it():
    """Overtaken or never written: the table cannot tell, so it is both, and the check fails."""
    records = produced("aaa")
    report = judged(records, [state(records[0])])
    assert (report.written, report.missing, report.misordered) == (1, 2, 1)


def test_the_last_state_may_be_from_before_a_record_that_was_given_up():
    """A dead letter leaves the state of its key alone."""
    records = produced("aa", poison={1})
    report = judged(records, [state(records[0])], [records[1]])
    assert report.misordered == 0
    assert report.holds


def test_own_items_alone_show_no_order():
    """It is said, not guessed: the count is absent, not 0."""
    records = produced("ab")
    report = judged(records, map(own, records))
    assert report.misordered is None
    assert report.holds


def test_an_empty_table_misses_every_record():
    """No item, no excuse."""
    report = judged(produced("ab"))
    assert report.missing == 2


def test_own_items_that_got_lost_altogether_are_missed_where_the_design_is_known():
    """States alone would vouch for them; a caller that wrote both says so."""
    records = produced("aa")
    report = judged(records, [state(records[1])], design=Design.BOTH)
    assert report.missing == 2


def test_items_keyed_otherwise_are_own_items_when_the_user_says_so():
    """A key of (key, n) has no sequence number in it and is for one record all the same."""
    records = produced("aa")
    assert judged(records, [state(records[1])], design=Design.RECORDS).missing == 1
    assert judged(records, map(state, records), design=Design.RECORDS).holds


def test_two_own_items_of_one_record_are_a_duplicated_effect():
    """A key with chance or time of day in it makes another item at every repeat."""
    records = produced("a")
    report = judged(records, [own(records[0])] * 3)
    assert (report.duplicated, report.written) == (2, 1)


def test_a_record_both_written_and_dead_lettered_counts_once_and_shows():
    """It is dead-lettered, and its item is told."""
    records = produced("a", poison={0})
    report = judged(records, map(own, records), records)
    assert (report.written, report.dead_lettered, report.also_written) == (0, 1, 1)


@pytest.mark.parametrize("change", [{"digest": "0" * 16}, {"key": "other"}])
def test_an_item_with_another_payload_or_key_than_the_record_is_damaged(change):
    """Being there is not enough when the item says what it was made from."""
    records = produced("a")
    report = judged(records, [own(records[0], **change)])
    assert report.damaged == 1
    assert not report.holds


def test_items_of_no_record_in_the_ledger_are_counted_and_forgiven():
    """A call that broke off may have been applied: its records are in the stream, and never acknowledged."""
    records = produced("aa")
    report = judged(records[:1], [*map(own, records), state(records[1])])
    assert (report.foreign, report.misordered) == (1, 0)
    assert report.holds


def test_dead_letters_of_other_runs_are_not_counted():
    """The table of dead letters outlives a run."""
    records = produced("ab")
    assert judged(records[:1], [own(records[0])], [records[1]]).dead_lettered == 0


def test_a_healthy_record_in_the_dead_letters_shows():
    """Not lost, but not what one hopes for."""
    records = produced("ab", poison={0})
    assert judged(records, buried=records).healthy_dead_lettered == 1


def test_a_sequence_number_that_is_there_twice_is_refused():
    """Some emulators number each shard from 1: nothing can be proven by such numbers."""
    with pytest.raises(LedgerError, match="twice"):
        Verification(produced("a") * 2)


@pytest.mark.parametrize(
    ("item", "is_own"),
    [
        ({"pk": "a", "sk": "100000000000000000042"}, True),
        ({"pk": "a", "sk": "record#000000000100000000000000000042"}, True),
        ({"pk": "100000000000000000042"}, True),
        ({"pk": "a", "sk": "latest"}, False),
        ({"pk": "a", "sk": "7", "other": "100000000000000000042"}, False),
        ({"pk": "a", "sk": "1000000000000000000421"}, False),
    ],
)
def test_an_item_is_a_records_own_when_its_key_has_the_sequence_number(item, is_own):
    """Padded or inside other text, but whole, and in a key attribute."""
    trace = trace_of({**item, "sequenceNumber": "100000000000000000042", "key": "k"}, ("pk", "sk"), "sequenceNumber")
    assert trace == Trace(Position(100000000000000000042), is_own=is_own, key="k")


@pytest.mark.parametrize(
    ("item", "is_own"),
    [
        ({"pk": "a", "sk": "100000000000000000042.00000003"}, True),
        ({"pk": "a", "sk": "record#000000000100000000000000000042#3"}, True),
        ({"pk": "100000000000000000042", "sk": "latest"}, False),
        ({"pk": "3", "sk": "100000000000000000042"}, False),
        ({"pk": "a", "sk": "100000000000000000042.00000004"}, False),
    ],
)
def test_an_item_is_an_aggregated_records_own_when_its_key_has_both_numbers(item, is_own):
    """The sequence number alone names several records."""
    position = "100000000000000000042.00000003"
    trace = trace_of({**item, "sequenceNumber": position}, ("pk", "sk"), "sequenceNumber")
    assert trace == Trace(Position(100000000000000000042, 3), is_own=is_own)


def test_a_lost_record_of_an_aggregate_is_named_with_its_place_in_it():
    """Its neighbours, under the same sequence number, are there and do not vouch for it."""
    records = aggregated("aab")
    report = judged(records, [own(records[0]), own(records[2])])
    assert [lost.sequence_number for lost in report.lost] == [f"{records[1].sequence_text}.1"]
    assert not report.holds


def test_an_item_with_the_sequence_number_of_a_whole_aggregate_proves_none_of_its_records():
    """A handler that writes only that is told so by missing records, and not believed."""
    records = aggregated("ab")
    report = judged(records, [Trace(Position(records[0].sequence_number), is_own=True)])
    assert (report.missing, report.foreign) == (2, 1)


@pytest.mark.parametrize("make", [produced, aggregated])
def test_a_place_that_is_in_the_ledger_twice_is_refused(make):
    """Items could not be told apart by it."""
    (record,) = make("a")
    with pytest.raises(LedgerError, match="is there twice"):
        judged([record, record])


@pytest.mark.parametrize(
    "item",
    [
        {"pk": "a"},
        {"pk": "a", "sequenceNumber": "1.5"},
        {"pk": "a", "sequenceNumber": "first"},
        {"pk": "a", "sequenceNumber": ""},
    ],
)
def test_an_item_without_sequence_number_leaves_no_trace(item):
    """Something else lives in the table; it is none of this check's business."""
    assert trace_of(item, ("pk",), "sequenceNumber") is None


def test_a_ledger_line_cut_off_by_a_crash_is_no_record():
    """It was never counted."""
    lines = [b'["s","1","a",1,false,2,"x"]\n', b'["s","2","a",2,false,2,"x"]']
    assert [record.n for record in read_records(lines)] == [1]


def test_a_ledger_line_that_is_none_is_named():
    """The user finds it by its number."""
    with pytest.raises(LedgerError, match="line 3 "):
        list(read_records([b'["s","1","a",1,false,2,"x"]\n', b"[]\n"]))


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b'{"format":99,"stream":"s"}'])
def test_a_file_that_is_no_ledger_is_refused(line):
    """Also one of a later format."""
    with pytest.raises(LedgerError):
        read_header(line)
