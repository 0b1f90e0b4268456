"""How the answer of a handler that reports item failures is read."""

from __future__ import annotations

import json

import pytest
from core.one_batch import FIRST_SEQUENCE
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.answers import BAD_ANSWER, PartialFailure, Reports, Success, WholeFailure, read_text, read_value

BATCH = [FIRST_SEQUENCE + n for n in (8, 9, 10, 11)]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([str(n) for n in BATCH]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["batchItemFailures", "itemIdentifier", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def named(*identifiers: object) -> dict[str, object]:
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}


def read(value: object) -> object:
    return read_value(value, BATCH, Reports.ALWAYS)


@pytest.mark.parametrize("index", range(4))
def test_a_record_of_the_batch_is_named_by_its_sequence_number(index):
    """All before it were handled."""
    assert read(named(str(BATCH[index]))) == PartialFailure(index)


def test_the_lowest_of_several_counts_as_a_number_not_as_text():
    """As text 10 would come before 9."""
    assert read_value(named("10", "9"), [8, 9, 10], Reports.ALWAYS) == PartialFailure(1)


def test_a_record_may_be_named_twice():
    """It failed once."""
    assert read(named(str(BATCH[2]), str(BATCH[1]), str(BATCH[2]))) == PartialFailure(1)


def test_records_of_one_aggregate_share_their_number_and_the_first_is_meant():
    """None of them is taken for handled."""
    assert read_value(named("7"), [6, 7, 7, 7, 8], Reports.ALWAYS) == PartialFailure(1)


def test_other_members_of_the_answer_do_not_matter():
    """Handlers add what they like."""
    value = {"ok": 3, "batchItemFailures": [{"itemIdentifier": str(BATCH[1]), "why": "late"}]}

    assert read(value) == PartialFailure(1)


@pytest.mark.parametrize("value", [{"statusCode": 200}, {"batchitemfailures": [{"itemIdentifier": "x"}]}], ids=str)
def test_an_object_without_the_list_is_a_success_as_an_empty_one_is(value):
    """AWS does not look at other members."""
    assert read(value) == Success()


@pytest.mark.parametrize(
    "value",
    [
        named(str(BATCH[1]), "1"),
        named(str(BATCH[1]), ""),
        named("1"),
        named(BATCH[1]),
        named(True),
        named(f"0{BATCH[1]}"),
        named(f" {BATCH[1]}"),
        named([str(BATCH[1])]),
        {"batchItemFailures": [str(BATCH[1])]},
        {"batchItemFailures": [None]},
        {"batchItemFailures": [{}]},
        {"batchItemFailures": [{"itemidentifier": str(BATCH[1])}]},
        {"batchItemFailures": {"itemIdentifier": str(BATCH[1])}},
        {"batchItemFailures": {}},
        {"batchItemFailures": ""},
        {"batchItemFailures": 0},
        {"batchItemFailures": False},
        [{"itemIdentifier": str(BATCH[1])}],
        "3 records handled",
        0,
        False,
        1.5,
        (),
    ],
    ids=repr,
)
def test_what_cannot_be_understood_fails_the_whole_batch(value):
    """A failure that is told in the wrong form must not pass for a success; the handler itself did not fail."""
    answer = read(value)

    assert isinstance(answer, WholeFailure)
    assert (answer.error, answer.is_function_error) == (BAD_ANSWER, False)


def test_an_answer_s_text_is_not_repeated_in_the_problem():
    """It may quote a payload."""
    answer = read(named("secret"))

    assert isinstance(answer, WholeFailure)
    assert "secret" not in answer.message


@pytest.mark.parametrize(
    "text", [b"{", b"\xff", b"[" * 100_000, b"1" * 5_000, b"nothing"], ids=["cut", "no UTF-8", "deep", "long", "word"]
)
def test_an_answer_that_is_no_json_fails_the_whole_batch(text):
    """Also one that the parser refuses for its size."""
    assert isinstance(read_text(text, BATCH, Reports.ALWAYS), WholeFailure)


@given(json_values)
def test_nobody_looks_at_the_answer_unless_failures_are_reported_in_it(value):
    """Without the feature any value is a success."""
    assert read_value(value, BATCH, Reports.NEVER) == Success()
    assert read_text(b"{", BATCH, Reports.NEVER) == Success()


@given(json_values)
def test_any_value_is_one_of_three_things_and_its_text_the_same(value):
    """A success, a whole failure, or a failure of a record that is in the batch."""
    answer = read(value)

    assert isinstance(answer, Success | WholeFailure | PartialFailure)
    assert not isinstance(answer, PartialFailure) or answer.first < len(BATCH)
    assert read_text(json.dumps(value).encode(), BATCH, Reports.ALWAYS) == answer


@pytest.mark.parametrize(
    "text", ["Successfully processed 100 records.", "{", "[1]", "7", "true", '{"statusCode": 200}']
)
def test_a_handler_that_says_something_else_is_taken_at_its_word_unless_the_mapping_insists(text):
    """A text for people is no report of failures."""
    assert read_text(text.encode(), BATCH, Reports.AUTO) == Success()


def test_a_report_of_failures_is_read_without_a_setting():
    """Whoever names a record means it; and a report that cannot be understood is none of success."""
    assert read_value(named(str(BATCH[2])), BATCH, Reports.AUTO) == PartialFailure(2)
    assert isinstance(read_value(named("7"), BATCH, Reports.AUTO), WholeFailure)
    assert isinstance(read_value({"batchItemFailures": "7"}, BATCH, Reports.AUTO), WholeFailure)


def test_no_record_comes_before_the_first():
    """An index is counted from the front."""
    with pytest.raises(ValueError, match="-1"):
        PartialFailure(-1)
