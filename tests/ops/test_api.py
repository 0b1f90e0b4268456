"""`/api/v1` over HTTP: what it answers, to whom, and what it never does."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from aiohttp import web

from headrace.core import audit
from headrace.core.state_words import Limits
from headrace.errors import Unavailable
from headrace.flow.clock import SystemClock
from headrace.model import Checkpoint, DeadLetter, Record, WorkerId
from headrace.ops.actions import AdminToken, DiscardLetter
from headrace.ops.api import Screen, add_screen
from headrace.ops.endpoints import bind
from headrace.ops.fleet import FleetReader, Source
from headrace.ops.letter_shelf import BYTES_LOOKED_AT, LOOKED_AT, NEWEST, LetterShelf
from headrace.testing.dead_letters import MemoryDeadLetters
from headrace.testing.lease_table import MemoryLeaseTable
from headrace.testing.stream import MemoryStream

TOKEN = "correct-horse-battery-staple"
SECRET = b'{"card": "4111 1111"}'


def letter(number, data=SECRET, **facts):
    record = Record(data, "customer-7", number, 1_800_000_000.0, "shardId-000000000000")
    when = SystemClock().wall().replace(microsecond=0)
    told = {"message": "no card 4111 1111", "traceback": "at 4111 1111", **facts}
    return DeadLetter("orders", record, "Rejected", "ValueError", attempts=1, buried_at=when, worker=WorkerId("w"), epoch=1, **told)  # fmt: skip


class Server:
    """One screen over HTTP."""

    def __init__(self, token=TOKEN):
        self.clock = SystemClock()
        self.table = MemoryLeaseTable()
        self.letters = MemoryDeadLetters()
        self.shelf = LetterShelf(self.letters, "orders", self.clock)
        source = Source(self.table, MemoryStream(self.clock, name="orders"), "orders", self.clock)
        reader = FleetReader(source, Limits(0.0))
        actions = (DiscardLetter(self.shelf, self._note, "orders"),)
        self.screen = Screen("orders-app", "orders", reader, self.shelf, AdminToken(token), actions)

    async def _note(self, act, target, why, before):
        event = audit.Event(self.clock.wall(), act, target, "admin token", why, before, "deleted", "t")
        await self.table.apply(audit.note("orders", event))

    @contextlib.asynccontextmanager
    async def up(self):
        app = web.Application()
        add_screen(app, self.screen)
        async with bind(app, "127.0.0.1", 0) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            self.http = http
            yield self

    async def get(self, path, token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.get(path, headers=headers) as answer:
            return answer.status, await answer.json()

    async def act(self, body, token=TOKEN, name="discard-letter"):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.post(f"/api/v1/actions/{name}", json=body, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def server():
    async with Server().up() as one:
        yield one


PATH = f"/api/v1/dead-letters/shardId-000000000000/{Checkpoint.at(7).encode()}"
NAMED = {"arguments": {"shard": "shardId-000000000000", "position": Checkpoint.at(7).encode()}}


async def test_everything_is_served_so_that_no_other_site_can_use_it(server):
    """No inline script, no frame, no guess at a type, and nothing kept: on the page and on the data."""
    for path in ("/", "/page/page.js", "/page/page.css", "/api/v1/about", "/api/v1/none"):
        async with server.http.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_page_asks_nobody_else_for_anything(server):
    """It works without internet: every address in it is its own."""
    async with server.http.get("/") as answer:
        html = await answer.text()
    names = [f"/page/{name}" for name in ("page.css", "page.js", "icon.svg", "figures.js", "tables.js", "lists.js", "admin.js", "format.js", "sparkline.js")]  # fmt: skip
    for name in names:
        async with server.http.get(name) as answer:
            assert answer.status == 200, name
            html += await answer.text()
    assert "https://" not in html
    assert html.count("http://") == html.count("http://www.w3.org/2000/svg")
    assert "innerHTML" not in html
    assert "style=" not in html


async def test_letters_are_listed_without_what_quotes_the_user_s_data(server):
    """Message and traceback may hold a piece of the payload as well."""
    await server.letters.bury([letter(7)])
    status, answer = await server.get("/api/v1/dead-letters")
    assert status == 200
    assert answer["letters"][0]["sequence_number"] == "7"
    assert "4111" not in json.dumps(answer)


async def test_a_payload_takes_the_token(server):
    """Right, wrong, and none."""
    await server.letters.bury([letter(7)])
    assert (await server.get(PATH))[0] == 401
    assert (await server.get(PATH, "wrong-horse-battery-staple"))[0] == 401
    assert (await server.get(PATH, "é"))[0] == 401
    status, answer = await server.get(PATH, TOKEN)
    assert (status, answer["payload"], answer["encoding"]) == (200, SECRET.decode(), "text")


async def test_without_a_token_set_nobody_has_one():
    """Not even the empty one."""
    async with Server(token=None).up() as server:
        await server.letters.bury([letter(7)])
        for token in (None, "", "None"):
            status, answer = await server.get(PATH, token)
            assert status == 403
            assert "HEADRACE_ADMIN_TOKEN" in answer["error"]
            assert (await server.act(NAMED, token))[0] == 403


async def test_bytes_that_are_no_text_come_in_base64(server):
    """And are called that."""
    await server.letters.bury([letter(7, data=b"\xff\xfe")])
    _, answer = await server.get(PATH, TOKEN)
    assert (answer["payload"], answer["encoding"]) == ("//4=", "base64")


async def test_an_action_says_what_it_does_and_does_it_once_that_is_typed(server):
    """First a preview, which changes nothing; then the word; and the event is there before the letter is gone."""
    await server.letters.bury([letter(7)])
    status, preview = await server.act(NAMED)
    assert (status, preview["confirm"]) == (200, "orders")
    assert "Deletes the dead letter of record 7" in preview["says"]
    assert (await server.act({**NAMED, "confirm": "order"}))[0] == 409
    assert len(server.letters.letters) == 1

    status, done = await server.act({**NAMED, "confirm": "orders", "reason": "a test order"})

    assert (status, done["done"]) == (200, "The dead letter of record 7 is gone.")
    assert server.letters.letters == []
    (row,) = [row for key, row in server.table.rows.items() if key.pk == audit.events_partition("orders")]
    event = audit.event_of(row)
    assert event.act == "dead_letter_discarded"
    assert event.why == "a test order"


async def test_an_action_whose_event_cannot_be_written_is_not_done(server):
    """Nothing is done unseen."""
    await server.letters.bury([letter(7)])

    async def down(_):
        raise Unavailable("no answer")

    server.table.apply = down
    status, answer = await server.act({**NAMED, "confirm": "orders"})
    assert status == 503
    assert "no answer" in answer["error"]
    assert len(server.letters.letters) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({"arguments": 3}, 400),
        ({"arguments": {}}, 400),
        ({"arguments": {"shard": "s", "position": "001x"}}, 400),
        ({"arguments": {"shard": "s", "position": "00118"}}, 400),
    ],
)
async def test_an_action_that_is_asked_for_wrongly_is_refused_in_words(server, body, status):
    """Never with a traceback."""
    found, answer = await server.act(body)
    assert (found, bool(answer["error"])) == (status, True)


async def test_an_unknown_action_names_those_that_there_are(server):
    """For whoever scripts it."""
    status, answer = await server.act({}, name="explode")
    assert (status, answer["error"]) == (404, "There is no such action; there are: discard-letter")


async def test_only_the_newest_are_listed_and_a_large_store_is_not_read_to_its_end(server):
    """A page must not cost a scan of a million letters."""
    await server.letters.bury([letter(number) for number in range(LOOKED_AT + 10)])
    _, answer = await server.get("/api/v1/dead-letters")
    assert (len(answer["letters"]), answer["seen"], answer["complete"]) == (NEWEST, LOOKED_AT, False)
    big = LetterShelf(server.letters, "orders", server.clock)
    await server.letters.bury([letter(0, data=bytes(BYTES_LOOKED_AT))])
    assert (await big.newest()).seen == 1


async def test_a_destination_that_cannot_be_looked_at_says_where_to_look(server):
    """Reading a queue takes its messages out of everybody's sight."""
    server.screen = Screen("a", "orders", server.screen.fleet, LetterShelf(None, "orders", server.clock, "In a queue."), AdminToken(None))  # fmt: skip
    async with Server.up(server):
        _, answer = await server.get("/api/v1/dead-letters")
        assert (answer["letters"], answer["instead"]) == ([], "In a queue.")


async def events_from(server, count):
    found = []
    async with server.http.get("/api/v1/stream") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        while len(found) < count:
            line = (await answer.content.readline()).decode()
            assert line, "the stream ended"
            if line.startswith("event: "):
                found.append(line.removeprefix("event: ").strip())
    return found


async def test_the_stream_begins_with_all_there_is_and_goes_on_with_pictures(server):
    """Whoever opens the page waits for nothing."""
    assert await events_from(server, 4) == ["fleet", "history", "events", "fleet"]


async def test_a_stream_does_not_hold_up_a_stop():
    """A worker whose page is open on a wall stops as fast as any."""
    loop = asyncio.get_running_loop()
    server = Server()
    async with aiohttp.ClientSession() as http:
        app = web.Application()
        add_screen(app, server.screen)
        async with bind(app, "127.0.0.1", 0) as port:
            answer = await http.get(f"http://127.0.0.1:{port}/api/v1/stream")
            await answer.content.readline()
            began = loop.time()
        assert loop.time() - began < 1
        answer.close()


async def test_a_table_that_cannot_be_read_is_an_answer_and_not_a_crash(server):
    """On the stream a picture that says so, elsewhere 503 and why."""

    async def down(*_, **__):
        raise Unavailable("no answer")

    server.table.query = down
    status, answer = await server.get("/api/v1/fleet")
    assert (status, answer["error"]) == (503, "AWS did not answer: no answer")
    assert await events_from(server, 1) == ["fleet"]


async def test_where_nothing_could_be_read_yet_nothing_is_claimed(server):
    """Neither that all is well nor that shards have no owner: the table does not answer."""

    async def down(*_, **__):
        raise Unavailable("no answer")

    server.table.query = server.table.get = down
    async with server.http.get("/api/v1/stream") as answer:
        while not (line := (await answer.content.readline()).decode()).startswith("data: "):
            assert line, "the stream ended"
    verdict = json.loads(line.removeprefix("data: "))["verdict"]
    assert verdict["state"] == "NOT KNOWN"
    assert "no answer" in verdict["why"]
