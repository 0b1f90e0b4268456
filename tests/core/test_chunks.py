"""Which records go into one transaction, and that what is folded leaves each item as its writes would have, one by one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.chunks import MOST_BYTES, MOST_OPERATIONS, Chunk
from headrace.core.folding import fold
from headrace.core.items import N
from headrace.operations import Condition, Delete, Effect, Increment, Put, Update

KEY = {"pk": "a"}
NAMES = st.sampled_from(["x", "y", "z"])
NUMBERS = st.integers(-5, 5) | st.decimals(-5, 5, places=2) | st.sampled_from([0.5, 0.1]) | st.just(N("7"))
VALUES = NUMBERS | st.just("text")


def updates() -> st.SearchStrategy[Effect]:
    """Each attribute is assigned, counted or taken away, one of them at least."""
    touched = st.dictionaries(NAMES, st.sampled_from(["assign", "increment", "remove"]), min_size=1)

    def made(kinds: dict[str, str], values: list[Any]) -> Effect:
        given_ = dict(zip(kinds, values, strict=False))
        return Update(
            KEY,
            assign={name: given_[name] for name, kind in kinds.items() if kind == "assign"},
            increment={name: _as_number(given_[name]) for name, kind in kinds.items() if kind == "increment"},
            remove=[name for name, kind in kinds.items() if kind == "remove"],
        )

    return st.builds(made, touched, st.lists(VALUES, min_size=3, max_size=3))


EFFECTS = st.one_of(
    st.dictionaries(NAMES, VALUES).map(lambda item: Put({**KEY, **item})),
    st.just(Delete(KEY)),
    updates(),
    st.dictionaries(NAMES, NUMBERS, min_size=1).map(lambda by: Increment(KEY, by)),
)


def _as_number(value: Any) -> Any:
    return 1 if isinstance(value, str) else value


def applied(item: dict[str, Any] | None, effect: Effect) -> dict[str, Any] | None:
    """What DynamoDB makes of it, numbers as Decimal. Raises TypeError for a sum with what is no number."""
    match effect:
        case Put():
            return {name: _stored(value) for name, value in effect.item.items()}
        case Delete():
            return None
        case Increment():
            return applied(item, Update(effect.key, increment=effect.by))
        case Update():
            there = {**(item or KEY), **{name: _stored(value) for name, value in effect.assign.items()}}
            for name, by in effect.increment.items():
                if isinstance(there.get(name), str):
                    raise TypeError("no number")
                there[name] = there.get(name, Decimal(0)) + _stored(by)
            return {name: value for name, value in there.items() if name not in effect.remove}


def _stored(value: Any) -> Any:
    if isinstance(value, N):
        return Decimal(value.N)
    return Decimal(repr(value)) if isinstance(value, int | float) else value


@given(
    EFFECTS,
    EFFECTS,
    st.none() | st.dictionaries(NAMES, st.integers(0, 9).map(Decimal)).map(lambda item: {**KEY, **item}),
)
def test_two_writes_told_as_one_leave_the_item_as_both_would(earlier, later, item):
    """Whatever was there. What one of them would have been refused for alone is no longer seen where the other undoes it."""
    folded = fold(earlier, later)
    if folded is None:
        return
    try:
        one_by_one = applied(applied(item, earlier), later)
    except TypeError:
        return
    assert applied(item, folded) == one_by_one


@given(st.lists(NUMBERS, min_size=1, max_size=30))
def test_increments_of_one_item_always_become_one(numbers):
    """A counter that every record of a batch touches costs one operation."""
    folded: Effect = Increment(KEY, {"n": numbers[0]})
    for number in numbers[1:]:
        summed = fold(folded, Increment(KEY, {"n": number}))
        assert summed is not None
        folded = summed
    assert applied(None, folded) == {**KEY, "n": sum(map(_stored, numbers), Decimal(0))}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (Put(KEY, condition=Condition("attribute_not_exists(pk)")), Put(KEY)),
        (Put(KEY), Delete(KEY, condition=Condition("attribute_exists(pk)"))),
        (Delete(KEY), Increment(KEY, {"n": 1})),
        (Put({**KEY, "n": "text"}), Increment(KEY, {"n": 1})),
        (Put({**KEY, "n": 10**40}), Increment(KEY, {"n": 0.5})),
        (Put(KEY), Update(KEY, assign={"pk": "b"})),
        (Put(KEY), Increment(KEY, {"pk": 1})),
        (Update(KEY, {"n": True}), Increment(KEY, {"n": 1})),
    ],
)
def test_what_the_stored_item_decides_is_not_told_as_one(earlier, later):
    """A condition, a value that is no number, digits that do not fit, a change of the key."""
    assert fold(earlier, later) is None


RECORDS = st.lists(st.lists(st.tuples(st.sampled_from("abcd"), EFFECTS), max_size=4), max_size=12)


@given(RECORDS, st.booleans())
def test_a_chunk_leaves_every_item_as_its_records_would_have_one_after_the_other(records, folds):
    """It takes them from the first on, whole, and says who wrote an item first."""
    chunk = Chunk(folds=folds)
    taken = 0
    for writes in records:
        if not chunk.add(writes, 100):
            break
        taken += 1
    assert chunk.records == taken
    assert chunk.writes == sum(map(len, records[:taken]))
    items: dict[str, Any] = {}
    for writes in records[:taken]:
        for key, effect in writes:
            try:
                items[key] = applied(items.get(key), effect)
            except TypeError:
                return
    assert {key: applied(None, effect) for key, effect in chunk.operations.items()} == items
    for place, key in enumerate(chunk.operations):
        writers = [number for number, writes in enumerate(records[:taken]) if key in dict(writes)]
        assert chunk.first_to_write([place]) == writers[0]
        assert folds or len(writers) == 1


def test_a_chunk_ends_before_the_record_that_does_not_fit():
    """By operations, by bytes; the first record always fits by its bytes."""
    chunk = Chunk(folds=True)
    for number in range(MOST_OPERATIONS // 2):
        assert chunk.add([(f"{number}a", Delete(KEY)), (f"{number}b", Delete(KEY))], 1)
    assert not chunk.add([("new", Delete(KEY))], 1)
    assert chunk.add([("0a", Delete(KEY))], 1)
    assert chunk.add([], 1)
    large = Chunk(folds=True)
    assert large.add([("a", Delete(KEY))], 2 * MOST_BYTES)
    assert not large.add([("b", Delete(KEY))], 1)
    assert not Chunk(folds=True).add([(number, Delete(KEY)) for number in range(MOST_OPERATIONS + 1)], 1)
