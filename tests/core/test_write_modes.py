"""What each write mode carries."""

import pytest

from headrace.core.write_modes import CARRIED, NotCarried, WriteMode, insist
from headrace.operations import Condition, Delete, Increment, Put, Update

EFFECTS = [
    Put({"a": 1}),
    Delete({"a": 1}),
    Update({"a": 1}, assign={"b": 2}),
    Increment({"a": 1}, {"n": 1}),
]


@pytest.mark.parametrize("mode", list(WriteMode))
@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: type(effect).__name__)
def test_an_operation_that_a_mode_does_not_carry_is_refused_with_the_reason(mode, effect):
    """Never written in another way than it was meant."""
    if type(effect) in CARRIED[mode]:
        insist(effect, mode)
    else:
        why = "bring (it|the item) back" if isinstance(effect, Delete) else "repeated.*transactional carries it"
        with pytest.raises(NotCarried, match=f"HEADRACE_SINK_MODE={mode} carries no {type(effect).__name__}: .*{why}"):
            insist(effect, mode)


@pytest.mark.parametrize("mode", [WriteMode.PUT, WriteMode.INSERT, WriteMode.LATEST])
def test_a_condition_is_taken_in_mode_transactional_only(mode):
    """Elsewhere it would be dropped in silence."""
    put = Put({"a": 1}, condition=Condition("attribute_not_exists(a)"))
    insist(put, WriteMode.TRANSACTIONAL)
    with pytest.raises(NotCarried, match="carries no Put with a condition; HEADRACE_SINK_MODE=transactional"):
        insist(put, mode)
