"""Asking a worker about a record over its HTTP port: an answer, or the reason why there is none."""

import asyncio

from prometheus_client import CollectorRegistry

from headrace.ops import ask
from headrace.ops.ask import ask_about
from headrace.ops.endpoints import Answers, serve


def answers(explain=None) -> Answers:
    return Answers(lambda: (True, {}), lambda: (True, {}), dict, CollectorRegistry(), explain=explain)


async def test_a_worker_is_asked_for_a_number_or_for_a_key():
    """Numbers are longer than a program's integers; they come as text and go in whole."""
    asked = []

    def explain(number, key):
        asked.append((number, key))
        return {"open": []}

    async with serve(answers(explain), address="127.0.0.1", port=0) as port:
        number = "49590338271490256608559692538361571095921575989136588898"
        assert await ask_about(f"127.0.0.1:{port}", {"sequence": number}) == {"open": []}
        assert await ask_about(f"127.0.0.1:{port}", {"key": "a b&c"}) == {"open": []}
        for nonsense in ({}, {"sequence": "x"}, {"sequence": "1", "key": "k"}):
            assert await ask_about(f"127.0.0.1:{port}", nonsense) == "it answers with status 400"

    assert asked == [(int(number), None), (None, "a b&c")]


async def test_a_worker_that_cannot_be_asked_is_a_reason_and_no_error(monkeypatch):
    """It is gone, of another version, or does not answer in time."""
    async with serve(answers(), address="127.0.0.1", port=0) as port:
        assert await ask_about(f"127.0.0.1:{port}", {"key": "k"}) == "it answers with status 404"
    assert isinstance(await ask_about(f"127.0.0.1:{port}", {"key": "k"}), str)

    gone = asyncio.Event()

    async def silent(reader, writer):
        await reader.read()  # until the one who asks hangs up
        writer.close()
        await writer.wait_closed()
        gone.set()

    monkeypatch.setattr(ask, "PATIENCE_S", 0.05)
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await ask_about(f"127.0.0.1:{port}", {"key": "k"}) == "it does not answer within 0.05 s"
        await gone.wait()
