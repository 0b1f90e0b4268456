"""Positions of letters that a lease row announces in mode transactional: none stays that the checkpoint has passed."""

from __future__ import annotations

import pytest
from flow.fleet import FAST_RETRY, fleet

from headrace.core.batching import BatchRules
from headrace.errors import Reject, Rejected
from headrace.flow.workplace import ShardRules
from headrace.model import Record
from headrace.rows import UpdateRow

pytestmark = pytest.mark.looptime

RULES = ShardRules(batch=BatchRules(20), retry=FAST_RETRY)
MOST_BYTES = 400 * 1024
"""Of an item (DynamoDB quotas)."""


def broken(record: Record) -> None:
    raise Reject("a bad deploy")


async def test_positions_behind_the_checkpoint_do_not_stay_in_the_row():
    """Those of the last transaction at the most."""
    async with fleet() as f:
        f.put(300)
        f.start(handle=broken, shard=RULES, transactional=True)
        await f.until(f.last_checkpoints_reached)
        (lease,) = f.leases().values()
        assert len(f.letters.letters) == 300
        assert len(lease.may_have_letters) <= 98


async def test_a_handler_that_fails_for_every_record_does_not_fill_the_row_until_dynamodb_refuses_it():
    """The worker would end, and every other one after it."""
    async with fleet() as f:
        apply = f.table.apply

        async def limited(request):
            if isinstance(request, UpdateRow) and sum(map(len, request.assign.get("dead", ()))) > MOST_BYTES:
                raise Rejected("Item size to update has exceeded the maximum allowed size")
            return await apply(request)

        f.table.apply = limited
        f.put(10_000)
        f.start(handle=broken, shard=RULES, transactional=True)
        f.look_s = 0.5
        await f.until(f.last_checkpoints_reached, within_s=600)
