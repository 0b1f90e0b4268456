"""Modes `insert` and `latest` when single statements fail, over a scripted BatchExecuteStatement."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

import pytest
from aws.fake_dynamo import TABLE, FakeClient
from aws.sinks import Lease, always, names, puts
from structlog.testing import capture_logs

from headrace.aws.patience import Patience
from headrace.aws.serving_table import ServingTable, SinkRules
from headrace.core.native import Native
from headrace.core.shapes import Layout
from headrace.core.write_modes import WriteMode
from headrace.errors import LeaseLost
from headrace.handlers.mapping import ItemRules, item_mapping
from headrace.model import Record
from headrace.testing.clock import LoopClock

pytestmark = pytest.mark.looptime

MODES = pytest.mark.parametrize("mode", [WriteMode.INSERT, WriteMode.LATEST])


class Statements:
    """Answers each statement as `answer` says: a code of an error, or None; remembers the keys of each call."""

    def __init__(self, answer: Callable[[str, int], str | None] = lambda _key, _call: None) -> None:
        self.calls: list[list[str]] = []
        self.texts: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.whole: list[bytes] = []
        """Answers to come first, as they are."""
        self._answer = answer

    async def post(self, target: str, body: bytes, permit: Callable[[], bool] = always) -> bytes:
        if not permit():
            raise LeaseLost
        assert target == "DynamoDB_20120810.BatchExecuteStatement"
        statements = json.loads(body)["Statements"]
        self.sent += statements
        keys = [self._key(statement) for statement in statements]
        self.calls.append(keys)
        self.texts += [statement["Statement"] for statement in statements]
        await asyncio.sleep(0.005)
        if self.whole:
            return self.whole.pop(0)
        return json.dumps({"Responses": [self._response(key) for key in keys]}).encode()

    def _key(self, statement: dict[str, Any]) -> str:
        place = statement["Statement"].split(" WHERE ")[0].count("?") if "WHERE" in statement["Statement"] else 0
        return statement["Parameters"][place]["S"]

    def _response(self, key: str) -> dict[str, Any]:
        code = self._answer(key, len(self.calls))
        return {"TableName": TABLE} if code is None else {"Error": {"Code": code, "Message": f"says {code}"}}


@asynccontextmanager
async def running(mode: WriteMode, statements: Statements, native: Native | None = None) -> AsyncIterator[ServingTable]:
    sink = ServingTable(
        statements, FakeClient(), SinkRules(TABLE, mode, native=native), Patience(LoopClock(), lambda: 0.5)
    )
    await sink.check()
    task = asyncio.create_task(sink.run())
    await asyncio.sleep(0)
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.wait([task])


def orders(index: int) -> str:
    return f"{index:04d}"


@MODES
@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError"])
async def test_a_statement_that_was_throttled_is_sent_again_alone(mode, code, native):
    """The others are durable; nothing is refused."""
    statements = Statements(lambda key, call: code if key == "k003" and call <= 3 else None)
    async with running(mode, statements, native) as sink:
        assert await sink.submit(puts(*names(10)), always, orders) == {}
        assert statements.calls == [names(10), ["k003"], ["k003"], ["k003"]]
        assert (sink.counts.written, sink.counts.unprocessed) == (10, 3)


@MODES
async def test_while_half_of_all_statements_are_throttled_everything_is_written(mode, native):
    """For a minute; afterwards what is left takes less than five seconds."""
    clock = asyncio.get_running_loop().time
    throttled_until = clock() + 60

    def answer(key: str, call: int) -> str | None:
        return "ThrottlingError" if clock() < throttled_until and crc32(f"{key} {call}".encode()) % 2 else None

    async with running(mode, Statements(answer), native) as sink:
        waiting = []
        while clock() < throttled_until:
            waiting.append(sink.submit(puts(*[f"{len(waiting)}-{name}" for name in names(20)]), always, orders))
            await asyncio.sleep(0.5)
        await asyncio.wait(waiting, timeout=5)
        assert all(one.done() and one.result() == {} for one in waiting)
        assert sink.counts.refused == 0


@MODES
async def test_a_statement_that_dynamodb_rejects_is_refused_with_its_words(mode, native):
    """A key of the wrong type, an item of more than 400 KB: its record is buried, the others are written."""
    statements = Statements(lambda key, _: "ValidationError" if key == "k001" else None)
    async with running(mode, statements, native) as sink:
        refusals = await sink.submit(puts(*names(3)), always, orders)
    assert {index: refusal.reason for index, refusal in refusals.items()} == {1: "says ValidationError"}
    assert len(statements.calls) == 1


@MODES
@pytest.mark.parametrize(("code", "kind"), [("AccessDenied", "Denied"), ("ResourceNotFound", "NotFound")])
async def test_a_missing_right_or_table_is_told_once_a_minute_and_waited_for(mode, code, kind, native):
    """It is no fault of the record."""
    granted = asyncio.get_running_loop().time() + 100
    statements = Statements(lambda *_: code if asyncio.get_running_loop().time() < granted else None)
    with capture_logs() as logs:
        async with running(mode, statements, native) as sink:
            assert await sink.submit(puts("a"), always, orders) == {}
    told = [line for line in logs if line["event"] == "sink_write_failed"]
    assert [line["kind"] for line in told] == [kind] * 2
    assert f"says {code}" in told[0]["error"]


@MODES
@pytest.mark.parametrize("answer", [b"", b"{}", b"<html/>", b'{"Responses":[]}', b'{"Responses":[{},{},{}]}'])
async def test_an_answer_that_does_not_tell_of_each_statement_settles_nothing(mode, answer, native):
    """A proxy may say 200 to anything."""
    statements = Statements()
    statements.whole = [answer]
    async with running(mode, statements, native) as sink:
        assert await sink.submit(puts("a", "b"), always, orders) == {}
    assert statements.calls == [["a", "b"]] * 2


@MODES
async def test_after_the_lease_was_lost_a_statement_that_waits_is_not_sent_again(mode, native):
    """Its submitter gets LeaseLost."""
    lease = Lease()
    statements = Statements(lambda *_: "ThrottlingError")
    async with running(mode, statements, native) as sink:
        answer = sink.submit(puts("a"), lease.permits, orders)
        await asyncio.sleep(0.006)
        lease.held = False
        with pytest.raises(LeaseLost):
            await answer
        assert len(statements.calls) == 1


async def test_an_item_that_comes_and_goes_is_tried_with_pauses_and_told(native):
    """Each answer contradicts the one before, for ever: somebody else makes and deletes it."""
    statements = Statements(
        lambda _, call: ("ConditionalCheckFailed" if call % 2 else "DuplicateItem") if call < 14 else None
    )
    with capture_logs() as logs:
        async with running(WriteMode.LATEST, statements, native) as sink:
            assert await sink.submit(puts("a"), always, orders) == {}
    assert len(statements.calls) == 14
    assert [line["event"] for line in logs] == ["sink_write_failed"]
    assert "is there and is not" in logs[0]["error"]


async def test_new_keys_are_inserted_at_once_after_some_surprises_and_known_ones_replaced(native):
    """A stream of new keys costs one statement each, and so do keys that were written before."""
    seen = set()

    def answer(key: str, call: int) -> str | None:
        is_new = key not in seen
        text = statements.texts[-1]
        seen.add(key) if text.startswith("INSERT") else None
        return "ConditionalCheckFailed" if is_new and text.startswith("UPDATE") else None

    statements = Statements(answer)
    async with running(WriteMode.LATEST, statements, native) as sink:
        for number in range(6):
            await sink.submit(puts(f"k{number}"), always, orders)
        assert [text.split(" ")[0] for text in statements.texts] == ["UPDATE", *["INSERT"] * 6]
        statements.texts.clear()
        await sink.submit([(1, puts("k0")[0][1])], always, orders)
        (text,) = statements.texts
        assert text.endswith('"recordOrder" = ?'), "it must be what was written last"


@MODES
async def test_items_that_are_text_are_sent_as_the_dicts_would_be(mode, native):
    """New, and again, and with other attributes, and again: statements and values are the same."""
    payloads = [{"pk": "a", "n": number, "t": "é"} for number in range(4)] + [{"pk": "a", "x": [1.5]}] * 3
    records = [
        Record(json.dumps(payload).encode(), "p", 7 + number, float(number)) for number, payload in enumerate(payloads)
    ]
    bodies = []
    for layout, way in ((None, None), (Layout.VALUES, native)):
        rules = ItemRules(sequence_attribute="seq", arrival_attribute="at")
        call = item_mapping(rules, {"pk": "S"}, "s", layout=layout, native=way).call
        statements = Statements()
        async with running(mode, statements, way) as sink:
            for number, record in enumerate(records):
                await sink.submit([(number, call(record))], always, orders)
        bodies.append(statements.sent)
    assert bodies[0] == bodies[1]
