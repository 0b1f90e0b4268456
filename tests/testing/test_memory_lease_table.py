"""What the in-memory lease table refuses as AWS does and local servers do not."""

import pytest

from headrace.errors import Rejected
from headrace.rows import Key, UpdateRow
from headrace.testing.lease_table import MemoryLeaseTable


def update(n: int) -> UpdateRow:
    return UpdateRow(Key("L#s#1", f"shard-{n}"), (), {"ck": "000"})


@pytest.mark.parametrize("requests", [[update(1), update(1)], [update(n) for n in range(26)], []])
async def test_a_call_names_each_row_once_and_at_most_twenty_five(requests):
    """Otherwise it is refused whole."""
    with pytest.raises(Rejected):
        await MemoryLeaseTable().apply_each(requests)
