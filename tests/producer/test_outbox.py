"""One record of a key in flight, in order, whatever fails."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from headrace_producer.outbox import MAX_BYTES, Outbox
from headrace_producer.workload import Draft


def draft(key, n, size=1):
    return Draft(key, n, b"x" * size, poison=False)


def keyed(keys):
    counts = defaultdict(int)
    for key in keys:
        counts[key] += 1
        yield draft(key, counts[key])


def test_a_key_in_flight_is_not_taken_again():
    """Its next record waits for the answer."""
    outbox = Outbox()
    outbox.add(keyed("aab"))
    assert [(one.key, one.n) for one in outbox.take()] == [("a", 1), ("b", 1)]
    assert outbox.take() == []
    assert not outbox.is_ready


def test_an_acknowledged_key_goes_to_the_back_of_the_queue():
    """Other keys that waited go first."""
    outbox = Outbox()
    outbox.add(keyed("aa"))
    taken = outbox.take()
    outbox.add(keyed("b"))
    outbox.acknowledge(taken)
    assert [(one.key, one.n) for one in outbox.take()] == [("b", 1), ("a", 2)]


def test_refused_records_are_first_in_turn_again():
    """They are the oldest."""
    outbox = Outbox()
    outbox.add(keyed("ab"))
    taken = outbox.take()
    outbox.add(keyed("c"))
    outbox.give_back(taken)
    assert [one.key for one in outbox.take()] == ["a", "b", "c"]


def test_a_call_has_at_most_500_records():
    """Kinesis's limit."""
    outbox = Outbox()
    outbox.add(draft(str(number), 1) for number in range(501))
    assert len(outbox.take()) == 500
    assert len(outbox.take()) == 1


def test_a_call_has_at_most_5_mib_of_payloads_and_keys():
    """Half of Kinesis's limit; what does not fit stays first."""
    outbox = Outbox()
    outbox.add(draft(f"key-{number}", 1, MAX_BYTES // 3) for number in range(3))
    assert [len(outbox.take()), len(outbox.take())] == [2, 1]


def test_a_single_record_over_the_bound_goes_alone():
    """It would wait for ever otherwise."""
    outbox = Outbox()
    outbox.add([draft("a", 1, MAX_BYTES + 1)])
    assert len(outbox.take()) == 1


def test_it_is_empty_only_when_nothing_is_in_flight():
    """A record in flight may come back."""
    outbox = Outbox()
    outbox.add(keyed("a"))
    taken = outbox.take()
    assert (len(outbox), outbox.is_empty) == (0, False)
    outbox.acknowledge(taken)
    assert outbox.is_empty


@given(st.text("abc", max_size=30), st.randoms(use_true_random=True))
def test_each_key_is_acknowledged_in_order_and_none_is_forgotten(keys, chance):
    """For any interleaving of adding, taking, acknowledging and giving back."""
    outbox, source, in_flight, done = Outbox(), list(keyed(keys)), [], defaultdict(list)
    while source or in_flight or outbox.is_ready:
        step = chance.choice(["add", "take", "answer"])
        if step == "add":
            outbox.add(source[:3])
            del source[:3]
        elif step == "take":
            in_flight += [taken] if (taken := outbox.take()) else []
        elif in_flight:
            call = in_flight.pop(chance.randrange(len(in_flight)))
            refused = [one for one in call if chance.random() < 0.4]
            good = [one for one in call if one not in refused]
            for one in good:
                done[one.key].append(one.n)
            outbox.acknowledge(good)
            outbox.give_back(refused)
    assert outbox.is_empty
    assert {key: list(range(1, keys.count(key) + 1)) for key in set(keys)} == done
