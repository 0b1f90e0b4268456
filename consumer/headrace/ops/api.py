"""`/api/v1` and the page: the fleet as JSON and as a stream of server-sent events, dead letters, and actions.

Reading needs no token, like /metrics: it shows nothing of a payload. A payload, and whatever changes something, takes the
admin token in the Authorization header, which no other site's page can send.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from aiohttp import web

import headrace
from headrace.errors import AwsError
from headrace.ops import shown
from headrace.ops.actions import Action, ActionRefusedError, AdminToken, wanted_letter
from headrace.ops.fleet import FleetReader, Reading, nothing_known
from headrace.ops.letter_shelf import LetterShelf
from headrace.ops.page import PAGE_FILES
from headrace.tasks import is_set_within

log = structlog.get_logger(__name__)

API: Final = "/api/v1"

TICK_S: Final = 2.0
"""Between two pictures of the fleet on a stream."""

HISTORY_EVERY: Final = 8
EVENTS_EVERY: Final = 2
"""Ticks between two readings of the last hour, and of the events."""

MOST_STREAMS: Final = 50
"""Pages that one worker keeps up to date at a time."""

MOST_REASON: Final = 500
"""Characters of a reason."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""No inline script or style, nothing from elsewhere, in nobody's frame, kept by nobody."""

Endpoint: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown, and what may be done from there."""

    application: str
    stream: str
    fleet: FleetReader
    letters: LetterShelf
    token: AdminToken
    actions: Sequence[Action] = ()


def add_screen(app: web.Application, screen: Screen) -> None:
    """Serve the page at `/` and its data below `/api/v1`."""
    api = _Api(screen)
    for path, (body, kind) in PAGE_FILES.items():
        app.router.add_get(path, _file(body, kind))
    app.router.add_get(f"{API}/about", _told(api.about))
    app.router.add_get(f"{API}/fleet", _told(api.fleet))
    app.router.add_get(f"{API}/shards", _told(api.shards))
    app.router.add_get(f"{API}/workers", _told(api.workers))
    app.router.add_get(f"{API}/history", _told(api.history))
    app.router.add_get(f"{API}/events", _told(api.events))
    app.router.add_get(f"{API}/dead-letters", _told(api.dead_letters))
    app.router.add_get(f"{API}/dead-letters/{{shard}}/{{position}}", _told(api.dead_letter))
    app.router.add_post(f"{API}/actions/{{name}}", _told(api.act))
    app.router.add_get(f"{API}/stream", api.stream)
    app.on_response_prepare.append(_harden)
    app.on_shutdown.append(api.close)


async def _harden(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _file(body: bytes, kind: str) -> Endpoint:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return answer


class _Refusal(Exception):  # noqa: N818 - an answer, no error of the worker
    """An answer with another status than 200."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def _told(ask: Callable[[web.Request], Awaitable[Any]]) -> Endpoint:
    """An endpoint that answers JSON, also where something is refused or cannot be reached."""

    @wraps(ask)
    async def answer(request: web.Request) -> web.Response:
        try:
            return _json(await ask(request))
        except _Refusal as refusal:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status == web.HTTPUnauthorized.status_code else {}
            return _json({"error": str(refusal)}, refusal.status, headers)
        except ActionRefusedError as refusal:
            return _json({"error": str(refusal)}, 400)
        except AwsError as error:
            log.info("screen_not_answered", path=request.path, error=str(error))
            return _json({"error": f"AWS did not answer: {error}"}, 503)

    return answer


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(content)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


class _Api:
    """Answers for one screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._actions = {action.name: action for action in screen.actions}
        self._closing = asyncio.Event()
        self._streams = 0

    async def close(self, _: web.Application) -> None:
        """The streams end: a stop need not wait for those who look on."""
        self._closing.set()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def about(self, _: web.Request) -> Any:
        """What this is and what may be done."""
        screen = self._screen
        return {
            "application": screen.application,
            "stream": screen.stream,
            "version": headrace.__version__,
            "admin": screen.token.value is not None,
            "actions": sorted(self._actions),
        }

    async def fleet(self, _: web.Request) -> Any:
        """Verdict and figures."""
        return shown.fleet(await self._screen.fleet.read())

    async def shards(self, _: web.Request) -> Any:
        """Every shard."""
        return {"shards": shown.shards((await self._screen.fleet.read()).view)}

    async def workers(self, _: web.Request) -> Any:
        """Every worker."""
        return {"workers": shown.workers((await self._screen.fleet.read()).view)}

    async def history(self, _: web.Request) -> Any:
        """The last hour."""
        return shown.points(await self._screen.fleet.history())

    async def events(self, _: web.Request) -> Any:
        """What happened, newest first."""
        return {"events": shown.events(await self._screen.fleet.events())}

    async def dead_letters(self, _: web.Request) -> Any:
        """The newest, without what quotes the user's data."""
        shelf = self._screen.letters
        if shelf.instead:
            return {"letters": [], "seen": 0, "complete": False, "instead": shelf.instead}
        found = await shelf.newest()
        letters = [shown.letter(one) for one in found.letters]
        return {"letters": letters, "seen": found.seen, "complete": found.is_whole, "instead": ""}

    async def dead_letter(self, request: web.Request) -> Any:
        """One of them with everything, payload included: with the token."""
        self._insist_on_token(request)
        names = request.match_info
        return shown.whole_letter(await wanted_letter(self._screen.letters, names["shard"], names["position"]))

    # --- changing -----------------------------------------------------------------------------------------------------

    async def act(self, request: web.Request) -> Any:
        """An action's preview, or the action once what the preview asks for was typed."""
        self._insist_on_token(request)
        action = self._actions.get(request.match_info["name"])
        if action is None:
            raise _Refusal(404, f"There is no such action; there are: {', '.join(sorted(self._actions)) or 'none'}")
        asked = await _object_in(request)
        arguments = asked.get("arguments", {})
        if not isinstance(arguments, dict):
            raise _Refusal(400, "arguments is no object")
        preview = await action.preview(arguments)
        if "confirm" not in asked:
            return {"says": preview.says, "confirm": preview.confirm}
        if asked["confirm"] != preview.confirm:
            raise _Refusal(409, f"Nothing was done: confirm is not {preview.confirm!r}")
        return {"done": await action.perform(arguments, str(asked.get("reason", ""))[:MOST_REASON])}

    def _insist_on_token(self, request: web.Request) -> None:
        token = self._screen.token
        if token.value is None:
            raise _Refusal(403, "Read-only: HEADRACE_ADMIN_TOKEN is not set where this worker runs")
        if not token.admits(request.headers.get("Authorization", "")):
            log.warning("admin_token_refused", path=request.path, peer=request.remote)
            raise _Refusal(401, "This takes the admin token")

    # --- live ---------------------------------------------------------------------------------------------------------

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The fleet every two seconds, as server-sent events."""
        if self._streams >= MOST_STREAMS:
            return _json({"error": "Too many pages are open on this worker"}, 503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        self._streams += 1
        try:
            with suppress(ConnectionResetError):
                await response.prepare(request)
                async for name, content in self._news(request):
                    await response.write(b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(content)))
        finally:
            self._streams -= 1
        return response

    async def _news(self, request: web.Request) -> AsyncIterator[tuple[str, Any]]:
        tick = 0
        while not self._closing.is_set() and request.transport is not None:
            yield "fleet", shown.whole(await self._reading())
            with suppress(AwsError):  # the picture says what is wrong; these come again
                if tick % HISTORY_EVERY == 0:
                    yield "history", shown.points(await self._screen.fleet.history())
                if tick % EVENTS_EVERY == 0:
                    yield "events", shown.events(await self._screen.fleet.events())
            tick += 1
            await is_set_within(self._closing, TICK_S)

    async def _reading(self) -> Reading:
        try:
            return await self._screen.fleet.read()
        except AwsError as error:
            return nothing_known(f"The lease table cannot be read: {error}")


async def _object_in(request: web.Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await request.read(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise _Refusal(400, f"The body is no JSON object: {error}") from None
