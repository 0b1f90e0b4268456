"""One record of a key in flight, in order, whatever fails."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from headrace_producer.outbox import MAX_BYTES, CallRules, Outbox
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


def test_records_of_a_key_go_together_as_far_as_an_aggregate_holds_them():
    """The rest of them waits for the answer."""
    outbox = Outbox(CallRules(run_bytes=1000))
    outbox.add([draft("a", n, 300) for n in range(1, 6)])
    outbox.add(keyed("b"))
    assert [(one.key, one.n) for one in outbox.take()] == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert len(outbox) == 2
    assert not outbox.is_ready


def test_a_run_that_was_refused_comes_back_in_order():
    """Before what has waited behind it."""
    outbox = Outbox(CallRules(run_bytes=1000))
    outbox.add([draft("a", n, 300) for n in range(1, 6)])
    outbox.give_back(outbox.take())
    assert [one.n for one in outbox.take()] == [1, 2, 3]
    assert len(outbox) == 2


def test_a_call_is_full_when_it_holds_what_a_call_may():
    """Then it need not wait for more."""
    outbox = Outbox(CallRules(records=2))
    outbox.add(keyed("aab"))
    assert outbox.fills_a_call
    outbox.take()
    outbox.add(keyed("c"))
    assert not outbox.fills_a_call


@given(st.text("abc", max_size=30), st.randoms(use_true_random=True), st.sampled_from([0, 100, 1000]))
def test_each_key_is_acknowledged_in_order_and_none_is_forgotten(keys, chance, run_bytes):
    """For any interleaving of adding, taking, acknowledging and giving back; of a key all or nothing in a call."""
    outbox, source, in_flight, done = Outbox(CallRules(run_bytes=run_bytes)), list(keyed(keys)), [], defaultdict(list)
    while source or in_flight or outbox.is_ready:
        step = chance.choice(["add", "take", "answer"])
        if step == "add":
            outbox.add(source[:3])
            del source[:3]
        elif step == "take":
            in_flight += [taken] if (taken := outbox.take()) else []
        elif in_flight:
            call = in_flight.pop(chance.randrange(len(in_flight)))
            unlucky = {key for key in "abc" if chance.random() < 0.4}
            refused = [one for one in call if one.key in unlucky]
            good = [one for one in call if one.key not in unlucky]
            for one in good:
                done[one.key].append(one.n)
            outbox.acknowledge(good)
            outbox.give_back(refused)
    assert outbox.is_empty
    assert {key: list(range(1, keys.count(key) + 1)) for key in set(keys)} == done
