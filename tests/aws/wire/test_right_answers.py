"""Whatever happens on the way, nobody gets an answer that is not theirs."""

import asyncio
import random
from collections import Counter
from contextlib import suppress

import pytest
from aws.wire.peer import HEADERS, Peer, always, ok, pool_to, raw_server

from headrace.aws.wire import UnansweredError

CALLS = 400


class MoodyServer:
    """Echoes bodies: late, in pieces, with too much, half, or not at all; and hangs up at any moment."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    async def life(self, peer: Peer) -> None:
        with suppress(ConnectionError):  # the caller left
            while (body := await peer.request()) is not None:
                for _ in range(self.chance.randrange(4)):
                    await asyncio.sleep(0)
                if not await self.answer(peer, ok(body)):
                    return

    async def answer(self, peer: Peer, whole: bytes) -> bool:
        """Whether the connection goes on."""
        cut, mood = self.chance.randrange(len(whole)), self.chance.randrange(10)
        match mood:
            case 0:
                pass
            case 1:
                peer.reset()
            case 2:
                await peer.send(whole[:cut])
            case 3:
                await peer.send(whole + whole[:cut])
            case 4:
                await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + whole)
            case 5:
                await peer.send(whole[:cut], whole[cut:])
            case _:
                await peer.send(whole)
        return mood > 2


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_each_answer_meets_its_own_request(seed):
    """Callers leave at any moment too."""
    chance = random.Random(seed)
    outcomes = Counter()

    async def call(pool, body: bytes) -> None:
        try:
            answer = await pool.exchange(HEADERS, body, always)
        except UnansweredError:
            outcomes["unanswered"] += 1
        except asyncio.CancelledError:
            outcomes["cancelled"] += 1
        else:
            outcomes["answered"] += 1
            assert answer.body == body

    lives = [MoodyServer(chance).life] * 3 * CALLS
    async with raw_server(*lives) as server, pool_to(server.url, connections=4) as pool, asyncio.TaskGroup() as tasks:
        for number in range(CALLS):
            task = tasks.create_task(call(pool, f"{number}-{'x' * chance.randrange(300)}".encode()))
            for _ in range(chance.randrange(8)):
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                task.cancel()
    assert outcomes.keys() == {"answered", "unanswered", "cancelled"}
    assert outcomes["answered"] > CALLS // 4
