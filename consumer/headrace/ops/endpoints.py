"""The worker's HTTP port: /livez, /readyz, /metrics, /api/v1/status, which only read, /nudge, and the page.

A nudge says that leases came free. It needs no token: it carries nothing and changes nothing but when this worker reads
its table next, and that at most twenty times a second.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
from aiohttp import web
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from headrace.errors import SettingsError
from headrace.ops.api import Screen, add_screen
from headrace.ops.ask import EXPLAIN
from headrace.ops.nudge import PATH

Check: TypeAlias = Callable[[], tuple[bool, Mapping[str, Any]]]
"""Whether something holds, and the facts behind the answer."""

_GOODBYE_S: Final = 0.5
"""How long a request in progress may hold up the shutdown; every answer here takes milliseconds."""


Explain: TypeAlias = Callable[[int | None, str | None], Mapping[str, Any]]
"""What is done with the record of a sequence number, or with those of a partition key."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Where the endpoints get their answers. None of them may block.

    `alive` is the loop and the heartbeat, never AWS: a restart does not cure AWS. `ready` is a registered worker with a
    running lease loop. `status` is anything that msgspec can write as JSON. `explain` tells what this worker does with a
    record: by sequence number, or by partition key.
    """

    alive: Check
    ready: Check
    status: Callable[[], Mapping[str, Any]]
    registry: CollectorRegistry
    nudged: Callable[[], None] = lambda: None
    explain: Explain | None = None


@asynccontextmanager
async def serve(answers: Answers, *, address: str, port: int, screen: Screen | None = None) -> AsyncIterator[int]:
    """Serve while the context lasts, with the page where there is a screen; gives the port that is bound.

    `port` 0 takes any free one.

    Raises SettingsError when the address or the port cannot be taken.
    """
    app = _app(answers)
    if screen is not None:
        add_screen(app, screen)
    async with bind(app, address, port) as bound:
        yield bound


@asynccontextmanager
async def bind(app: web.Application, address: str, port: int) -> AsyncIterator[int]:
    """Serve an application likewise."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_GOODBYE_S)
    await runner.setup()
    try:
        await _listen(runner, address, port)
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, address: str, port: int) -> None:
    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            problem = "is in use" if error.errno == errno.EADDRINUSE else "may not be taken by this user"
            raise SettingsError("HEADRACE_OPS_PORT", port, problem, "Choose another, or 0 for any free one") from error
        problem = f"is no address of this machine ({error.strerror})"
        raise SettingsError("HEADRACE_OPS_ADDRESS", address, problem, "Set it to 0.0.0.0 or 127.0.0.1") from error


def _app(answers: Answers) -> web.Application:
    app = web.Application()
    app.router.add_get("/livez", _check(answers.alive))
    app.router.add_get("/readyz", _check(answers.ready))
    app.router.add_get("/metrics", _metrics(answers.registry))
    app.router.add_get("/api/v1/status", _status(answers.status))
    if answers.explain is not None:
        app.router.add_get(EXPLAIN, _explain(answers.explain))
    app.router.add_post(PATH, _nudge(answers.nudged))
    return app


_Endpoint: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]


def _check(ask: Check) -> _Endpoint:
    async def answer(_: web.Request) -> web.Response:
        holds, facts = ask()
        return _json({"ok": holds, **facts}, status=200 if holds else 503)

    return answer


def _status(ask: Callable[[], Mapping[str, Any]]) -> _Endpoint:
    async def answer(_: web.Request) -> web.Response:
        return _json(ask())

    return answer


def _explain(ask: Explain) -> _Endpoint:
    async def answer(request: web.Request) -> web.Response:
        number, key = request.query.get("sequence"), request.query.get("key")
        if (number is None) == (key is None) or not (number or "0").isdecimal():
            return _json({"error": "ask for a sequence number or for a key"}, status=400)
        return _json(ask(None if number is None else int(number), key))

    return answer


def _nudge(nudged: Callable[[], None]) -> _Endpoint:
    async def answer(_: web.Request) -> web.Response:
        nudged()
        return web.Response(status=204)

    return answer


def _metrics(registry: CollectorRegistry) -> _Endpoint:
    async def answer(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    return answer


def _json(content: Mapping[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(content, enc_hook=str)
    return web.Response(
        body=body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
