"""Workers that tell each other that leases came free."""

import asyncio
import socket

import pytest
from prometheus_client import CollectorRegistry

from headrace.ops.endpoints import Answers, serve
from headrace.ops.nudge import PATIENCE_S, open_nudges, reachable_at


def answers(nudged) -> Answers:
    return Answers(lambda: (True, {}), lambda: (True, {}), dict, CollectorRegistry(), nudged)


async def test_a_nudge_reaches_every_peer_that_is_there_and_the_others_do_not_matter():
    """One is gone, one has no valid address."""
    heard = []
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with (
            serve(answers(lambda: heard.append("a")), address="127.0.0.1", port=0) as one,
            serve(answers(lambda: heard.append("b")), address="127.0.0.1", port=0) as two,
            open_nudges() as nudges,
        ):
            gone = f"127.0.0.1:{nobody.getsockname()[1]}"
            await nudges.send([f"127.0.0.1:{one}", gone, "no address at all", f"127.0.0.1:{two}"])

    assert sorted(heard) == ["a", "b"]


async def test_a_peer_that_does_not_answer_is_not_waited_for():
    """It accepts the connection and says nothing: a stop must not wait for the dead."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with open_nudges() as nudges:
            loop = asyncio.get_running_loop()
            began = loop.time()
            await nudges.send([f"127.0.0.1:{silent.getsockname()[1]}"])

    assert loop.time() - began < PATIENCE_S + 1


@pytest.mark.parametrize(
    ("bound", "address"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("10.1.2.3", "10.1.2.3:80")]
)
def test_a_worker_is_reached_where_it_listens(bound, address):
    """The address it is bound to, as a URL writes it."""
    assert reachable_at(bound, 80) == address


def test_a_worker_that_listens_everywhere_is_reached_at_the_address_of_its_way_out():
    """Or nowhere, where there is no way out; never at the wildcard."""
    address = reachable_at("0.0.0.0", 80)

    assert address == "" or (address.endswith(":80") and not address.startswith("0.0.0.0"))
