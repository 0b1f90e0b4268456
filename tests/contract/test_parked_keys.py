"""The requests of parked keys and of the turn to redrive, asked of the in-memory table and of real servers alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from contract.lease_tables import Backend

from headrace.core import parked_keys, redrive_turn
from headrace.core.parked_keys import ParkedKey
from headrace.model import TRIM_HORIZON, Checkpoint, Record, ShardId
from headrace.rows import Applied, Refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHARD = ShardId("shardId-000000000000")
NUMBER = 49590338271490256608559692538361571095921575989136588898
KEYS = ["k", "ü" * 256, "\U0001f4a9" * 256, "a#b/c d\n\t\x01", " "]


def record(n, key="k", shard=SHARD):
    return Record(b"", key, NUMBER + n, 0.0, shard)


def at(n):
    return Checkpoint.at(NUMBER + n)


def row(n, key="k", **more):
    return ParkedKey(key, SHARD, at(n), since_s=1.5, count=1, **more)


async def rows(table):
    return parked_keys.parked(await table.query(parked_keys.parked_partition("s")))


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
async def test_any_partition_key_can_be_parked_and_is_found_again(table, key):
    """256 characters of four bytes are the most that Kinesis takes and that a sort key holds."""
    assert isinstance(await table.apply(parked_keys.park("s", row(1, key))), Applied)
    assert await rows(table) == {key: row(1, key, sure=TRIM_HORIZON)}


async def test_a_key_that_is_parked_is_followed_and_not_parked_again(table, backend: Backend):
    """The refusal shows the row, where the server shows any."""
    await table.apply(parked_keys.park("s", row(5)))
    refused = await table.apply(parked_keys.park("s", row(3)))
    assert isinstance(refused, Refused)
    if backend.shows_old_rows:
        assert parked_keys.parked_key(refused.row) == row(5)
    assert isinstance(await table.apply(parked_keys.follow("s", row(5), replace(row(9), count=2))), Applied)
    assert (await rows(table))["k"] == replace(row(9), count=2)


async def test_what_follows_a_key_that_was_released_is_refused_and_makes_no_row(table):
    """It is handled like any other."""
    await table.apply(parked_keys.park("s", row(5)))
    await table.apply(parked_keys.release("s", row(5)))
    assert await table.apply(parked_keys.follow("s", row(5), row(9))) == Refused(None)
    assert await table.apply(parked_keys.confirm("s", record(9), 0)) == Refused(None)
    assert await rows(table) == {}


async def test_a_late_repeat_of_an_earlier_request_changes_nothing(table):
    """It was in the network while its worker went on."""
    await table.apply(parked_keys.park("s", row(5)))
    await table.apply(parked_keys.follow("s", row(5), row(9)))
    await table.apply(parked_keys.confirm("s", record(9), 0))
    for late in (parked_keys.follow("s", row(5), row(7)), parked_keys.confirm("s", record(5), 0)):
        assert isinstance(await table.apply(late), Refused)
    assert (await rows(table))["k"] == row(9, sure=at(9))


async def test_a_release_is_refused_once_another_letter_was_announced(table):
    """The key stays parked until that one was delivered as well."""
    await table.apply(parked_keys.park("s", row(5)))
    await table.apply(parked_keys.follow("s", row(5), row(9)))
    assert isinstance(await table.apply(parked_keys.release("s", row(5))), Refused)
    assert isinstance(await table.apply(parked_keys.release("s", row(9))), Applied)


async def test_in_a_child_shard_nothing_is_sure_until_its_owner_says_so(table):
    """What the parent's owner confirmed stays true of the parent's letters alone."""
    child = ShardId("shardId-000000000001")
    parent = row(5, sure=at(5))
    await table.apply(parked_keys.park("s", parent))
    new = ParkedKey("k", child, at(9), since_s=1.5, count=2)
    assert isinstance(await table.apply(parked_keys.follow("s", parent, new)), Applied)
    assert isinstance(await table.apply(parked_keys.confirm("s", record(5), 0)), Refused)
    assert (await rows(table))["k"] == new


async def test_the_turn_to_redrive_is_one_redrives_and_goes_to_another_only_when_its_beat_stood_still(table):
    """Each beat counts on from the one before."""
    await table.apply(redrive_turn.begin("s", "a", 1.0))
    seen = await table.get(redrive_turn.turn_key("s"))
    assert isinstance(await table.apply(redrive_turn.begin("s", "b", 2.0)), Refused)
    assert isinstance(await table.apply(redrive_turn.beat("s", "a", 1)), Applied)
    assert isinstance(await table.apply(redrive_turn.take_over("s", "b", seen, 2.0)), Refused)
    seen = await table.get(redrive_turn.turn_key("s"))
    assert isinstance(await table.apply(redrive_turn.take_over("s", "b", seen, 2.0)), Applied)
    assert isinstance(await table.apply(redrive_turn.beat("s", "a", 2)), Refused)
    assert isinstance(await table.apply(redrive_turn.end("s", "a")), Refused)
    assert isinstance(await table.apply(redrive_turn.end("s", "b")), Applied)


async def test_what_tells_of_an_earlier_reading_of_the_shard_is_refused(table):
    """A confirmation or a release that was on its way while the shard was put elsewhere; and so on, in a child as well."""
    first = row(5)
    again = first.followed_by(SHARD, at(2), 4)
    assert (again.last, again.sure) == (at(5), TRIM_HORIZON)
    child = again.followed_by(ShardId("child"), at(9), 0)
    await table.apply(parked_keys.park("s", first))
    assert isinstance(await table.apply(parked_keys.follow("s", first, again)), Applied)
    for late in (parked_keys.confirm("s", record(5), 0), parked_keys.release("s", first)):
        assert isinstance(await table.apply(late), Refused)
    assert await rows(table) == {"k": again}
    assert isinstance(await table.apply(parked_keys.confirm("s", record(2), 4)), Applied)
    assert isinstance(await table.apply(parked_keys.follow("s", again, child)), Applied)
    assert await rows(table) == {"k": child}
    assert isinstance(await table.apply(parked_keys.release("s", child)), Applied)
