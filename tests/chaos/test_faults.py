"""Faults that cannot be played must not end the run that they are part of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from chaos.faults import Mischief
from chaos.plan import Fault, Kind
from chaos.scene import SIZE

SPLIT = Fault(0.0, Kind.RESHARD, "split", 0.0, victim=0.5)


def shard():
    return {
        "ShardId": "shardId-000000000000",
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "99"},
        "SequenceNumberRange": {"StartingSequenceNumber": "1"},
    }


def mischief(error, told):
    """Against a stream of one shard whose splits fail."""

    async def shards():
        return [shard()]

    async def split_shard(**_):
        raise error

    clients = SimpleNamespace(kinesis=SimpleNamespace(split_shard=split_shard))
    return Mischief(SimpleNamespace(size=SIZE, shards=shards, clients=clients), SimpleNamespace(), told.append)


async def test_a_reshard_that_a_busy_server_does_not_answer_is_told_and_the_run_goes_on():
    """It stays in the list of faults: it may have taken place."""
    told = []
    played = mischief(ReadTimeoutError(endpoint_url="http://here"), told)

    await played.play(SPLIT)

    assert any("reshard: the server did not do it" in line for line in told)
    (fault,) = played.played
    assert fault.kind is Kind.RESHARD
    assert fault.ended is not None, "what follows is not beside it"


async def test_a_server_that_is_gone_ends_the_run():
    """Nothing that follows would be of worth."""
    with pytest.raises(EndpointConnectionError):
        await mischief(EndpointConnectionError(endpoint_url="http://here"), []).play(SPLIT)
