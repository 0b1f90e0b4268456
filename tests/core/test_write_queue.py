"""Writes to one key never overtake each other, and waiting ones collapse."""

from collections.abc import Hashable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.write_queue import WriteQueue


@dataclass(frozen=True)
class Write:
    key: Hashable
    number: int


def queue_of(*keys):
    queue = WriteQueue()
    for number, key in enumerate(keys):
        queue.push(Write(key, number))
    return queue


def numbers(chunk):
    return {key: [write.number for write in line] for key, line in chunk.items()}


def test_a_chunk_has_at_most_the_limit_of_distinct_keys_in_order_of_submission():
    """BatchWriteItem refuses a 26th write and a repeated key."""
    queue = queue_of(*"abcde")
    assert list(queue.take(3)) == ["a", "b", "c"]
    assert list(queue.take(3)) == ["d", "e"]
    assert queue.take(3) == {}


def test_writes_of_one_key_within_a_chunk_form_one_line():
    """Only the last one is sent."""
    assert numbers(queue_of("a", "b", "a", "a").take(25)) == {"a": [0, 2, 3], "b": [1]}


def test_a_write_of_a_busy_key_waits_and_others_pass_it():
    """One key in flight holds up only itself."""
    queue = queue_of("a")
    queue.take(25)
    queue.push(Write("a", 1))
    queue.push(Write("b", 2))
    assert numbers(queue.take(25)) == {"b": [2]}
    assert queue.take(25) == {}
    queue.release(["a"])
    assert numbers(queue.take(25)) == {"a": [1]}


def test_a_released_key_whose_line_is_not_taken_yet_stays_busy():
    """Otherwise a newer write could be taken before the line that waits at the front."""
    queue = queue_of("a", "b")
    queue.take(25)
    queue.push(Write("a", 2))
    queue.push(Write("b", 3))
    queue.take(25)
    queue.release(["a", "b"])
    assert numbers(queue.take(1)) == {"a": [2]}
    queue.push(Write("b", 4))
    assert numbers(queue.take(25)) == {"b": [3, 4]}


def test_a_released_line_goes_before_newer_keys():
    """It has waited longest."""
    queue = queue_of("a")
    queue.take(25)
    queue.push(Write("a", 1))
    queue.push(Write("b", 2))
    queue.take(1)
    queue.push(Write("c", 3))
    queue.release(["a"])
    assert numbers(queue.take(1)) == {"a": [1]}


@given(st.data())
def test_under_any_interleaving_each_write_goes_once_in_key_order_and_no_key_twice_at_once(data):
    """Random pushes, takes and releases against the three rules that matter."""
    queue = WriteQueue()
    pushed: list[Write] = []
    flying: list[dict] = []
    landed: dict[Hashable, list[int]] = {}
    for _ in range(data.draw(st.integers(0, 60))):
        action = data.draw(st.sampled_from(["push", "push", "take", "release"]))
        if action == "push":
            pushed.append(Write(data.draw(st.sampled_from("abcde")), len(pushed)))
            queue.push(pushed[-1])
        elif action == "take":
            chunk = queue.take(data.draw(st.integers(1, 4)))
            assert not chunk.keys() & {key for other in flying for key in other}
            flying.append(chunk)
        elif flying:
            land(queue, flying.pop(data.draw(st.integers(0, len(flying) - 1))), landed)
    while flying or queue:
        if queue:
            flying.append(queue.take(3))
        if flying:
            land(queue, flying.pop(0), landed)
    for key in "abcde":
        assert landed.get(key, []) == [write.number for write in pushed if write.key == key]


def land(queue, chunk, landed):
    for key, line in chunk.items():
        landed.setdefault(key, []).extend(write.number for write in line)
    queue.release(chunk)


def test_a_queue_that_does_not_fold_hands_out_the_writes_of_a_key_one_by_one():
    """For those who follow every change."""
    queue = WriteQueue(folds=False)
    for number in range(3):
        queue.push(Write("a", number))
    seen = []
    while queue:
        chunk = queue.take(25)
        seen.append([write.number for line in chunk.values() for write in line])
        queue.release(list(chunk))
    assert seen == [[0], [1], [2]]
