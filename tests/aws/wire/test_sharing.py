"""How calls share connections, and when connections end."""

import asyncio
from collections import deque

import pytest
from aws.wire.peer import HEADERS, PATIENCE_S, Peer, always, ok, pool_to, raw_server

from headrace.aws.wire import UnansweredError
from headrace.errors import LeaseLost


async def post(pool, body: bytes = b"body", permit=always) -> bytes:
    return (await pool.exchange(HEADERS, body, permit)).body


async def echoes(peer: Peer) -> None:
    while (body := await peer.request()) is not None:
        await peer.send(ok(body))


class Gate:
    """A server whose answers wait for the test: `open` lets out the one that waits longest."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Event] = deque()

    async def life(self, peer: Peer) -> None:
        while (body := await peer.request()) is not None:
            turn = asyncio.Event()
            self.waiting.append(turn)
            await turn.wait()
            await peer.send(ok(body))

    def open(self) -> None:
        self.waiting.popleft().set()


async def test_requests_one_after_another_share_a_connection():
    """A TLS handshake for each would cost more than all the rest."""
    async with raw_server(echoes) as server, pool_to(server.url) as pool:
        for number in range(5):
            assert await post(pool, str(number).encode()) == str(number).encode()


async def test_no_more_connections_than_allowed_and_who_comes_first_is_served_first():
    """Those who wait stand in line."""
    gate = Gate()
    async with (
        raw_server(gate.life, gate.life) as server,
        pool_to(server.url, connections=2) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        calls = []
        for number in range(6):
            calls.append(tasks.create_task(post(pool, str(number).encode())))
            await server.until(lambda number=number: len(server.bodies) == min(number + 1, 2))
        for seen in range(6):
            await server.until(lambda seen=seen: len(server.bodies) == min(6, seen + 2))
            gate.open()
    assert server.bodies == [str(number).encode() for number in range(6)]
    assert [call.result() for call in calls] == server.bodies
    assert server.most_open == 2


async def test_a_waiter_that_leaves_does_not_hold_up_the_line():
    """Those behind it move up."""
    gate = Gate()
    async with (
        raw_server(gate.life) as server,
        pool_to(server.url, connections=1) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        _, gone, last = (tasks.create_task(post(pool, name)) for name in (b"0", b"1", b"2"))
        await server.until(lambda: bool(server.bodies))
        gone.cancel()
        gate.open()
        await server.until(lambda: len(server.bodies) > 1)
        gate.open()
        assert await last == b"2"
    assert server.bodies == [b"0", b"2"]


async def test_a_waiter_that_leaves_in_the_moment_of_its_turn_passes_it_on():
    """It was given the place, and never knew."""
    gate = Gate()
    async with (
        raw_server(gate.life) as server,
        pool_to(server.url, connections=1) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        _, gone, last = (tasks.create_task(post(pool, name)) for name in (b"0", b"1", b"2"))
        await server.until(lambda: bool(server.bodies))
        release = pool._slots.release

        def release_and_cancel() -> None:
            release()
            gone.cancel()

        pool._slots.release = release_and_cancel
        gate.open()
        await server.until(lambda: len(server.bodies) > 1)
        gate.open()
        assert await last == b"2"
    assert server.bodies == [b"0", b"2"]


async def refused(call, words: str) -> None:
    with pytest.raises(UnansweredError, match=words):
        await call


async def test_a_server_that_says_nothing_is_waited_for_until_the_deadline():
    """More about times in test_wire_times.py."""

    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.ended()

    async with raw_server(silent) as server, pool_to(server.url, call_s=0.05) as pool:
        await refused(post(pool), "no (answer|connection to 127.0.0.1) within")


async def test_a_call_that_is_cancelled_closes_its_connection():
    """So that its answer cannot meet the next caller, who gets a connection and an answer of its own."""
    gate = Gate()
    async with raw_server(gate.life, echoes) as server, pool_to(server.url, connections=1) as pool:
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(post(pool, b"old"))
            await server.until(lambda: bool(server.bodies))
            call.cancel()
        gate.open()
        assert await post(pool, b"new") == b"new"


async def test_a_call_that_is_cancelled_while_it_connects_leaves_its_place():
    """The next in line connects for itself."""
    async with raw_server(echoes) as server, pool_to(server.url, connections=1) as pool:
        connect, stuck = pool._origin.connect, asyncio.Event()

        async def hang(_protocol):
            stuck.set()
            await asyncio.Event().wait()

        pool._origin = Hanging(hang)
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(post(pool))
            await stuck.wait()
            call.cancel()
        pool._origin = Hanging(connect)
        assert await post(pool, b"next") == b"next"


class Hanging:
    host = "nowhere"

    def __init__(self, connect) -> None:
        self.connect = connect


async def test_a_port_that_nobody_listens_on_is_no_connection():
    """The server is down."""
    async with raw_server() as server:
        pass
    async with pool_to(server.url) as pool:
        await refused(post(pool), "no connection to 127.0.0.1: ")


async def test_a_name_that_nobody_knows_is_no_connection():
    """Or the name service is down."""
    async with pool_to("http://headrace.invalid:80") as pool:
        await refused(post(pool), "no connection to headrace.invalid: ")


async def test_a_connection_without_work_is_closed():
    """Before the server would do so in the wrong moment."""
    async with raw_server(echoes) as server, pool_to(server.url, idle_s=0.03) as pool:
        await post(pool)
        await server.until(lambda: not server.open)


@pytest.mark.parametrize("age_s", [0.0, 0.03])
async def test_an_old_connection_is_closed_and_replaced(age_s):
    """The endpoint's name may point elsewhere by now."""
    async with raw_server(echoes, echoes) as server, pool_to(server.url, age_s=age_s) as pool:
        await post(pool)
        await server.until(lambda: not server.open)
        await post(pool)
    assert server.accepted == 2


async def test_the_connection_used_last_is_used_next():
    """The others run idle and are closed, when one is enough."""
    used = []

    async def life(peer: Peer) -> None:
        while (body := await peer.request()) is not None:
            used.append(peer)
            await peer.send(ok(body))

    async with raw_server(life, life) as server, pool_to(server.url) as pool:
        for connection in [await pool._connect(pool._loop.time() + PATIENCE_S) for _ in range(2)]:
            pool._give_back(connection)
        for _ in range(5):
            await post(pool)
    assert server.accepted == 2
    assert len(set(used)) == 1


async def test_nothing_goes_out_without_a_permit_and_the_connection_is_kept():
    """Asked after connecting, which may have taken longer than the lease."""
    asked = []

    def never() -> bool:
        asked.append(server.accepted)
        return False

    async with raw_server(echoes) as server, pool_to(server.url) as pool:
        with pytest.raises(LeaseLost):
            await post(pool, b"mine", never)
        assert await post(pool, b"yours") == b"yours"
    assert asked
    assert server.bodies == [b"yours"]


async def test_a_permit_that_fails_costs_no_connection():
    """The error is the caller's, the place in line is free again."""

    def broken() -> bool:
        raise ZeroDivisionError

    async with raw_server(echoes) as server, pool_to(server.url, connections=1) as pool:
        with pytest.raises(ZeroDivisionError):
            await post(pool, b"mine", broken)
        assert await post(pool, b"yours") == b"yours"


async def test_a_pool_that_is_closed_has_closed_every_connection():
    """Nothing is left for the garbage collector to complain of."""
    gate = Gate()
    async with raw_server(gate.life, gate.life) as server:
        async with pool_to(server.url) as pool, asyncio.TaskGroup() as tasks:
            for number in range(2):
                tasks.create_task(post(pool))
                await server.until(lambda number=number: len(server.bodies) == number + 1)
            gate.open()
            gate.open()
        assert not pool._idle
        assert not pool._retire_at
        await server.until(lambda: not server.open)
