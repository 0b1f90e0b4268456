"""What a guarded write does about the item it met."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.guarded import Ask, Form, Guard, Refuse, Same, Stale, met, rank
from headrace.core.items import ItemError, N, S
from headrace.core.known_items import KnownItems
from headrace.core.record_order import nth, order_of
from headrace.model import Record

OWN = Guard("o")
BY = Guard("o", "at")

records = st.builds(
    Record,
    data=st.just(b""),
    partition_key=st.just("k"),
    sequence_number=st.integers(0, 10**60),
    arrival_s=st.just(0.0),
    sub_sequence_number=st.integers(-1, 10**6),
)


@given(st.tuples(st.integers(0, 999_999), records), st.tuples(st.integers(0, 999_999), records))
def test_the_order_of_records_sorts_as_generation_number_and_sub_number_do(one, other):
    """Byte by byte, as DynamoDB compares text; the writes of a record come before those of the next."""
    texts = [order_of(generation, record) for generation, record in (one, other)]
    places = [(g, r.sequence_number, r.sub_sequence_number) for g, r in (one, other)]
    assert (texts[0].encode() < texts[1].encode()) == (places[0] < places[1])
    if places[0] < places[1] and (one[1].sub_sequence_number < 0) == (other[1].sub_sequence_number < 0):
        assert nth(texts[0], 9999) < texts[1]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1), st.booleans())
def test_whatever_comes_in_whatever_order_the_newest_stands(writes, has_own):
    """Each write follows what it is told until it is done; the item never goes back."""
    guard = OWN if has_own else BY
    stored, newest = {}, None
    for number, at in writes:
        order, by = f"{number}", None if has_own else N(str(at))
        step = met(stored or None, guard, order, by)
        place = rank(order, by)
        is_newer = newest is None or place > newest
        assert isinstance(step, Ask) == is_newer
        if is_newer:
            newest = place
            stored = {"o": {"S": order}, **({} if by is None else {"at": {"N": by.N}})}


def test_each_refusal_has_its_own_next_step():
    """No item, one without an order, an older one, the same, a newer one, a tie, and one that cannot be compared."""
    assert met(None, OWN, "5", None) == Ask(Form.INSERT)
    assert met({"x": {"S": "y"}}, OWN, "5", None) == Ask(Form.ADOPT)
    assert met({"o": {"S": "4"}}, OWN, "5", None) == Ask(Form.UPDATE)
    assert met({"o": {"S": "5"}}, OWN, "5", None) == Same()
    assert met({"o": {"S": "6"}}, OWN, "5", None) == Stale()
    assert met({"at": {"N": "7"}, "o": {"S": "4"}}, BY, "5", N("7.0")) == Ask(Form.TIE)
    assert met({"at": {"N": "7"}}, BY, "5", N("7")) == Stale()
    assert isinstance(met({"at": {"S": "7"}, "o": {"S": "4"}}, BY, "5", N("7")), Refuse)
    assert isinstance(met({"o": {"N": "4"}}, OWN, "5", None), Refuse)
    assert isinstance(met({"at": {"N": "7"}, "o": {"N": "4"}}, BY, "5", N("7")), Refuse)


@pytest.mark.parametrize("item", [{}, {"at": None}, {"at": [1]}, {"at": True}, {"at": b"x"}, {"at": 1, "o": "x"}])
def test_an_item_that_cannot_be_compared_is_refused_before_it_is_sent(item):
    """With the attribute and the setting."""
    with pytest.raises(ItemError, match="HEADRACE_SINK_ORDER"):
        BY.value_of(item)


def test_a_value_of_the_user_is_text_or_a_number():
    """As it is written."""
    assert BY.value_of({"at": "2026"}) == S("2026")
    assert BY.value_of({"at": 7}) == N("7")
    assert OWN.value_of({"at": 7}) is None


def test_the_memory_of_items_forgets_the_oldest_half():
    """What was told last is there, and it never holds more than twice its size."""
    known = KnownItems(most=2)
    for number in range(5):
        known.add(number, str(number))
    assert [known.get(number) for number in range(5)] == [None, None, "2", "3", "4"]
