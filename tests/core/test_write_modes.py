"""What each write mode carries."""

import pytest

from headrace.core.write_modes import NotCarried, WriteMode, insist
from headrace.operations import Delete, Put


@pytest.mark.parametrize("mode", list(WriteMode))
def test_a_put_is_carried_by_every_mode_and_a_delete_by_put_alone(mode):
    """What could bring a deleted item back is refused, with the reason."""
    insist(Put({"a": 1}), mode)
    if mode is WriteMode.PUT:
        insist(Delete({"a": 1}), mode)
    else:
        with pytest.raises(NotCarried, match=f"HEADRACE_SINK_MODE={mode} carries no Delete.*bring (it|the item) back"):
            insist(Delete({"a": 1}), mode)
