"""An HTTP server in the test's own loop that answers what the test says."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from zlib import crc32

from aiohttp import web

Answer = web.Response | None
"""None is silence."""


@dataclass
class ScriptedServer:
    """Answers come from `answers` in turn; `requests` keeps headers and body of what came in."""

    url: str = ""
    answers: deque[Answer] = field(default_factory=deque)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    callers: set[tuple[str, int]] = field(default_factory=set)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.requests.append((dict(request.headers), await request.content.read()))
        self.callers.add(request.transport.get_extra_info("peername"))
        answer = self.answers.popleft()
        if answer is None:
            await self.closing.wait()
            return web.Response()
        return answer


@asynccontextmanager
async def scripted_server(*answers: Answer) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(answers=deque(answers))
    # no routes: the path that a proxy is asked for is a whole URL
    runner = web.ServerRunner(web.Server(server.answer, access_log=None), shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        server.closing.set()
        await runner.cleanup()


def good(body: bytes = b"{}", **headers: str) -> web.Response:
    """A success as DynamoDB sends it, with its checksum."""
    return web.Response(body=body, headers={"x-amz-crc32": str(crc32(body)), **headers})


def bad(code: str, message: str = "", status: int = 400, field: str = "message", **headers: str) -> web.Response:
    """A failure as DynamoDB sends it."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", field: message}
    return web.json_response(body, status=status, headers=headers)
